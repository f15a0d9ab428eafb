//! Several decisions as one: each was made on what those before it have changed, and all are applied together.

use std::collections::HashMap;

use super::{Decision, Guard, Key, Write};
use crate::due::Due;
use crate::limits::{FOLDED_WRITES_MAX, HISTORY_AT_ONCE_BYTES};

/// Decisions that become one.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    /// All but the writes, what is expected and due work, once there are several.
    decision: Decision,
    several: Option<Several>,
    history_bytes: usize,
}

/// What is written and expected by key, and due work by id.
#[derive(Debug, Default)]
struct Several {
    writes: Vec<Option<Write>>,
    written: HashMap<Key, usize>,
    expected: HashMap<Key, Option<i64>>,
    /// Due work, and that it is no longer due, by its id: looked through for each that is added, many would take the
    /// square of their number.
    due: Vec<Option<Change>>,
    due_at: HashMap<String, usize>,
}

/// What becomes of due work.
#[derive(Debug)]
enum Change {
    Armed(Due),
    Done(String),
}

impl Fold {
    /// Whether a decision was made on what those before it have changed. A store would refuse another one after them.
    pub(crate) fn fits(&mut self, next: &Decision) -> bool {
        self.is_empty() || next.is_empty() || self.several().fits(next)
    }

    /// Adds a decision that [fits](Self::fits).
    pub(crate) fn add(&mut self, next: Decision) {
        if next.is_empty() {
            return;
        }
        self.history_bytes += next.events.iter().map(|event| event.data.len()).sum::<usize>();
        if self.is_empty() {
            self.decision = next;
            return;
        }
        let several = self.several();
        let Decision { writes, expects, events, due, done, hints, disconnected, may_wait } = next;
        several.add(writes, expects);
        several.follow(due, done);
        let whole = &mut self.decision;
        whole.events.extend(events);
        for hint in hints {
            if !whole.hints.contains(&hint) {
                whole.hints.push(hint);
            }
        }
        whole.disconnected.extend(disconnected);
        whole.may_wait &= may_wait;
    }

    fn several(&mut self) -> &mut Several {
        self.several.get_or_insert_with(|| {
            let mut several = Several::default();
            let whole = &mut self.decision;
            several.add(std::mem::take(&mut whole.writes), std::mem::take(&mut whole.expects));
            several.follow(std::mem::take(&mut whole.due), std::mem::take(&mut whole.done));
            several
        })
    }

    /// Whether nothing has been decided.
    pub(crate) fn is_empty(&self) -> bool {
        self.several.is_none() && self.decision.is_empty()
    }

    /// Whether so much has been decided that the rest is left to another commit.
    pub(crate) fn is_large(&self) -> bool {
        let writes = self.several.as_ref().map_or(self.decision.writes.len(), |several| several.writes.len());
        self.history_bytes > HISTORY_AT_ONCE_BYTES || writes > FOLDED_WRITES_MAX
    }

    /// All of it as one decision.
    pub(crate) fn finish(self) -> Decision {
        let Some(several) = self.several else { return self.decision };
        let (mut due, mut done) = (Vec::new(), Vec::new());
        for change in several.due.into_iter().flatten() {
            match change {
                Change::Armed(work) => due.push(work),
                Change::Done(id) => done.push(id),
            }
        }
        Decision {
            writes: several.writes.into_iter().flatten().collect(),
            expects: several.expected.into_iter().collect(),
            due,
            done,
            ..self.decision
        }
    }
}

impl Several {
    /// Whether a decision rests on the rows that were written here as they were left.
    fn fits(&self, next: &Decision) -> bool {
        next.expects.iter().all(|(key, version)| self.holds(key, *version))
            && next.writes.iter().all(|write| match write.guard() {
                Guard::Absent => self.holds(&write.key(), None) && self.grows(write),
                Guard::At(read) => self.holds(&write.key(), Some(read)),
                Guard::Guarded => true,
            })
    }

    /// What was written of a row: within it `None` where the row came and went.
    fn left(&self, key: &Key) -> Option<&Option<Write>> {
        self.writes.get(*self.written.get(key)?)
    }

