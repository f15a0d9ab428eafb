//! Values on their way into sessions: what is long is kept apart, and expressions look into it where they have to.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::known_payloads::{KnownPayloads, or_need};
use super::unit_of_work::UnitOfWork;
use crate::definition::Definition;
use crate::expression;
use crate::payload::{self, Payload, Reference};
use crate::{Halt, Rejected};

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
        let (Some(inputs), Some(schema)) = (self.context.inputs, &definition.input) else { return Ok(()) };
        let input = Value::Object(input.clone());
        let faults = match or_need(self.snapshot, expression::inline(&input, &self.payloads()))? {
            Ok(whole) => inputs.faults(schema, &whole, &self.context.steps)?,
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
}
