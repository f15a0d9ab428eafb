//! How much one rendering may do.

use std::cell::Cell;

/// Steps that the expressions of one rendering may take together: a value that is looked at, an item that is gone
/// over, a comparison. A tenth of a second at most, and some 50,000 items under a simple condition.
pub(super) const STEPS_MAX: usize = 1_000_000;

/// Bytes that one rendering may come to, by estimate: many results of the size that a body may have, and
/// nothing that fills a machine.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// Characters of text that count as one step.
const TEXT_STEP: usize = 32;

/// What is left of the bounds of one rendering.
#[derive(Debug)]
pub(super) struct Work {
    steps: Cell<usize>,
    bytes: Cell<usize>,
}

/// Why an expression has no value, before it is known which one it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: String,
    /// Nothing may take the place of the value: the bounds of the rendering are reached. Without this, `||` and
    /// `&&` leave a fault aside when their other side decides.
    pub(super) is_final: bool,
}

impl Fault {
    pub(super) fn of(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_final: false }
    }

    fn beyond(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_final: true }
    }
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Self {
        Self::of(reason)
    }
}

impl Work {
    pub(super) fn new() -> Self {
        Self { steps: Cell::new(STEPS_MAX), bytes: Cell::new(BYTES_MAX) }
    }

    /// Takes `steps` from what is left.
    pub(super) fn spend(&self, steps: usize) -> Result<(), Fault> {
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| {
            Fault::beyond("takes too much work; go over fewer items, or leave it to an agent or a tool")
        })
    }

    /// Takes what it costs to go through `text`.
    pub(super) fn spend_text(&self, text: &str) -> Result<(), Fault> {
        self.spend(1 + text.len() / TEXT_STEP)
    }

    /// Takes `bytes` from what may still be written.
    pub(super) fn write(&self, bytes: usize) -> Result<(), Fault> {
        let left = self.bytes.get().checked_sub(bytes);
        self.bytes.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| Fault::beyond("makes the rendered value larger than 16 MiB"))
    }
}