    fn holds(&self, key: &Key, version: Option<i64>) -> bool {
        match self.left(key) {
            None => true,
            Some(Some(Write::Put { version: left, .. })) => version == Some(*left),
            Some(Some(Write::Remove { .. }) | None) => version.is_none(),
        }
    }

    /// Whether a row that was removed here comes again with a greater version, as whoever writes over a row has to.
    fn grows(&self, next: &Write) -> bool {
        match (self.left(&next.key()), next) {
            (Some(Some(Write::Remove { guard: Guard::At(read), .. })), Write::Put { version, .. }) => {
                version > read
            }
            _ => true,
        }
    }

    fn add(&mut self, writes: Vec<Write>, expects: Vec<(Key, Option<i64>)>) {
        for (key, version) in expects {
            // What was written before in the same fold is there by itself.
            if !self.written.contains_key(&key) {
                self.expected.insert(key, version);
            }
        }
        for write in writes {
            self.write(write);
        }
    }

    /// Due work is as the last leaves it, and stands where that one puts it.
    fn follow(&mut self, due: Vec<Due>, done: Vec<String>) {
        for due in due {
            self.put_due(due.work.id(), Change::Armed(due));
        }
        for id in done {
            let is_done = self.due_at.get(&id).and_then(|at| self.due.get(*at)?.as_ref());
            if !matches!(is_done, Some(Change::Done(_))) {
                self.put_due(id.clone(), Change::Done(id));
            }
        }
    }

    fn put_due(&mut self, id: String, change: Change) {
        if let Some(before) = self.due_at.insert(id, self.due.len())
            && let Some(slot) = self.due.get_mut(before)
        {
            *slot = None;
        }
        self.due.push(Some(change));
    }

