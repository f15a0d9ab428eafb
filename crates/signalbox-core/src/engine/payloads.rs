//! Values on their way into sessions: what is long is kept apart, and expressions look into it where they have to.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::work::Work;
use crate::decision::{Key, Row};
use crate::definition::Definition;
use crate::event::NewEvent;
use crate::expression::{self, Payloads, Unresolved};
use crate::payload::{self, Payload, Reference};
use crate::{Halt, Rejected, View};

/// The payloads that a decision knows: those that are kept, and those that are new with it.
pub(super) struct Known<'a> {
    pub(super) view: &'a View,
    pub(super) apart: &'a [Arc<Payload>],
}

impl Payloads for Known<'_> {
    fn payload(&self, sha256: &str) -> Option<Option<&Payload>> {
        match self.apart.iter().find(|payload| payload.sha256 == sha256) {
            Some(payload) => Some(Some(payload)),
            None => self.view.payload(sha256).ok(),
        }
    }
}

/// What an expression came to, or the payloads that it needs first.
pub(super) fn or_need<T>(view: &View, seen: Result<T, Unresolved>) -> Result<Result<T, Unresolved>, Halt> {
    match seen {
        Err(fault) if !fault.needs.is_empty() => {
            let mut names = fault.needs.clone();
            names.sort_unstable();
            names.dedup();
            view.require(names.into_iter().map(Key::Payload))?;
            Ok(Err(Unresolved { needs: Vec::new(), ..fault }))
        }
        seen => Ok(seen),
    }
}

impl Work<'_, '_> {
    /// The payloads that this decision knows.
    pub(super) fn payloads(&self) -> Known<'_> {
        Known { view: self.view, apart: &self.apart }
    }

    /// Refuses an input that does not fit the schema of the workflow that it is for.
    pub(super) fn fits(&self, definition: &Definition, input: &Map<String, Value>) -> Result<(), Halt> {
        let Some(inputs) = self.turn.inputs.filter(|_| definition.input.is_some()) else { return Ok(()) };
        let input = Value::Object(input.clone());
        let faults = match or_need(self.view, expression::whole(&input, &self.payloads()))? {
            Ok(whole) => inputs.faults(definition, &whole),
            Err(fault) => vec![(String::new(), fault.reason)],
        };
        if faults.is_empty() { Ok(()) } else { Err(Rejected::UnfitInput(faults).into()) }
    }

    /// What `value` refers to, where it is a reference to something that is kept.
    pub(super) fn opened<'v>(&self, value: &'v Value) -> Result<Cow<'v, Value>, Halt> {
        let Some(reference) = Reference::of(value) else { return Ok(Cow::Borrowed(value)) };
        let new = self.apart.iter().find(|payload| payload.sha256 == reference.sha256);
        let kept = match new {
            Some(payload) => Some(payload.as_ref()),
            None => self.view.payload(reference.sha256)?,
        };
        Ok(kept.map_or(Cow::Borrowed(value), |kept| Cow::Owned(Value::clone(&kept.value))))
    }

    /// `value` as a session keeps it.
    pub(super) fn light(&mut self, value: Value) -> Value {
        let (value, apart) = payload::light(value, self.turn.policy.payload_inline_max);
        self.set_apart(apart);
        value
    }

    /// `fields` as a session keeps them.
    pub(super) fn light_fields(&mut self, fields: Map<String, Value>) -> Map<String, Value> {
        let (fields, apart) = payload::light_fields(fields, self.turn.policy.payload_inline_max);
        self.set_apart(apart);
        fields
    }

    fn set_apart(&mut self, apart: Vec<Arc<Payload>>) {
        for payload in apart {
            if !self.apart.iter().any(|known| known.sha256 == payload.sha256) {
                self.apart.push(payload);
            }
        }
    }

    /// Keeps the new payloads that something refers to: what sessions keep, their history tells.
    pub(super) fn write_payloads(&mut self) {
        if self.apart.is_empty() {
            return;
        }
        let is_history =
            |event: &&NewEvent| event.session.as_ref().is_some_and(|(_, sequence)| *sequence > 0);
        let history = self.decision.events.iter().filter(is_history);
        let mut named: HashSet<String> = history.flat_map(|event| named_in(&event.data)).collect();
        let version = self.turn.version_after(None);
        // Those that refer to others come after them.
        while let Some(payload) = self.apart.pop() {
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
