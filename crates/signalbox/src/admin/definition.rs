//! A workflow's definition as it stands in a file: read from YAML or JSON, and looked through for keys that mean nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use signalbox_client::Fault;
use signalbox_wire::nearest::nearest;

/// How deep definitions and their schemas are looked into.
const DEPTH_MAX: usize = 16;
/// The name of a definition's schema in the API's description.
const SCHEMA: &str = "WorkflowBody";

/// Reads a definition.
pub(crate) fn parse(file: &Path, text: &str) -> anyhow::Result<Value> {
    if let Ok(definition) = serde_json::from_str(text) {
        return Ok(definition);
    }
    serde_saphyr::from_str(text)
        .map_err(|error| anyhow::anyhow!("{} is neither YAML nor JSON: {error}", file.display()))
}

/// Keys that no definition has, wherever they stand.
pub(crate) fn unknown_keys(definition: &Value) -> Vec<Fault> {
    // What was made from the handlers' types can always be written.
    let description = serde_json::to_value(signalbox_server::openapi()).unwrap_or_default();
    let schemas = description.pointer("/components/schemas").unwrap_or(&Value::Null);
    let mut faults = Vec::new();
    let looker = Looker { schemas };
    looker.look((&schemas[SCHEMA], definition), "", DEPTH_MAX, &mut faults);
    faults
}

/// Faults in words, each on its line where there are several.
pub(crate) fn listed(faults: &[Fault]) -> String {
    match faults {
        [fault] => fault.to_string(),
        _ => faults.iter().map(|fault| format!("\n  {fault}")).collect(),
    }
}

struct Looker<'a> {
    schemas: &'a Value,
}

impl<'a> Looker<'a> {
    fn look(
        &self,
        (schema, value): (&'a Value, &Value),
        pointer: &str,
        depth: usize,
        faults: &mut Vec<Fault>,
    ) {
        if depth == 0 {
            return;
        }
        match value {
            Value::Object(fields) => {
                let mut known = BTreeMap::new();
                self.fields_of(schema, depth, &mut known);
                // What has no fields of its own may hold any.
                if known.is_empty() {
                    return;
                }
                for (name, value) in fields {
                    let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                    match known.get(name.as_str()) {
                        Some(schema) => self.look((schema, value), &pointer, depth - 1, faults),
                        None => faults.push(Fault::new(pointer, reason(name, known.keys().copied()))),
                    }
                }
            }
            Value::Array(items) => {
                let mut schemas = Vec::new();
                self.items_of(schema, depth, &mut schemas);
                for (place, item) in items.iter().enumerate() {
                    for schema in &schemas {
                        self.look((schema, item), &format!("{pointer}/{place}"), depth - 1, faults);
                    }
                }
            }
            _ => {}
        }
    }

    /// All fields that an object of this schema, or of one of those that it may be, can have.
    fn fields_of(&self, schema: &'a Value, depth: usize, known: &mut BTreeMap<&'a str, &'a Value>) {
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            known.insert(name, schema);
        }
        for part in self.parts_of(schema).filter(|_| depth > 0) {
            self.fields_of(part, depth - 1, known);
        }
    }

    fn items_of(&self, schema: &'a Value, depth: usize, items: &mut Vec<&'a Value>) {
        items.extend(schema.get("items"));
        for part in self.parts_of(schema).filter(|_| depth > 0) {
            self.items_of(part, depth - 1, items);
        }
    }

    /// The schemas that a schema is made of, or is one of.
    fn parts_of(&self, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let named = reference.and_then(|path| self.schemas.get(path.rsplit('/').next().unwrap_or_default()));
        let listed = ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|kind| schema.get(kind)?.as_array());
        named.into_iter().chain(listed.flatten())
    }
}

fn reason<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let same = known.iter().find(|known| plain(known) == plain(name)).copied();
    // `capability` is meant for `agentCapability`.
    let ends = || known.iter().find(|known| plain(known).ends_with(&plain(name))).copied();
    let begins = || known.iter().find(|known| plain(known).starts_with(&plain(name))).copied();
    match same.or_else(|| nearest(name, known.iter().copied())).or_else(ends).or_else(begins) {
        Some(meant) => format!("is not known; did you mean '{meant}'?"),
        None => format!("is not known; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(definition: &Value) -> Vec<String> {
        unknown_keys(definition).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_that_mean_nothing_are_found_wherever_they_stand() {
        let definition = json!({"id": "w", "name": "W", "maxParalel": 3, "tasks": [
            {"taskId": "a", "capability": "x", "param": {"free": 1}, "retry": {"intial": "1s"}}]});
        assert_eq!(
            told(&definition),
            [
                "/maxParalel is not known; did you mean 'maxParallel'?",
                "/tasks/0/capability is not known; did you mean 'agentCapability'?",
                "/tasks/0/param is not known; did you mean 'parameters'?",
                "/tasks/0/retry/intial is not known; did you mean 'initial'?",
            ]
        );
    }

    #[test]
    fn what_is_free_is_left_alone() {
        let definition = json!({"id": "w", "name": "W", "input": {"type": "object", "properties": {"x": {}}},
            "output": {"any": 1}, "notify": {"url": "http://x", "on": ["failed"]},
            "tasks": [{"taskId": "a", "parameters": {"anything": {"at": "all"}}, "wait": {"signal": "s"},
                       "onFailure": {"goto": "b"}, "sleep": {"for": "1s"}}]});
        let told = told(&definition);
        assert!(
            told.iter().all(|fault| !fault.starts_with("/input") && !fault.starts_with("/output")),
            "{told:?}"
        );
        assert!(told.iter().all(|fault| !fault.contains("parameters/")), "{told:?}");
    }

    #[test]
    fn the_examples_have_no_unknown_key() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/workflows");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let definition = parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(told(&definition), [""; 0], "{}", path.display());
        }
    }
}
