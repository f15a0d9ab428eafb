//! Inputs that sessions are started with, held against the schema of the workflow that is started.

use serde_json::Value;
use signalbox_core::context::Inputs;
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
    fn faults(&self, schema: &Value, input: &Value, steps: &Steps) -> Result<Vec<(String, String)>, TooLong> {
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

    use super::*;

    #[test]
    fn an_input_is_held_against_its_schema() {
        let inputs = StartInputs::default();
        let strict = json!({"required": ["a"], "properties": {"b": {"type": "integer"}}});
        let pointers = |schema: &Value, input: Value| -> Vec<String> {
            let faults = inputs.faults(schema, &input, &Steps::unbounded()).expect("it may take long");
            faults.into_iter().map(|(pointer, _)| pointer).collect()
        };
        for _ in 0..2 {
            assert_eq!(pointers(&strict, json!({"b": "x"})), ["/a", "/b"]);
            assert_eq!(pointers(&strict, json!({"a": 1})), [""; 0]);
        }
        let large = json!({"a": 1, "b": 2, "many": vec![0; 100_000]});
        let counts = json!({"properties": {"many": {"items": {"type": "integer"}}}});
        for schema in [&counts, &counts] {
            assert_eq!(inputs.faults(schema, &large, &Steps::quick()), Err(TooLong));
            assert_eq!(inputs.faults(schema, &large, &Steps::unbounded()), Ok(Vec::new()));
        }
        assert_eq!(inputs.faults(&counts, &json!({"many": [1]}), &Steps::quick()), Ok(Vec::new()));
        assert_eq!(pointers(&json!({"type": 5}), json!({})), [""]);
    }
}
