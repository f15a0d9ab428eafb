//! The tasks of a session, in their order, with what it takes to find the next move among many thousands.
//!
//! A decision changes a few of them and leaves the rest: [`Tasks`] shares what stays with the version before. Where a
//! task stands is kept in a few bits beside the list, so that whatever asks for "the next one", "any left" or "how many"
//! looks at words of 64 tasks. The bits follow from the tasks, and every change goes through [`Tasks::change`],
//! [`Tasks::set`] or [`Tasks::append`].

use std::collections::HashMap;
use std::ops::{Index, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use signalbox_wire::id::TaskId;

use crate::chunks::{CHUNK, Chunks};
use crate::task::{Task, TaskStatus};

/// Up to so many tasks one is found by looking at each.
const LOOKED_THROUGH_MAX: usize = 16;

/// The tasks of a session.
#[derive(Clone, Default)]
pub struct Tasks {
    list: Chunks<Arc<Task>>,
    /// Where the tasks of each chunk stand.
    marks: Vec<Marks>,
    /// What does not change while none is added.
    shape: Arc<Shape>,
}

/// Where the tasks of one chunk stand, a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Marks {
    /// Those that nobody has looked at since they came or were given back.
    fresh: u64,
    /// Those that are not settled.
    open: u64,
    /// Those that are under way.
    under_way: u64,
}

/// A kind of mark.
type Mark = fn(&Marks) -> u64;

/// What tasks are there, whatever becomes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shape {
    runs: Vec<Run>,
    /// Some task names the one that follows it.
    is_chained: bool,
    /// Where each stands, once there are many.
    places: HashMap<TaskId, usize>,
}

/// Tasks of one kind that stand one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    first: usize,
    end: usize,
    /// The task whose instances they are.
    pub(super) of: Option<usize>,
    /// They undo what was done.
    pub(super) is_undoing: bool,
}

impl Run {
    pub(super) fn range(&self) -> Range<usize> {
        self.first..self.end
    }

    /// Whether they are those of the definition.
    pub(super) fn is_defined(&self) -> bool {
        self.of.is_none() && !self.is_undoing
    }
}

impl Marks {
    fn mark(&mut self, bit: usize, task: &Task) {
        let is_fresh =
            task.status == TaskStatus::Pending && task.queued_at.is_none() && task.retry_at.is_none();
        for (word, is_set) in [
            (&mut self.fresh, is_fresh),
            (&mut self.open, !task.status.is_settled()),
            (&mut self.under_way, task.is_under_way()),
        ] {
            *word = (*word & !(1 << bit)) | (u64::from(is_set) << bit);
        }
    }
}

impl Shape {
    /// Takes in the task that stands behind those that are there.
    fn add(&mut self, task: &Task, place: usize) {
        let of = task.instance.as_ref().map(|instance| instance.of);
        let is_undoing = task.undoes.is_some();
        self.is_chained |= task.next.is_some();
        match self.runs.last_mut().filter(|run| run.of == of && run.is_undoing == is_undoing) {
            Some(run) => run.end = place + 1,
            None => self.runs.push(Run { first: place, end: place + 1, of, is_undoing }),
        }
    }
}

impl Tasks {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The task at this position.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&Arc<Task>> {
        self.list.get(position)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.list.iter()
    }

    /// Those of the definition: none that came for an item of a list, or to undo another.
    pub fn defined(&self) -> impl Iterator<Item = &Arc<Task>> {
        let runs = self.shape.runs.iter().filter(|run| run.is_defined());
        runs.flat_map(Run::range).filter_map(|position| self.get(position))
    }

    /// Those that are not settled, in their order.
    pub fn open(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.marked(0..self.len(), |marks| marks.open).filter_map(|position| self.get(position))
    }

    /// Where the task with this id stands.
    #[must_use]
    pub fn position(&self, id: &TaskId) -> Option<usize> {
        if self.len() <= LOOKED_THROUGH_MAX {
            return self.iter().position(|task| task.id == *id);
        }
        self.shape.places.get(id).copied()
    }

    /// Changes the task at `position`. Its id, what it is an instance of and what it comes after stay as they are.
    pub fn change<R>(&mut self, position: usize, change: impl FnOnce(&mut Task) -> R) -> Option<R> {
        let task = self.list.get_mut(position)?;
        let result = change(Arc::make_mut(task));
        let task: &Task = task;
        if let Some(marks) = self.marks.get_mut(position / CHUNK) {
            marks.mark(position % CHUNK, task);
        }
        Some(result)
    }

    /// Puts a task where one with its id stands, else behind all others; and where that is.
    pub fn set(&mut self, task: Arc<Task>) -> usize {
        let is_there = |known: &Arc<Task>| known.id == task.id;
        let position = match self.get(task.position).is_some_and(is_there) {
            true => Some(task.position),
            false => self.position(&task.id),
        };
        let Some(position) = position else {
            self.append([task]);
            return self.len() - 1;
        };
        if let (Some(known), Some(marks)) =
            (self.list.get_mut(position), self.marks.get_mut(position / CHUNK))
        {
            marks.mark(position % CHUNK, &task);
            *known = task;
        }
        position
    }

