//! A workflow's definition as it stands in a file.

use std::path::Path;

use serde_json::Value;
use signalbox_client::Fault;

use super::{input, words};

/// What a server tells of a definition besides what its author wrote: not the author's to change.
const OF_THE_SERVER: [&str; 3] = ["revision", "createdAt", "warnings"];

const QUOTE: &str = "quote `${…}` inside braces, such as { text: \"${input.text}\" }";

/// Reads a definition, as a server reads it, without what only a server says of one: what it shows can be applied.
pub(crate) fn parse(file: &Path, text: &str) -> anyhow::Result<Value> {
    let mut definition =
        read(file, text).map_err(|fault| anyhow::anyhow!("{}, {fault}", input::name(file)))?;
    strip(&mut definition);
    Ok(definition)
}

/// JSON where the file's name or its first letter says so, else YAML.
fn read(file: &Path, text: &str) -> Result<Value, String> {
    let is_named_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let json = match input::parsed(text) {
        Ok(definition) => return Ok(definition),
        Err(fault) => fault,
    };
    let yaml = if is_named_json { Err(String::new()) } else { signalbox_server::parse_yaml(text) };
    yaml.map_err(|fault| {
        if is_named_json || text.trim_start().starts_with('{') {
            return format!("{json} (read as JSON)");
        }
        let fault = if is_unquoted(text, &fault) {
            // The braces of an expression are YAML's own inside of braces.
            match fault.rsplit_once(" at line ") {
                Some((reason, place)) => format!("{reason}; {QUOTE} at line {place}"),
                None => format!("{fault}; {QUOTE}"),
            }
        } else {
            fault
        };
        match fault.rsplit_once(" at line ") {
            Some((reason, place)) => format!("line {place}: {reason} (read as YAML)"),
            None => format!("read as YAML: {fault}"),
        }
    })
}

/// Whether YAML was read wrongly, perhaps because an expression stands unquoted in the braces of a line.
fn is_unquoted(text: &str, fault: &str) -> bool {
    let stands_bare = |line: &str| {
        let places = line.match_indices("${").map(|(at, _)| line[..at].trim_end());
        line.contains('{')
            && places
                .filter(|before| before.contains(['{', '[']))
                .any(|before| before.ends_with([':', ',', '{', '[']))
    };
    fault.contains("flow ") && text.lines().any(stands_bare)
}

/// Takes what only a server says of a definition, and what it says by saying nothing, out of it.
pub(crate) fn strip(definition: &mut Value) {
    if let Some(fields) = definition.as_object_mut() {
        fields.retain(|name, value| !value.is_null() && !OF_THE_SERVER.contains(&name.as_str()));
    }
}

/// Which revision a definition says that it is, where a server showed it.
pub(crate) fn revision(file: &Path, text: &str) -> Option<u64> {
    read(file, text).ok()?.get("revision")?.as_u64()
}

/// Faults in words, each on its line where there are several.
pub(crate) fn listed(faults: &[Fault]) -> String {
    match faults {
        [fault] => words::fault_in_file(fault),
        _ => faults.iter().map(|fault| format!("\n  {}", words::fault_in_file(fault))).collect(),
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
    fn what_a_server_shows_can_be_applied() {
        let shown =
            "id: w\nname: W\nversion: null\nrevision: 3\ncreatedAt: 2026-01-31T12:00:00Z\ntasks: []\n";
        assert_eq!(parse(Path::new("w.yaml"), shown).unwrap(), json!({"id": "w", "name": "W", "tasks": []}));
        assert_eq!(revision(Path::new("w.yaml"), shown), Some(3));
    }

    #[test]
    fn what_is_broken_is_told_by_file_line_and_column() {
        for (file, text, expected) in [
            ("w.yaml", "id: [\n", "w.yaml, line 1, column 5: unclosed bracket '[' (read as YAML)"),
            (
                "-",
                "{\"id\": \"w\" 1}",
                "standard input, line 1, column 12: expected `,` or `}` (read as JSON)",
            ),
            (
                "w.yaml",
                "tasks:\n  - parameters: { text: ${input.text} }\n",
                "w.yaml, line 2, column 27: while parsing a flow mapping, did not find expected ',' or '}'; quote \
                 `${…}` inside braces, such as { text: \"${input.text}\" } (read as YAML)",
            ),
            ("w.json", "id: w", "w.json, line 1, column 1: expected value (read as JSON)"),
            ("w.yaml", "id: a\nid: b", "w.yaml, line 2, column 1: duplicate mapping key: id (read as YAML)"),
        ] {
            assert_eq!(parse(Path::new(file), text).unwrap_err().to_string(), expected);
        }
        assert_eq!(parse(Path::new("-"), "{id: w}").unwrap(), json!({"id": "w"}), "YAML may begin so too");
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
