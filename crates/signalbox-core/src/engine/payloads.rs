//! Values on their way into sessions: what is long is kept apart, and expressions look into it where they have to.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::unit_of_work::UnitOfWork;
use crate::decision::{Key, Row};
use crate::definition::Definition;
use crate::event::NewEvent;
use crate::expression::{self, Payloads, Unresolved};
use crate::payload::{self, Payload, Reference};
use crate::steps::Steps;
use crate::{Halt, Rejected, Snapshot};

/// The payloads that a decision knows: those that are kept, and those that are new with it.
pub(super) struct KnownPayloads<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) new_payloads: &'a [Arc<Payload>],
    pub(super) steps: &'a Steps,
}

impl Payloads for KnownPayloads<'_> {
    fn payload(&self, sha256: &str) -> Option<Option<&Payload>> {
        match self.new_payloads.iter().find(|payload| payload.sha256 == sha256) {
            Some(payload) => Some(Some(payload)),
            None => self.snapshot.payload(sha256).ok(),
        }
    }

    fn steps(&self) -> Option<&Steps> {
        Some(self.steps)
    }
}

/// What an expression came to, unless it needs payloads first, or takes too long here.
pub(super) fn or_need<T>(
    snapshot: &Snapshot,
    seen: Result<T, Unresolved>,
) -> Result<Result<T, Unresolved>, Halt> {
    match seen {
        Err(fault) if fault.is_long => Err(Halt::Long),
        Err(fault) if !fault.needs.is_empty() => {
            let mut names = fault.needs.clone();
            names.sort_unstable();
            names.dedup();
            snapshot.require(names.into_iter().map(Key::Payload))?;
            Ok(Err(Unresolved { needs: Vec::new(), ..fault }))
        }
        seen => Ok(seen),
    }
}

impl UnitOfWork<'_, '_> {
    /// The payloads that this decision knows.
    pub(super) fn payloads(&self) -> KnownPayloads<'_> {
        let steps = &self.context.steps;
        KnownPayloads { snapshot: self.snapshot, new_payloads: &self.new_payloads, steps }
    }

    /// Refuses an input, which came at `place` of a request, that does not fit the schema of the workflow that it is
    /// for.
    pub(super) fn fits(
        &self,
        definition: &Definition,
        input: &Map<String, Value>,
        place: &str,
    ) -> Result<(), Halt> {
        let Some(inputs) = self.context.inputs.filter(|_| definition.input.is_some()) else { return Ok(()) };
        let input = Value::Object(input.clone());
        let faults = match or_need(self.snapshot, expression::inline(&input, &self.payloads()))? {
            Ok(whole) => inputs.faults(definition, &whole, &self.context.steps)?,
            Err(fault) => vec![(String::new(), format!("cannot be used: {}", fault.reason))],
        };
        let faults: Vec<_> =
            faults.into_iter().map(|(pointer, fault)| (format!("{place}{pointer}"), fault)).collect();
        if faults.is_empty() { Ok(()) } else { Err(Rejected::UnfitInput(faults).into()) }
    }

    /// What `value` refers to, where it is a reference to something that is kept.
    pub(super) fn opened<'v>(&self, value: &'v Value) -> Result<Cow<'v, Value>, Halt> {
        let Some(reference) = Reference::of(value) else { return Ok(Cow::Borrowed(value)) };
        let new = self.new_payloads.iter().find(|payload| payload.sha256 == reference.sha256);
        let kept = match new {
            Some(payload) => Some(payload.as_ref()),
            None => self.snapshot.payload(reference.sha256)?,
        };
        Ok(kept.map_or(Cow::Borrowed(value), |kept| Cow::Owned(Value::clone(&kept.value))))
    }

    /// `value` as a session keeps it.
    pub(super) fn externalize(&mut self, value: Value) -> Result<Value, Halt> {
        self.context.steps.take_bytes(payload::length(&value))?;
        let (value, new_payloads) = payload::externalize(value, self.context.policy.payload_inline_max);
        self.add_payloads(new_payloads);
        Ok(value)
    }

    /// `fields` as a session keeps them.
    pub(super) fn externalize_fields(
        &mut self,
        fields: Map<String, Value>,
    ) -> Result<Map<String, Value>, Halt> {
        self.context.steps.take_bytes(payload::length_of_fields(&fields))?;
        let (fields, new_payloads) =
            payload::externalize_fields(fields, self.context.policy.payload_inline_max);
        self.add_payloads(new_payloads);
        Ok(fields)
    }

    fn add_payloads(&mut self, new_payloads: Vec<Arc<Payload>>) {
        for payload in new_payloads {
            if !self.new_payloads.iter().any(|known| known.sha256 == payload.sha256) {
                self.new_payloads.push(payload);
            }
        }
    }

    /// Keeps the new payloads that something refers to: what sessions keep, their history tells.
    pub(super) fn write_payloads(&mut self) {
        if self.new_payloads.is_empty() {
            return;
        }
        let is_history =
            |event: &&NewEvent| event.session.as_ref().is_some_and(|(_, sequence)| *sequence > 0);
        let history = self.decision.events.iter().filter(is_history);
        let mut named: HashSet<String> = history.flat_map(|event| named_in(&event.data)).collect();
        let version = self.context.version_after(None);
        // Those that refer to others come after them.
        while let Some(payload) = self.new_payloads.pop() {
            if named.contains(&payload.sha256) {
                named.extend(payload.references().into_iter().map(str::to_owned));
                self.decision.put_guarded(Row::Payload(payload), version);
            }
        }
    }
}

/// What may be names of payloads in a text that is JSON, found without reading it.
fn named_in(text: &str) -> impl Iterator<Item = String> {
    const BEFORE: &str = "\"sha256\":\"";
    text.match_indices(BEFORE).filter_map(|(at, _)| {
        let from = at + BEFORE.len();
        text.get(from..from + 64).map(str::to_owned)
    })
}
