//! What of a definition's shape is taken, and what is told.

use serde_json::json;

use super::*;
use crate::body::tests::faults_of;
use crate::body::{Fault, parse};

fn workflow(tasks: Value) -> Value {
    json!({"id": "w", "name": "W", "tasks": tasks})
}

fn faults(workflow: &Value) -> Vec<String> {
    faults_of::<WorkflowBody>(&workflow.to_string())
}

fn task_faults(task: Value) -> Vec<String> {
    let cut = |fault: String| fault.trim_start_matches("/tasks/0").to_owned();
    faults(&workflow(json!([task]))).into_iter().map(cut).collect()
}

#[test]
fn a_definition_is_read_with_its_defaults() {
    let body = parse::<WorkflowBody>(
        br#"{"id":"a:b.c-d_1","name":"W","version":1.5,"tasks":[{"taskId":"t","parameters":null,"dependsOn":null}]}"#,
    )
    .unwrap();
    assert_eq!(body.version.as_deref(), Some("1.5"));
    assert_eq!(body.tasks, [WorkflowTask { task_id: "t".to_owned(), ..WorkflowTask::default() }]);
    assert_eq!(faults(&workflow(json!([]))), Vec::<String>::new());
}

#[test]
fn every_key_is_read_and_shown_as_it_was_given() {
    let given = json!({
        "id": "w", "name": "W", "description": "d", "version": "1", "input": {"type": "object"},
        "output": {"n": "${tasks.a.result}"}, "timeout": "1h30m", "maxParallel": 5,
        "concurrency": {"key": "input.customer", "limit": 2, "onBusy": "replace"},
        "notify": {"url": "http://127.0.0.1:9/", "on": ["failed", "cancelled"]},
        "tasks": [
            {"taskId": "a", "name": "A", "agentCapability": "read", "parameters": {"x": "${input.x}"},
             "nextTaskId": "b", "dependsOn": ["c"], "when": "input.x > 1", "forEach": "${input.list}",
             "maxParallel": 3, "maxRetries": 0,
             "retry": {"initial": "1s", "factor": 1.5, "max": "1m", "retryOn": ["timeout", "rate-limit"]},
             "timeout": "5m", "scheduleTimeout": "1d", "heartbeatTimeout": "30s", "priority": -7,
             "onFailure": {"goto": "d"},
             "compensate": {"tool": "refund", "parameters": {"id": 1}, "maxRetries": 9, "timeout": "10s"}},
            {"taskId": "b", "agentId": "agt_1", "onFailure": "continue", "compensate": {"agentId": "x"}},
            {"taskId": "c", "tool": "http_get", "timeout": "5s", "onFailure": "fail"},
            {"taskId": "d", "workflow": "child", "parameters": {"a": 1}, "maxRetries": 1, "forEach": "input.l"},
            {"taskId": "e", "wait": {"signal": "paid", "timeout": "2d"}, "when": "true"},
            {"taskId": "f", "approve": {"who": "finance", "what": "Pay ${input.x}", "timeout": "1d"}},
            {"taskId": "g", "sleep": "${input.until}"},
            {"taskId": "h", "approve": {}, "onFailure": {"goto": "i"}},
            {"taskId": "i", "sleep": "10m"},
        ],
    });
    let body = parse::<WorkflowBody>(given.to_string().as_bytes()).unwrap();
    assert_eq!(serde_json::to_value(&body).unwrap(), given);
}

#[test]
fn the_other_way_to_write_a_thing_means_the_same() {
    let given = json!([
        {"taskId": "a", "workflow": {"id": "child", "x": 1}, "onFailure": {"x": 1, "goto": "b"}},
        {"taskId": "b", "sleep": 90},
        {"taskId": "c", "timeout": 0.5, "scheduleTimeout": "PT5M", "compensate": {}},
    ]);
    let body = parse::<WorkflowBody>(workflow(given).to_string().as_bytes()).unwrap();
    let shown = json!([
        {"taskId": "a", "workflow": "child", "onFailure": {"goto": "b"}},
        {"taskId": "b", "sleep": "1m30s"},
        {"taskId": "c", "timeout": "500ms", "scheduleTimeout": "5m", "compensate": {}},
    ]);
    assert_eq!(json!(body.tasks), shown);
}

#[test]
fn all_faults_are_told_at_once() {
    let body = json!({"id": "a b", "version": true, "input": 5, "timeout": "0s", "maxParallel": 0,
        "concurrency": {"key": 1, "limit": 0, "onBusy": "wait"}, "notify": {"on": ["started"]}, "tasks": [
        {"taskId": "x", "agentId": "a", "agentCapability": "c", "maxRetries": 101, "parameters": []},
        5,
        {"nextTaskId": "x y", "maxRetries": -1, "dependsOn": ["a", 1], "when": "", "priority": 101}]});
    let expected = [
        "/id must hold only letters, digits and _ . : -",
        "/name is required",
        "/version must be a string, not a boolean",
        "/input must be an object, not a number",
        "/timeout must be a duration from 1ms to 366d, such as 500ms, 30s, 1h30m, 2d, PT5M or a number of seconds",
        "/maxParallel must be a whole number from 1 to 1000",
        "/concurrency/key must be a string, not a number",
        "/concurrency/limit must be a whole number from 1 to 1000",
        "/concurrency/onBusy must be one of queue, reject, replace",
        "/notify/url is required",
        "/notify/on/0 must be completed, failed or cancelled",
        "/tasks/0/agentId must not be given together with agentCapability; name one of the two",
        "/tasks/0/parameters must be an object, not an array",
        "/tasks/0/maxRetries must be a whole number from 0 to 100",
        "/tasks/1 must be an object, not a number",
        "/tasks/2/taskId is required",
        "/tasks/2/nextTaskId must hold only letters, digits and _ . : -",
        "/tasks/2/dependsOn/1 must be a string, not a number",
        "/tasks/2/when must not be empty",
        "/tasks/2/maxRetries must be a whole number from 0 to 100",
        "/tasks/2/priority must be a whole number from -100 to 100",
    ];
    assert_eq!(faults(&body), expected);
}

