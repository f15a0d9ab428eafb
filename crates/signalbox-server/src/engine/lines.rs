//! Lines of operations that conflict: those about one row wait in one line, and those that wait are decided as one.
//!
//! Tried all at once, operations on one session conflict again and again. One after the other each gets through, but
//! a wide session would take as many commits as it has tasks. So the head of a line takes all that wait and decides
//! them as one attempt: a commit for many.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use signalbox_core::decision::{IdempotencyRecord, Key};
use signalbox_core::engine::Operation;
use signalbox_core::engine::attempt::{Asked, Member, Resolution};
use signalbox_core::{Decision, DecisionContext, Halt, Rejected, Snapshot};
use signalbox_store::StoreError;
use signalbox_wire::id::TenantId;
use signalbox_wire::time::Timestamp;
use tokio::sync::oneshot;

/// Operations that may wait in one line; over it the newest is told to come again.
pub(super) const LINE_MAX: usize = 4_096;
/// Operations that are decided as one, at most.
const FOLDED_MAX: usize = 256;

/// What operations line up for.
pub(super) type LineKey = (TenantId, Key);

/// All lines that somebody waits in.
#[derive(Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<LineKey, VecDeque<Box<dyn Waiting>>>>,
    count: AtomicUsize,
}

/// An operation that waits in a line, and whoever waits for its answer.
pub(super) trait Waiting: Member + Send {
    /// Whether it has an answer.
    fn is_resolved(&self) -> bool;

    /// Gives the answer to whoever waits for it.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// The duty to serve a line. Where it ends early, as by a panic, those that wait are not left to wait for ever.
pub(super) struct Service<'a> {
    lines: &'a Lines,
    key: &'a LineKey,
    is_over: bool,
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.lines.lines.lock().remove(self.key).is_some() {
            self.lines.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<'a> Service<'a> {
    /// The service of a line that was joined as the first.
    pub(super) fn of(lines: &'a Lines, key: &'a LineKey) -> Self {
        Self { lines, key, is_over: false }
    }

    /// The next of the line to be decided as one. Without any the line is over.
    pub(super) fn next(&mut self) -> Vec<Box<dyn Waiting>> {
        let mut lines = self.lines.lines.lock();
        let Some(line) = lines.get_mut(self.key) else { return Vec::new() };
        if line.is_empty() {
            self.is_over = true;
            lines.remove(self.key);
            self.lines.count.fetch_sub(1, Ordering::Relaxed);
            return Vec::new();
        }
        let count = line.len().min(FOLDED_MAX);
        line.drain(..count).collect()
    }

    /// Puts those that were put off back at the head of the line.
    pub(super) fn put_back(&self, waiting: Vec<Box<dyn Waiting>>) {
        if let Some(line) = self.lines.lines.lock().get_mut(self.key) {
            waiting.into_iter().rev().for_each(|waiting| line.push_front(waiting));
        }
    }
}

/// What came of joining a line.
pub(super) enum Joined {
    /// The line is new: whoever joined it sees to it that it is served.
    AsFirst,
    /// Somebody serves it.
    Behind,
    /// As many wait in it as may.
    Full,
}

impl Lines {
    /// The line of `key`, where anybody waits in it or is being served.
    pub(super) fn of(&self, key: impl FnOnce() -> Option<LineKey>) -> Option<LineKey> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        key().filter(|key| self.lines.lock().contains_key(key))
    }

    /// Whether there is a line of `key`.
    pub(super) fn has(&self, key: impl FnOnce() -> Option<LineKey>) -> bool {
        self.of(key).is_some()
    }

    /// Lines up for `key`.
    pub(super) fn join(&self, key: &LineKey, waiting: Box<dyn Waiting>) -> Joined {
        match self.lines.lock().entry(key.clone()) {
            Entry::Vacant(place) => {
                place.insert(VecDeque::from([waiting]));
                self.count.fetch_add(1, Ordering::Relaxed);
                Joined::AsFirst
            }
            Entry::Occupied(line) if line.get().len() >= LINE_MAX => Joined::Full,
            Entry::Occupied(mut line) => {
                line.get_mut().push_back(waiting);
                Joined::Behind
            }
        }
    }
}

/// An operation in a line.
pub(super) struct InLine<O: Operation, F> {
    asked: Asked<O, F>,
    asker: oneshot::Sender<Result<Resolution<O::Output>, StoreError>>,
}

impl<O: Operation, F> InLine<O, F> {
    /// The operation as it waits, and where its answer comes.
    #[expect(clippy::type_complexity, reason = "the channel's own type")]
    pub(super) fn new(
        asked: Asked<O, F>,
    ) -> (Self, oneshot::Receiver<Result<Resolution<O::Output>, StoreError>>) {
        let (asker, answer) = oneshot::channel();
        (Self { asked, asker }, answer)
    }
}

impl<O: Operation, F> Member for InLine<O, F>
where
    F: Fn(&O::Output, Timestamp) -> IdempotencyRecord,
{
    fn keys(&self) -> Vec<Key> {
        self.asked.keys()
    }

    fn decide(&mut self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        self.asked.decide(snapshot, context)
    }

    fn record(&self, now: Timestamp) -> Option<IdempotencyRecord> {
        self.asked.record(now)
    }

    fn refuse(&mut self, rejected: Rejected) {
        self.asked.refuse(rejected);
    }

    fn put_off(&mut self) {
        self.asked.put_off();
    }
}

impl<O, F> Waiting for InLine<O, F>
where
    O: Operation + Send,
    O::Output: Send,
    F: Fn(&O::Output, Timestamp) -> IdempotencyRecord + Send,
{
    fn is_resolved(&self) -> bool {
        self.asked.resolution().is_some()
    }

    fn answer(mut self: Box<Self>, committed: Result<(), StoreError>) {
        let resolution = self.asked.take_resolution().ok_or(StoreError::Conflict);
        // Whoever asked may have hung up.
        let _ = self.asker.send(committed.and(resolution));
    }
}

#[cfg(test)]
mod tests {
    use signalbox_core::engine::RevokeKey;
    use signalbox_wire::id::KeyId;

    use super::*;

    fn waiting() -> Box<dyn Waiting> {
        Box::new(InLine::new(Asked::new(RevokeKey { key: KeyId::parse("key_1").expect("valid") })).0)
    }

    #[test]
    fn a_line_is_served_in_parts_is_bounded_and_ends_with_its_service() {
        let lines = Lines::default();
        let key = (TenantId::default_tenant(), Key::Retention);
        let has = || lines.has(|| Some(key.clone()));
        assert!(!has() && matches!(lines.join(&key, waiting()), Joined::AsFirst) && has());
        for _ in 1..LINE_MAX {
            assert!(matches!(lines.join(&key, waiting()), Joined::Behind));
        }
        assert!(matches!(lines.join(&key, waiting()), Joined::Full));
        let mut service = Service::of(&lines, &key);
        let first = service.next();
        assert_eq!(first.len(), FOLDED_MAX);
        service.put_back(first);
        let mut count = 0;
        loop {
            let some = service.next().len();
            count += some;
            if some == 0 {
                break;
            }
        }
        assert_eq!((count, has()), (LINE_MAX, false));
        assert!(matches!(lines.join(&key, waiting()), Joined::AsFirst));
        drop(service);
        assert!(has(), "the line is another one's");
        drop(Service::of(&lines, &key));
        assert!(!has(), "nobody serves it any more");
    }
}
