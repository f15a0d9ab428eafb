//! A workflow's definition as it stands in a file.

use std::path::Path;

use serde_json::Value;
use signalbox_client::Fault;

/// Reads a definition, as a server reads it.
pub(crate) fn parse(file: &Path, text: &str) -> anyhow::Result<Value> {
    if let Ok(definition) = serde_json::from_str(text) {
        return Ok(definition);
    }
    signalbox_server::parse_yaml(text)
        .map_err(|fault| anyhow::anyhow!("{} is neither YAML nor JSON: {fault}", file.display()))
}

/// Faults in words, each on its line where there are several.
pub(crate) fn listed(faults: &[Fault]) -> String {
    match faults {
        [fault] => fault.to_string(),
        _ => faults.iter().map(|fault| format!("\n  {fault}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(definition: &Value) -> Vec<String> {
        let faults = signalbox_server::workflow_faults(definition);
        faults.iter().map(ToString::to_string).filter(|fault| fault.contains("is not known")).collect()
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
    fn the_examples_have_no_fault() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/workflows");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let definition = parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
            let faults = signalbox_server::workflow_faults(&definition);
            assert!(faults.is_empty(), "{}: {}", path.display(), listed(&faults));
        }
    }
}
