//! How far one connection has come: [`Place`] tells up to where all that came is dealt with. The invariant: what is not taken,
//! and a command that is not answered, is never acknowledged; a process that ends with it gets it again.

use std::collections::BTreeMap;

/// How far one connection has come, by its own sequences.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The last sequence that is here.
    seen: u64,
    /// What was acknowledged last.
    acknowledged: u64,
    /// Commands that were taken and are not answered; as many as are in hand or wait for the server to have their answer.
    open: BTreeMap<u64, String>,
    /// The first that was left to the next process.
    left: Option<u64>,
}

impl Place {
    /// What has this sequence is here and is dealt with.
    pub(super) fn has(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    /// A command is here, and not answered.
    pub(super) fn opens(&mut self, sequence: u64, command: &str) {
        self.has(sequence);
        self.open.insert(sequence, command.to_owned());
    }

    /// The server has the answer to a command.
    pub(super) fn answered(&mut self, command: &str) {
        self.open.retain(|_, open| open != command);
    }

    /// What has this sequence is not taken.
    pub(super) fn leaves(&mut self, sequence: u64) {
        self.left = Some(self.left.map_or(sequence, |left| left.min(sequence)));
    }

    /// Up to where all is dealt with; `waits` is the first that waits to be taken.
    pub(super) fn dealt_with(&self, waits: Option<u64>) -> u64 {
        let first = [waits, self.left, self.open.keys().next().copied()].into_iter().flatten().min();
        first.map_or(self.seen, |first| self.seen.min(first.saturating_sub(1)))
    }

    /// What to acknowledge now, where there is something new.
    pub(super) fn acknowledges(&mut self, waits: Option<u64>) -> Option<u64> {
        let up_to = self.dealt_with(waits);
        if up_to <= self.acknowledged {
            return None;
        }
        self.acknowledged = up_to;
        Some(up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_acknowledged_that_is_open_waits_or_is_left() {
        let mut place = Place::default();
        place.has(1);
        place.opens(2, "cmd_1");
        place.has(3);
        assert_eq!(place.acknowledges(None), Some(1));
        assert_eq!(place.acknowledges(None), None);
        place.answered("cmd_1");
        place.has(9);
        assert_eq!(place.acknowledges(Some(5)), Some(4));
        place.leaves(8);
        place.leaves(9);
        assert_eq!(place.acknowledges(None), Some(7));
    }
}
