//! How much one rendering may do, and what it may look into.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde_json::Value;

use super::scope::Payloads;
use crate::payload::Reference;
use crate::steps::{BYTES_PER_STEP, Steps};

/// Steps that the expressions of one rendering may take together: a value that is looked at, an item that is gone
/// over, a comparison. A tenth of a second at most, and some 50,000 items under a simple condition.
pub(super) const STEPS_MAX: usize = 1_000_000;

/// Bytes that one rendering may come to, by estimate: many results of the size that a body may have, and
/// nothing that fills a machine.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// Bytes of payloads that one rendering may look into.
pub(super) const LOOKED_INTO_MAX: usize = 64 << 20;

/// Nesting of parameters that is rendered, at most; also that of what an expression gives.
pub(super) const DEPTH_MAX: usize = 128;

/// Characters of text that count as one step.
const TEXT_STEP: usize = 32;

/// Characters of an expression that are read in one step.
const TEXT_PARSED_STEP: usize = 4;

/// What is left of the bounds of one rendering.
pub(super) struct Budget<'a> {
    payloads: &'a dyn Payloads,
    /// What the decision may still take, whatever is left of the bounds.
    decision: Option<&'a Steps>,
    steps: Cell<usize>,
    bytes: Cell<usize>,
    looked_into: Cell<usize>,
    /// The payloads that have been counted.
    counted: RefCell<HashSet<String>>,
}

/// Why an expression has no value, before it is known which one it is.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: String,
    /// Nothing may take the place of the value: the bounds of the rendering are reached. Without this, `||` and
    /// `&&` leave a fault aside when their other side decides.
    pub(super) is_final: bool,
    /// The payloads that have to be loaded first.
    pub(super) needs: Vec<String>,
    /// The decision may not take so long where it is made.
    pub(super) is_long: bool,
}

impl Fault {
    pub(super) fn of(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_final: false, needs: Vec::new(), is_long: false }
    }

    fn beyond(reason: impl Into<String>) -> Self {
        Self { is_final: true, ..Self::of(reason) }
    }

    fn needs(sha256: &str) -> Self {
        let needs = vec![sha256.to_owned()];
        Self { needs, ..Self::beyond("looks into a payload that has not been loaded") }
    }

    fn long() -> Self {
        Self { is_long: true, ..Self::beyond("takes longer than a quick decision may") }
    }
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Self {
        Self::of(reason)
    }
}

impl<'a> Budget<'a> {
    pub(super) fn new(payloads: &'a dyn Payloads) -> Self {
        Self {
            payloads,
            decision: payloads.steps(),
            steps: Cell::new(STEPS_MAX),
            bytes: Cell::new(BYTES_MAX),
            looked_into: Cell::new(LOOKED_INTO_MAX),
            counted: RefCell::default(),
        }
    }

    /// What `value` refers to, where it is a reference.
    pub(super) fn look_into(&self, mut value: &'a Value) -> Result<&'a Value, Fault> {
        while let Some(Reference { sha256, .. }) = Reference::of(value) {
            self.spend(1)?;
            let Some(kept) = self.payloads.payload(sha256) else { return Err(Fault::needs(sha256)) };
            let kept = kept.ok_or_else(|| {
                Fault::of(format!("looks into the payload {sha256}, which is not kept, or no longer"))
            })?;
            if self.counted.borrow_mut().insert(sha256.to_owned()) {
                let left = self.looked_into.get().checked_sub(kept.body.len());
                self.looked_into.set(left.ok_or_else(|| {
                    Fault::beyond(format!(
                        "looks into more than {} MiB of payloads; leave that to an agent or a tool",
                        LOOKED_INTO_MAX >> 20
                    ))
                })?);
            }
            value = &kept.value;
        }
        Ok(value)
    }

    /// `value` with all that it refers to in its place.
    pub(super) fn inline(&self, value: &'a Value, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::of("gives a value that is nested too deeply"));
        }
        self.write(8)?;
        match self.look_into(value)? {
            Value::Array(items) => items.iter().map(|item| self.inline(item, depth + 1)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, part)| {
                    self.write(name.len())?;
                    Ok((name.clone(), self.inline(part, depth + 1)?))
                })
                .collect::<Result<_, _>>()
                .map(Value::Object),
            Value::String(text) => {
                self.write(text.len())?;
                Ok(Value::String(text.clone()))
            }
            other => Ok(other.clone()),
        }
    }

    /// Takes `steps` from what is left.
    pub(super) fn spend(&self, steps: usize) -> Result<(), Fault> {
        self.take(steps)?;
        let left = self.steps.get().checked_sub(steps);
        self.steps.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| {
            Fault::beyond("takes too much budget; go over fewer items, or leave it to an agent or a tool")
        })
    }

    /// Takes what the decision spends on reading `text` as an expression.
    pub(super) fn take_text(&self, text: &str) -> Result<(), Fault> {
        self.take(1 + text.len() / TEXT_PARSED_STEP)
    }

    fn take(&self, steps: usize) -> Result<(), Fault> {
        match self.decision {
            Some(decision) => decision.take(steps as u64).map_err(|_| Fault::long()),
            None => Ok(()),
        }
    }

    /// Takes what it costs to go through `text`.
    pub(super) fn spend_text(&self, text: &str) -> Result<(), Fault> {
        self.spend(1 + text.len() / TEXT_STEP)
    }

    /// Takes `bytes` from what may still be written.
    pub(super) fn write(&self, bytes: usize) -> Result<(), Fault> {
        self.take(1 + bytes / BYTES_PER_STEP as usize)?;
        let left = self.bytes.get().checked_sub(bytes);
        self.bytes.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| Fault::beyond("makes the rendered value larger than 16 MiB"))
    }
}
