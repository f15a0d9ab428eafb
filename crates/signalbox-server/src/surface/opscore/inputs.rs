//! What a session is started with, held against the `input` schema of the definition that it runs.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_core::definition::Definition;
use signalbox_core::engine::{Operation, Trigger, Triggered, WorkflowSource};
use signalbox_core::payload;
use signalbox_core::{Decision, DecisionContext, Halt, Rejected, Snapshot};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::{TenantId, WorkflowId};

use crate::engine::payloads;
use crate::engine::schema::{Schema, Schemas};

/// Bytes of an input with all that it refers to, at most.
const CHECKED_BYTES_MAX: u64 = 64 << 20;
/// Where a trigger holds the input.
const PLACE: &str = "/initialPayload";

/// The compiled `input` schemas of kept definitions.
#[derive(Clone, Default)]
pub(super) struct Inputs(Schemas<MatchTask>);

/// Whose definition, and which version of it.
type MatchTask = (TenantId, WorkflowId, i64);

/// A trigger whose input has to fit the very definition that is run.
pub(super) struct Checked<'a> {
    pub(super) trigger: Trigger,
    pub(super) tenant: &'a TenantId,
    pub(super) inputs: &'a Inputs,
}

impl Operation for Checked<'_> {
    type Output = Triggered;

    fn decide(
        &self,
        view: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Triggered), Halt> {
        // What cannot be started has its own refusal, and by then all that is asked for here has been shown.
        let made = self.trigger.decide(view, context)?;
        self.check(view)?;
        Ok(made)
    }
}

impl Checked<'_> {
    fn check(&self, view: &Snapshot) -> Result<(), Halt> {
        let input = &self.trigger.input;
        match &self.trigger.source {
            WorkflowSource::Inline(definition) => {
                let schema = schema_of(definition).map(|schema| compiled(schema, PLACE).map(Arc::new));
                schema.map_or(Ok(()), |schema| held_against(schema, view, input, PLACE))
            }
            WorkflowSource::Kept(id) => self.inputs.check(self.tenant, view, id, input, PLACE),
        }
    }
}

impl Inputs {
    /// Holds `input`, which came at `place`, against the current definition of a workflow, where there is one.
    pub(super) fn check(
        &self,
        tenant: &TenantId,
        view: &Snapshot,
        workflow: &WorkflowId,
        input: &Map<String, Value>,
        place: &str,
    ) -> Result<(), Halt> {
        let Some(current) = view.workflow(workflow)? else { return Ok(()) };
        let Some(kept) = view.definition(workflow, current.value.revision)? else { return Ok(()) };
        let whose = (tenant.clone(), workflow.clone(), kept.version);
        let schema = schema_of(&kept.value).map(|schema| self.0.held(whose, || compiled(schema, place)));
        schema.map_or(Ok(()), |schema| held_against(schema, view, input, place))
    }
}

fn held_against(
    schema: Result<Arc<Schema>, Vec<Fault>>,
    view: &Snapshot,
    input: &Map<String, Value>,
    place: &str,
) -> Result<(), Halt> {
    let input = whole(view, Value::Object(input.clone()), place)?;
    schema.and_then(|schema| schema.check(&input, place)).map_err(|faults| {
        let faults = faults.into_iter().map(|fault| (fault.pointer, fault.message));
        Rejected::UnfitInput(faults.collect()).into()
    })
}

/// An input as its schema means it: with the payloads of sessions before that it hands on.
fn whole(view: &Snapshot, input: Value, place: &str) -> Result<Value, Halt> {
    let mut open: Vec<&str> = payload::references(&input);
    if open.is_empty() {
        return Ok(input);
    }
    let mut seen = HashSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name)
            && let Some(payload) = view.payload(name)?
        {
            open.extend(payload.references());
        }
    }
    let find = |name: &str| view.payload(name).ok().flatten();
    let joined = payloads::put_together(&input, &find, CHECKED_BYTES_MAX);
    joined.map_err(|fault| {
        Rejected::UnfitInput(vec![(place.to_owned(), format!("cannot be used: {fault}"))]).into()
    })
}

fn schema_of(definition: &Definition) -> Option<&Map<String, Value>> {
    definition.input.as_ref().and_then(Value::as_object)
}

/// A schema that was found to be one when its definition was kept.
fn compiled(schema: &Map<String, Value>, place: &str) -> Result<Schema, Vec<Fault>> {
    let message =
        "cannot be held against the input schema of the workflow, which is not valid any more; mend it there";
    Schema::compile(schema).map_err(|_| vec![Fault::new(place, message)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_core::Versioned;
    use signalbox_core::decision::{Key, Workflow};
    use signalbox_core::limits::Policy;
    use signalbox_core::snapshot::Loaded;
    use signalbox_wire::time::Timestamp;

    use super::*;

    fn definition(revision: u32, input: Option<Value>) -> Definition {
        let id = WorkflowId::parse("w").expect("valid");
        Definition { revision, input, ..Definition::of(id, Vec::new()) }
    }

    /// The view of a store that holds this definition as its current one.
    fn view(kept: &Definition) -> Snapshot {
        let (id, revision) = (kept.id.clone(), kept.revision);
        let row = Workflow { id: id.clone(), revision, created_at: Timestamp::default() };
        let version = i64::from(revision);
        let mut view = Snapshot::new();
        view.show(
            Key::Workflow(id.clone()),
            Some(Loaded::Workflow(Versioned { version, value: Arc::new(row) })),
        );
        let row = Versioned { version, value: Arc::new(kept.clone()) };
        view.show(Key::Definition(id, revision), Some(Loaded::Definition(row)));
        view
    }

    fn faults(inputs: &Inputs, source: WorkflowSource, view: &Snapshot) -> Vec<String> {
        let input = json!({"a": 1, "c": "x"}).as_object().cloned().expect("an object");
        let trigger = Trigger { source, agent: None, input, trace: None };
        let tenant = TenantId::default_tenant();
        let checked = Checked { trigger, tenant: &tenant, inputs };
        let policy = Policy::default();
        match checked.decide(view, &mut DecisionContext::new(Timestamp::from_seconds(1), 0, &policy)) {
            Ok(_) => Vec::new(),
            Err(Halt::Rejected(Rejected::UnfitInput(faults))) => {
                faults.into_iter().map(|fault| fault.0).collect()
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_input_fits_the_schema_of_the_revision_that_is_run() {
        let inputs = Inputs::default();
        let schema = json!({"required": ["a", "b"], "properties": {"c": {"type": "integer"}}});
        let first = definition(1, Some(schema));
        let second = definition(2, Some(json!({"required": ["d"]})));
        let kept = || WorkflowSource::Kept(first.id.clone());
        let wrong = ["/initialPayload/b", "/initialPayload/c"];
        for _ in 0..2 {
            assert_eq!(faults(&inputs, kept(), &view(&first)), wrong);
            assert_eq!(faults(&inputs, kept(), &view(&second)), ["/initialPayload/d"]);
        }
        assert_eq!(faults(&inputs, kept(), &view(&definition(3, None))), [""; 0]);
        let inline = |definition: &Definition| WorkflowSource::Inline(Box::new(definition.clone()));
        assert_eq!(faults(&inputs, inline(&first), &view(&second)), wrong);
        assert_eq!(faults(&inputs, inline(&definition(0, None)), &view(&second)), [""; 0]);
        assert_eq!(
            faults(&inputs, kept(), &view(&definition(4, Some(json!({"type": 5}))))),
            ["/initialPayload"]
        );
    }
}
