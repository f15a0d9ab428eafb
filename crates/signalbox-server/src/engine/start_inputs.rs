//! Inputs that sessions are started with, held against the schema of the workflow that is started.

use serde_json::Value;
use signalbox_core::context::Inputs;
use signalbox_core::definition::Definition;
use signalbox_wire::fault::Fault;

use crate::engine::schema::{Schema, Schemas};

/// Schemas by their text, compiled.
#[derive(Default)]
pub(crate) struct StartInputs(Schemas<String>);

impl std::fmt::Debug for StartInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StartInputs")
    }
}

impl Inputs for StartInputs {
    fn faults(&self, definition: &Definition, input: &Value) -> Vec<(String, String)> {
        let Some(schema) = &definition.input else { return Vec::new() };
        let Some(fields) = schema.as_object() else { return Vec::new() };
        let message = "cannot be held against the input schema of the workflow, which is not valid any more; mend it there";
        // It was found to be a schema when its definition was kept.
        let compile = || Schema::compile(fields).map_err(|_| vec![Fault::new("", message)]);
        let checked = self.0.held(schema.to_string(), compile).and_then(|schema| schema.check(input, ""));
        checked.err().into_iter().flatten().map(|fault| (fault.pointer, fault.message)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_wire::id::WorkflowId;

    use super::*;

    #[test]
    fn an_input_is_held_against_the_schema_of_its_definition() {
        let inputs = StartInputs::default();
        let id = WorkflowId::parse("w").expect("valid");
        let of =
            |schema: Option<Value>| Definition { input: schema, ..Definition::of(id.clone(), Vec::new()) };
        let strict = of(Some(json!({"required": ["a"], "properties": {"b": {"type": "integer"}}})));
        let pointers = |definition: &Definition, input: Value| -> Vec<String> {
            inputs.faults(definition, &input).into_iter().map(|(pointer, _)| pointer).collect()
        };
        for _ in 0..2 {
            assert_eq!(pointers(&strict, json!({"b": "x"})), ["/a", "/b"]);
            assert_eq!(pointers(&strict, json!({"a": 1})), [""; 0]);
        }
        assert_eq!(pointers(&of(None), json!({})), [""; 0]);
        assert_eq!(pointers(&of(Some(json!({"type": 5}))), json!({})), [""]);
    }
}
