//! What a decision costs the thread that makes it, counted in steps.
//!
//! A step is some hundred nanoseconds: a value that an expression looks at, 64 bytes that are copied or hashed. A
//! decision that takes more of them than a thread that serves connections may spend stops, and is made again where
//! nobody waits for the thread.

use std::cell::Cell;

/// Steps that a decision takes on a thread that others wait for, at most: about a millisecond.
pub const QUICK_STEPS_MAX: u64 = 10_000;
/// Bytes that are copied, written as JSON or hashed in one step.
pub const BYTES_PER_STEP: u64 = 64;
/// Tasks of a session, and words of those that are alike, that are looked over for its next move in one step.
pub const TASKS_PER_STEP: u64 = 16;
/// Steps that it takes to begin or to settle a task, besides its expressions.
pub const STEPS_PER_MOVE: u64 = 50;
/// Steps that it takes to take in the result of an item, besides its bytes.
pub const STEPS_PER_ITEM_GATHERED: u64 = 2;
/// Steps that it takes to make a task of a definition or of an item.
pub const STEPS_PER_TASK_MADE: u64 = 20;

/// The steps that a decision may still take.
#[derive(Debug, Clone)]
pub struct Steps(Cell<u64>);

/// A decision would take more steps than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Steps {
    /// As many as a thread that others wait for can spare.
    #[must_use]
    pub fn quick() -> Self {
        Self(Cell::new(QUICK_STEPS_MAX))
    }

    /// As many as it takes. Other bounds keep that finite: those of one rendering, of one schema check, of the tasks
    /// that begin at once.
    #[must_use]
    pub fn unbounded() -> Self {
        Self(Cell::new(u64::MAX))
    }

    /// Takes `steps` of them.
    ///
    /// # Errors
    /// So many are not left; from then on none is.
    pub fn take(&self, steps: u64) -> Result<(), TooLong> {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.map(drop).ok_or(TooLong)
    }

    /// Takes those for as many bytes.
    ///
    /// # Errors
    /// So many are not left.
    pub fn take_bytes(&self, bytes: u64) -> Result<(), TooLong> {
        self.take(bytes / BYTES_PER_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_bound_stays_over_it() {
        let steps = Steps::quick();
        assert_eq!(steps.take(QUICK_STEPS_MAX - 1), Ok(()));
        assert_eq!(steps.take_bytes(BYTES_PER_STEP), Ok(()));
        assert_eq!((steps.take(1), steps.take(0)), (Err(TooLong), Ok(())));
        assert_eq!(Steps::unbounded().take(u64::MAX / 2), Ok(()));
    }
}