    fn write(&mut self, next: Write) {
        let key = next.key();
        let Some(at) = self.written.get(&key).copied() else {
            self.written.insert(key, self.writes.len());
            self.writes.push(Some(next));
            return;
        };
        let Some(slot) = self.writes.get_mut(at) else { return };
        *slot = match slot.take() {
            // It came and went: it must only not have been there.
            None => match next {
                Write::Put { row, version, .. } => Some(Write::Put { row, guard: Guard::Absent, version }),
                Write::Remove { .. } => None,
            },
            Some(before) => match (before.guard(), next) {
                (guard, Write::Put { row, version, .. }) => Some(Write::Put { row, guard, version }),
                (Guard::Absent, Write::Remove { key, .. }) => {
                    self.expected.insert(key, None);
                    None
                }
                (guard, Write::Remove { key, .. }) => Some(Write::Remove { key, guard }),
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_wire::id::{SessionId, ToolName};
    use signalbox_wire::time::Timestamp;

    use super::*;
    use crate::decision::{MatchHint, Retention, Row, Workflow};
    use crate::due::DueJob;

    fn row() -> Row {
        Row::Retention(Retention::default())
    }

    fn folded(decisions: impl IntoIterator<Item = Decision>) -> Decision {
        let mut fold = Fold::default();
        for decision in decisions {
            assert!(fold.fits(&decision), "{decision:?}");
            fold.add(decision);
        }
        fold.finish()
    }

    fn decided(change: impl FnOnce(&mut Decision)) -> Decision {
        let mut decision = Decision::default();
        change(&mut decision);
        decision
    }

    /// What is left of a row after two decisions about it: guard and version of the write, or what is expected.
    fn left(first: impl FnOnce(&mut Decision), second: impl FnOnce(&mut Decision)) -> String {
        let decision = folded([decided(first), decided(second)]);
        let writes = decision.writes.iter().map(|write| match write {
            Write::Put { guard, version, .. } => format!("put {guard:?} as {version}"),
            Write::Remove { guard, .. } => format!("remove {guard:?}"),
        });
        let expects = decision.expects.iter().map(|(_, version)| format!("expect {version:?}"));
        writes.chain(expects).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_row_is_written_once_as_the_last_left_it_and_guarded_as_the_first_read_it() {
        let create = |decision: &mut Decision| decision.create(row(), 5);
        let put = |decision: &mut Decision| decision.put(row(), Some(3), 5);
        let remove = |decision: &mut Decision| decision.remove(Key::Retention, 3);
        assert_eq!(left(create, |next| next.put(row(), Some(5), 6)), "put Absent as 6");
        assert_eq!(left(put, |next| next.put(row(), Some(5), 6)), "put At(3) as 6");
        assert_eq!(left(put, |next| next.remove(Key::Retention, 5)), "remove At(3)");
        assert_eq!(left(create, |next| next.remove(Key::Retention, 5)), "expect None");
        assert_eq!(left(remove, |next| next.create(row(), 6)), "put At(3) as 6");
        let expect = |decision: &mut Decision| {
            decision.expects.push((Key::Retention, Some(3)));
            decision.disarm("other".to_owned());
        };
        assert_eq!(left(expect, put), "put At(3) as 5, expect Some(3)");
        let expect_it = |next: &mut Decision| {
            next.expects.push((Key::Retention, Some(5)));
            next.disarm("other".to_owned());
        };
        assert_eq!(left(put, expect_it), "put At(3) as 5");
        let came_and_went =
            [decided(create), decided(|next| next.remove(Key::Retention, 5)), decided(create)];
        let decision = folded(came_and_went);
        assert!(matches!(decision.writes.as_slice(), [Write::Put { guard: Guard::Absent, .. }]));
    }

    #[test]
    fn what_was_made_on_another_row_than_those_before_left_does_not_fit() {
        let key = Key::Retention;
        let create = || decided(|decision| decision.create(row(), 5));
        let remove = || decided(|decision| decision.remove(Key::Retention, 3));
        let expect = |version| {
            decided(|decision| {
                decision.expects.push((key.clone(), version));
                decision.disarm("other".to_owned());
            })
        };
        let unfit = [
            (create(), decided(|next| next.put(row(), Some(4), 6))),
            (create(), create()),
            (create(), decided(|next| next.remove(Key::Retention, 4))),
            (create(), expect(Some(4))),
            (create(), expect(None)),
            (remove(), decided(|next| next.put(row(), Some(3), 6))),
            (remove(), expect(Some(3))),
            (remove(), decided(|next| next.create(row(), 3))),
        ];
        for (first, next) in unfit {
            let mut fold = Fold::default();
            assert!(fold.fits(&first));
            fold.add(first);
            assert!(!fold.fits(&next), "{next:?}");
        }
        let guarded = decided(|next| next.remove_guarded(key.clone()));
        assert!(folded([create(), expect(Some(5)), guarded]).writes.is_empty());
    }

    #[test]
    fn due_work_is_as_the_last_left_it() {
        let work = DueJob::Deadline { session: SessionId::parse("s").expect("valid") };
        let at = |seconds| Due::new(work.clone(), Timestamp::from_seconds(seconds));
        let (arm, disarm) =
            (|next: &mut Decision| next.arm(at(1)), |next: &mut Decision| next.disarm(work.id()));
        assert_eq!(folded([decided(arm), decided(|next| next.arm(at(2)))]).due, [at(2)]);
        let gone = folded([decided(arm), decided(disarm)]);
        assert_eq!((gone.due.len(), gone.done), (0, vec![work.id()]));
        let again = folded([decided(disarm), decided(arm)]);
        assert_eq!((again.due, again.done.len()), (vec![at(1)], 0));
    }

    #[test]
    fn a_decision_alone_stays_as_it_is_and_a_hint_is_given_once() {
        let hint = MatchHint::Task(
            SessionId::parse("s").expect("valid"),
            signalbox_wire::id::TaskId::new(Timestamp::default() + Duration::from_secs(1), 1),
        );
        let one = || {
            decided(|decision| {
                decision.hints.push(hint.clone());
                decision.remove_guarded(Key::Tool(ToolName::parse("tool").expect("valid")));
                decision.may_wait = true;
            })
        };
        assert_eq!(format!("{:?}", folded([one()])), format!("{:?}", one()));
        let both = folded([one(), one()]);
        assert_eq!((both.hints.len(), both.may_wait), (1, true));
        let id = signalbox_wire::id::WorkflowId::parse("w").expect("valid");
        let workflow =
            Workflow { id, revision: 1, oldest: 1, is_deleted: false, created_at: Timestamp::default() };
        let waits_for = folded([one(), decided(|decision| decision.create(Row::Workflow(workflow), 1))]);
        assert!(!waits_for.may_wait);
    }
}