    /// Adds tasks behind those that are there.
    pub fn append(&mut self, tasks: impl IntoIterator<Item = Arc<Task>>) {
        let shape = Arc::make_mut(&mut self.shape);
        for task in tasks {
            let place = self.list.len();
            if place.is_multiple_of(CHUNK) {
                self.marks.push(Marks::default());
            }
            if let Some(marks) = self.marks.last_mut() {
                marks.mark(place % CHUNK, &task);
            }
            shape.add(&task, place);
            if place == LOOKED_THROUGH_MAX {
                shape.places.extend(self.list.iter().map(|task| task.id.clone()).zip(0..));
            }
            if place >= LOOKED_THROUGH_MAX {
                shape.places.insert(task.id.clone(), place);
            }
            self.list.push(task);
        }
    }

    /// Whether what is kept beside the list is the same too.
    #[cfg(test)]
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.list == other.list && self.marks == other.marks && self.shape == other.shape
    }

    /// The runs that they stand in, in their order.
    pub(super) fn runs(&self) -> &[Run] {
        &self.shape.runs
    }

    /// The runs of what `position` has expanded into.
    pub(super) fn runs_of(&self, position: usize) -> impl Iterator<Item = &Run> {
        self.shape.runs.iter().filter(move |run| run.of == Some(position))
    }

    /// Whether some task names the one that follows it.
    pub(super) fn are_chained(&self) -> bool {
        self.shape.is_chained
    }

    /// Positions of those that nobody has looked at since they came or were given back.
    pub(super) fn fresh(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        self.marked(range, |marks| marks.fresh)
    }

    /// Positions of those that are not settled.
    pub(super) fn open_among(&self, range: Range<usize>) -> impl Iterator<Item = usize> {
        self.marked(range, |marks| marks.open)
    }

    /// Positions of those that are under way.
    pub(super) fn under_way(&self) -> impl Iterator<Item = usize> {
        self.marked(0..self.len(), |marks| marks.under_way)
    }

    /// How many are under way.
    pub(super) fn under_way_among(&self, range: Range<usize>) -> usize {
        self.words(range, |marks| marks.under_way).map(|(_, word)| word.count_ones() as usize).sum()
    }

    /// About how many looks it takes to find the next move.
    pub(crate) fn looks(&self) -> usize {
        let defined: usize =
            self.shape.runs.iter().filter(|run| run.is_defined()).map(|run| run.range().len()).sum();
        defined + self.marks.len()
    }

    fn marked(&self, range: Range<usize>, mark: Mark) -> impl Iterator<Item = usize> {
        self.words(range, mark).flat_map(|(first, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.checked_sub(1)?;
                Some(first + bit)
            })
        })
    }

    /// The marks of the chunks that a range lies in, without those outside of it, each with the position of its first bit.
    fn words(&self, range: Range<usize>, mark: Mark) -> impl Iterator<Item = (usize, u64)> {
        let end = range.end.min(self.len());
        let chunks = range.start / CHUNK..end.div_ceil(CHUNK);
        chunks.filter_map(move |chunk| {
            let first = chunk * CHUNK;
            let mut word = mark(self.marks.get(chunk)?);
            if range.start > first {
                word &= u64::MAX << (range.start - first);
            }
            if end < first + CHUNK {
                word &= (1 << (end - first)) - 1;
            }
            Some((first, word))
        })
    }
}

impl FromIterator<Arc<Task>> for Tasks {
    fn from_iter<I: IntoIterator<Item = Arc<Task>>>(tasks: I) -> Self {
        let mut made = Self::default();
        made.append(tasks);
        made
    }
}

impl<'a> IntoIterator for &'a Tasks {
    type Item = &'a Arc<Task>;
    type IntoIter = Box<dyn Iterator<Item = &'a Arc<Task>> + Send + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

/// For what made the tasks itself: what follows a stored position asks [`Tasks::get`].
///
/// # Panics
/// Where none stands there, as a slice does.
impl Index<usize> for Tasks {
    type Output = Arc<Task>;

    fn index(&self, position: usize) -> &Arc<Task> {
        self.get(position).unwrap_or_else(|| panic!("no task stands at {position}"))
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Everything else follows from the list.
impl PartialEq for Tasks {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl<const N: usize> PartialEq<[Arc<Task>; N]> for Tasks {
    fn eq(&self, other: &[Arc<Task>; N]) -> bool {
        self.iter().eq(other)
    }
}

impl Serialize for Tasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Arc<Task>>::deserialize(deserializer)?.into_iter().collect())
    }
}
