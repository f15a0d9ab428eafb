//! `POST | GET /v1/opscore/workflows` and `GET | DELETE /v1/opscore/workflows/{id}`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Database, Request, Server, items, on_each_database};

on_each_database![
    a_definition_is_kept_in_json,
    a_definition_is_kept_in_yaml,
    definitions_are_listed_in_pages,
    a_newer_one_takes_the_place_of_an_older,
    a_removed_one_is_gone,
    all_faults_of_a_definition_are_told_at_once,
];

const WORKFLOWS: &str = "/v1/opscore/workflows";

fn definition(id: &str) -> Value {
    json!({
        "id": id, "name": "Audit", "description": "Reads and writes.", "version": "1.0",
        "tasks": [
            {"taskId": "read", "name": "Read", "agentCapability": "read", "parameters": {"path": "${input.path}"},
             "nextTaskId": "write", "maxRetries": 1},
            {"taskId": "write", "agentId": "agent-7", "parameters": {"text": "${tasks.read.result.text}"}},
        ],
    })
}

fn kept(server: &Server, id: &str) -> Value {
    let answer = server.get(&format!("{WORKFLOWS}/{id}")).is(200);
    if answer["data"].is_object() { answer["data"].clone() } else { answer }
}

fn assert_same(found: &Value, sent: &Value) {
    for name in ["id", "name", "description", "version"] {
        assert_eq!(found[name], sent[name], "{name}");
    }
    let tasks = sent["tasks"].as_array().unwrap();
    assert_eq!(found["tasks"].as_array().map(Vec::len), Some(tasks.len()), "{found}");
    for (index, task) in tasks.iter().enumerate() {
        for (name, value) in task.as_object().unwrap() {
            assert_eq!(&found["tasks"][index][name], value, "task {index}: {name}");
        }
    }
}

fn a_definition_is_kept_in_json(database: &Database) {
    let mut server = Server::start(database);
    let sent = definition("audit");
    server.post(WORKFLOWS, &sent).succeeded();
    server.kill();
    server.restart();
    assert_same(&kept(&server, "audit"), &sent);
}

fn a_definition_is_kept_in_yaml(database: &Database) {
    let server = Server::start(database);
    let yaml = "
id: audit
name: Audit
description: Reads and writes.
version: '1.0'
tasks:
  - taskId: read
    name: Read
    agentCapability: read
    parameters: { path: '${input.path}' }
    nextTaskId: write
    maxRetries: 1
  - taskId: write
    agentId: agent-7
    parameters:
      text: ${tasks.read.result.text}
";
    let post = |text: &str| server.send(Request::new("POST", WORKFLOWS).body("application/yaml", text));
    post(yaml).succeeded();
    assert_same(&kept(&server, "audit"), &definition("audit"));

    post("id: [unclosed").problem(400);
    let faults = post("id: x\nname: 7\ntasks: none\n").faults();
    assert!(faults.contains(&"/tasks".to_owned()), "{faults:?}");
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n\
                id: bomb\nname: Bomb\ntasks: []\n";
    let answer = post(bomb);
    assert!(answer.status < 500, "{}", answer.shown());
    server.get("/health").is(200);
}

fn definitions_are_listed_in_pages(database: &Database) {
    let server = Server::start(database);
    for number in 0..12 {
        server.post(WORKFLOWS, &definition(&format!("workflow-{number}"))).succeeded();
    }
    let all = server.all_pages(WORKFLOWS, 5);
    let ids: BTreeSet<_> = all.iter().map(|found| found["id"].as_str().unwrap()).collect();
    assert_eq!((all.len(), ids.len()), (12, 12));
}

fn a_newer_one_takes_the_place_of_an_older(database: &Database) {
    let server = Server::start(database);
    server.post(WORKFLOWS, &definition("audit")).succeeded();
    let mut newer = definition("audit");
    newer["version"] = json!("2.0");
    newer["tasks"] = json!([]);
    server.post(WORKFLOWS, &newer).succeeded();
    assert_same(&kept(&server, "audit"), &newer);
    assert_eq!(items(&server.get(WORKFLOWS).is(200)).len(), 1);
}

fn a_removed_one_is_gone(database: &Database) {
    let server = Server::start(database);
    server.post(WORKFLOWS, &definition("audit")).succeeded();
    server.delete(&format!("{WORKFLOWS}/audit")).succeeded();
    server.get(&format!("{WORKFLOWS}/audit")).absent();
    server.delete(&format!("{WORKFLOWS}/audit")).absent();
    server.post(&format!("{WORKFLOWS}/audit/trigger"), &json!({})).absent();
    assert_eq!(items(&server.get(WORKFLOWS).is(200)), [Value::Null; 0]);
}

fn all_faults_of_a_definition_are_told_at_once(database: &Database) {
    let server = Server::start(database);
    assert_eq!(server.post(WORKFLOWS, &json!({})).faults(), ["/id", "/name", "/tasks"]);
    let wrong = json!({"id": "w", "name": "W", "tasks": [
        {"taskId": "a", "nextTaskId": "nowhere", "maxRetries": -1},
        {"taskId": "a", "parameters": []},
        {"name": "no id"},
        5,
    ]});
    let faults = server.post(WORKFLOWS, &wrong).faults();
    let expected =
        ["/tasks/0/nextTaskId", "/tasks/0/maxRetries", "/tasks/1/parameters", "/tasks/2/taskId", "/tasks/3"];
    for pointer in expected {
        assert!(faults.iter().any(|found| found == pointer), "{pointer}: {faults:?}");
    }
    let circle = json!({"id": "w", "name": "W", "tasks": [
        {"taskId": "a", "nextTaskId": "b"}, {"taskId": "b", "nextTaskId": "a"},
    ]});
    assert!(!server.post(WORKFLOWS, &circle).faults().is_empty(), "a circle would never end");
    let twice = json!({"id": "w", "name": "W", "tasks": [{"taskId": "a"}, {"taskId": "a"}]});
    assert!(!server.post(WORKFLOWS, &twice).faults().is_empty(), "an id names one task");
    assert_eq!(items(&server.get(WORKFLOWS).is(200)), [Value::Null; 0]);
}
