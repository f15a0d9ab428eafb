//! What is kept of a definition is shown again, and all that is wrong with one is told together.

use serde_json::json;
use signalbox_wire::body::{BodyError, parse};

use super::*;

fn kept(body: &Value) -> Definition {
    let whole: Whole = parse(body.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error:?}"));
    definition(whole.0, "").unwrap_or_else(|refusal| panic!("{:?}", refusal.0))
}

fn pointers<T: Body>(body: &Value) -> Vec<String> {
    match parse::<T>(body.to_string().as_bytes()) {
        Err(BodyError::Invalid(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

#[test]
fn a_definition_is_shown_as_it_was_given() {
    let given = json!({
        "id": "w", "name": "W", "version": "2", "description": null, "input": {"type": "object"},
        "output": ["${tasks.a.result}", 1], "timeout": "1h30m", "maxParallel": 4,
        "concurrency": {"key": "input.x", "limit": 2, "onBusy": "reject"},
        "notify": {"url": "http://127.0.0.1:9/", "on": ["failed"]},
        "tasks": [
            {"taskId": "a", "agentCapability": "read", "parameters": {"x": "${input.x}"}, "nextTaskId": "b",
             "maxRetries": 0, "retry": {"initial": "1s", "factor": 1.5, "max": "1m", "retryOn": ["timeout"]},
             "timeout": "5m", "scheduleTimeout": "1d", "heartbeatTimeout": "30s", "priority": -7,
             "onFailure": {"goto": "h"},
             "compensate": {"agentId": "agt_2", "parameters": {"r": "${tasks.a.result}"}, "maxRetries": 9,
                            "timeout": "10s"}},
            {"taskId": "b", "name": "B", "agentId": "agt_1", "onFailure": "continue", "dependsOn": ["e", "c"],
             "compensate": {"tool": "undo"}},
            {"taskId": "c", "tool": "http_get", "timeout": "5s", "when": "input.x > 1"},
            {"taskId": "d", "workflow": "child", "parameters": {"a": 1}, "forEach": "input.l", "maxParallel": 3},
            {"taskId": "e", "wait": {"signal": "paid", "timeout": "2d"}},
            {"taskId": "f", "approve": {"who": "finance", "what": "Pay", "timeout": "1d"}, "nextTaskId": "g"},
            {"taskId": "g", "sleep": "${input.until}"},
            {"taskId": "h", "sleep": "10m", "compensate": null},
        ],
    });
    let kept = kept(&given);
    let view = serde_json::to_value(shown(&kept)).expect("JSON");
    for (key, value) in given.as_object().expect("an object") {
        let mut value = value.clone();
        if let Some(last) = value.pointer_mut("/7").and_then(Value::as_object_mut) {
            last.remove("compensate");
        }
        assert_eq!(view[key], value, "{key}");
    }
    assert_eq!(kept.tasks[1].agent, AgentId::parse("agt_1").ok());
    assert_eq!(kept.tasks[4].rules.timeout, Some(std::time::Duration::from_secs(172_800)));
    let again: Definition =
        serde_json::from_value(serde_json::to_value(&kept).expect("JSON")).expect("a definition");
    assert!(again.says_the_same(&kept), "what is stored is what was given");
}

#[test]
fn what_is_not_said_has_its_default() {
    let kept = kept(&json!({"id": "w", "name": "W", "concurrency": {}, "tasks": [
        {"taskId": "a", "sleep": 90}, {"taskId": "b", "workflow": {"id": "child"}, "onFailure": "fail"},
    ]}));
    let concurrency = kept.concurrency.expect("kept");
    assert_eq!((concurrency.limit, concurrency.on_busy), (1, OnBusy::Queue));
    assert_eq!(kept.tasks[0].kind, Kind::Sleep("1m30s".to_owned()));
    assert!(kept.tasks[1].rules.is_default());
}

#[test]
fn faults_of_shape_and_sense_come_together() {
    let body = json!({"id": "w", "input": {"type": "no such", "properties": {"a": {"minimum": "1"}}}, "tasks": [
        {"taskId": "a", "nextTaskId": "gone", "parameters": {"x": "${secrets.x}", "y": ["${tasks.b.result}"]}},
        {"taskId": "a", "timeout": "soon"},
    ]});
    let expected = [
        "/name",
        "/tasks/1/timeout",
        "/tasks/1/taskId",
        "/tasks/0/nextTaskId",
        "/tasks/0/parameters/x",
        "/tasks/0/parameters/y/0",
        "/input/properties/a/minimum",
        "/input/type",
    ];
    let mut found = pointers::<Whole>(&body);
    found.sort();
    let mut wanted = expected.map(str::to_owned);
    wanted.sort();
    assert_eq!(found, wanted);
    let inline = json!({"workflowDefinition": body});
    let mut found = pointers::<WholeTrigger>(&inline);
    found.sort();
    assert_eq!(found, wanted.map(|pointer| format!("/workflowDefinition{pointer}")));
    assert_eq!(pointers::<WholeTrigger>(&json!({"workflowDefinitionId": "w"})), [""; 0]);
}