#[test]
fn what_does_not_go_together_is_told_where_it_stands() {
    let everything = [
        "parameters",
        "forEach",
        "maxRetries",
        "retry",
        "timeout",
        "scheduleTimeout",
        "heartbeatTimeout",
        "priority",
        "compensate",
    ];
    let given = |doer: &str, rule: Value| {
        let mut task = json!({"taskId": "t", "parameters": {"a": 1}, "forEach": "input.l", "maxRetries": 1, "retry": {},
            "timeout": "1s", "scheduleTimeout": "1s", "heartbeatTimeout": "1s", "priority": 1, "compensate": {}});
        task[doer] = rule;
        task_faults(task)
    };
    for (doer, rule) in [("wait", json!({"signal": "s"})), ("approve", json!({})), ("sleep", json!("1s"))] {
        let told = given(doer, rule);
        let places: Vec<&str> = told.iter().filter_map(|fault| fault[1..].split(' ').next()).collect();
        assert_eq!(places, everything, "{doer}");
        assert!(told.iter().all(|fault| fault.contains(&format!("does not go with {doer}; "))), "{told:?}");
        assert_eq!(told[4].contains("write it inside"), doer != "sleep", "{}", told[4]);
    }
    for (doer, rule) in [("tool", json!("echo")), ("workflow", json!("w"))] {
        let expected = ["scheduleTimeout", "heartbeatTimeout", "priority"]
            .map(|name| format!("/{name} does not go with {doer}; leave it out"));
        assert_eq!(given(doer, rule), expected);
    }
    assert_eq!(given("agentId", json!("a")), [""; 0]);
    assert_eq!(
        task_faults(json!({"taskId": "t", "maxParallel": 2})),
        ["/maxParallel goes only with forEach; leave it out"]
    );
}

#[test]
fn a_task_is_done_by_one_and_undone_by_one() {
    let many = json!({"taskId": "t", "agentId": "a", "tool": "x", "sleep": "1s",
        "compensate": {"agentId": "a", "tool": "x"}});
    let told = [
        "/tool must not be given together with agentId; name one of the two",
        "/sleep must not be given together with agentId; name one of the two",
        "/compensate/tool must not be given together with agentId; name one of the two",
    ];
    assert_eq!(task_faults(many), told);
}

#[test]
fn each_part_of_a_task_has_its_own_faults() {
    for (part, told) in [
        (json!({"workflow": 5}), "/workflow must be the id of a workflow, or an object with it as id"),
        (json!({"workflow": {}}), "/workflow/id is required"),
        (json!({"workflow": "a b"}), "/workflow must hold only letters, digits and _ . : -"),
        (json!({"wait": {}}), "/wait/signal is required"),
        (json!({"wait": "paid"}), "/wait must be an object, not a string"),
        (json!({"approve": {"who": 5}}), "/approve/who must be a string, not a number"),
        (json!({"sleep": "a while"}), "/sleep must be a duration"),
        (json!({"sleep": {}}), "/sleep must be a duration"),
        (json!({"retry": {"factor": 0.5}}), "/retry/factor must be a number from 1 to 100"),
        (json!({"retry": {"initial": "x"}}), "/retry/initial must be a duration"),
        (json!({"retry": {"retryOn": ["two words"]}}), "/retry/retryOn/0 must be one word"),
        (json!({"onFailure": "stop"}), "/onFailure must be fail, continue, or an object"),
        (json!({"onFailure": {}}), "/onFailure must be fail, continue, or an object"),
        (json!({"onFailure": {"goto": 5}}), "/onFailure/goto must be a string"),
        (json!({"compensate": {"timeout": 0}}), "/compensate/timeout must be a duration"),
    ] {
        let mut task = part.clone();
        task["taskId"] = json!("t");
        let found = task_faults(task);
        assert!(found.len() == 1 && found[0].starts_with(told), "{part}: {found:?}");
    }
}

#[test]
fn the_number_of_tasks_is_bounded() {
    let tasks: Vec<_> = (0..=TASKS_MAX).map(|index| json!({"taskId": index.to_string()})).collect();
    assert_eq!(faults(&workflow(json!(tasks))), ["/tasks must have at most 1000 items, not 1001"]);
    assert_eq!(faults(&workflow(json!(tasks[1..]))), Vec::<String>::new());
}

#[test]
fn a_definition_made_in_code_is_checked_alike() {
    let body = WorkflowBody { id: "w".to_owned(), ..WorkflowBody::default() };
    let mut faults = Faults::default();
    body.validate(&mut faults);
    assert_eq!(faults.into_vec(), [Fault::new("/name", "must not be empty")]);
}
