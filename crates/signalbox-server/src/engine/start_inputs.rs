//! Inputs that sessions are started with, held against the schema of the workflow that is started.

use serde_json::Value;
use signalbox_core::context::Inputs;
use signalbox_core::definition::Definition;
use signalbox_core::steps::{Steps, TooLong};
use signalbox_wire::fault::Fault;

use crate::engine::schema::{Schema, Schemas, Unfit};

/// Schemas by their text, compiled.
#[derive(Default)]
pub(crate) struct StartInputs(Schemas<String>);

impl std::fmt::Debug for StartInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StartInputs")
    }
}

impl Inputs for StartInputs {
    fn faults(
        &self,
        definition: &Definition,
        input: &Value,
        steps: &Steps,
    ) -> Result<Vec<(String, String)>, TooLong> {
        let Some(schema) = &definition.input else { return Ok(Vec::new()) };
        let Some(fields) = schema.as_object() else { return Ok(Vec::new()) };
        let message = "cannot be held against the input schema of the workflow, which is not valid any more; mend it there";
        // It was found to be a schema when its definition was kept.
        let compile = || Schema::compile(fields).map_err(|_| vec![Fault::new("", message)]);
        let held = self.0.held(schema.to_string(), steps, compile);
        match held.and_then(|schema| schema.check(input, "", steps)) {
            Ok(()) => Ok(Vec::new()),
            Err(Unfit::TooLong) => Err(TooLong),
            Err(Unfit::Faults(faults)) => {
                Ok(faults.into_iter().map(|fault| (fault.pointer, fault.message)).collect())
            }
        }
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
            let faults = inputs.faults(definition, &input, &Steps::unbounded()).expect("it may take long");
            faults.into_iter().map(|(pointer, _)| pointer).collect()
        };
        for _ in 0..2 {
            assert_eq!(pointers(&strict, json!({"b": "x"})), ["/a", "/b"]);
            assert_eq!(pointers(&strict, json!({"a": 1})), [""; 0]);
        }
        let large = json!({"a": 1, "b": 2, "many": vec![0; 100_000]});
        let counts = of(Some(json!({"properties": {"many": {"items": {"type": "integer"}}}})));
        for definition in [&counts, &counts] {
            assert_eq!(inputs.faults(definition, &large, &Steps::quick()), Err(TooLong));
            assert_eq!(inputs.faults(definition, &large, &Steps::unbounded()), Ok(Vec::new()));
        }
        assert_eq!(inputs.faults(&counts, &json!({"many": [1]}), &Steps::quick()), Ok(Vec::new()));
        assert_eq!(pointers(&of(None), json!({})), [""; 0]);
        assert_eq!(pointers(&of(Some(json!({"type": 5}))), json!({})), [""]);
    }
}
