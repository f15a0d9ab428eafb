//! `POST | GET /v1/opscore/workflows` and `GET | DELETE /v1/opscore/workflows/{id}`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Database, Request, Server, items, on_each_database};

on_each_database![
    a_definition_is_kept_in_json,
    a_definition_is_kept_in_yaml,
    definitions_are_listed_in_pages,
    a_newer_one_takes_the_place_of_an_older,
    a_removed_one_is_gone,
    all_faults_of_a_definition_are_told_at_once,
    the_whole_language_is_shown_as_it_was_given,
    the_whole_language_is_read_from_yaml,
    faults_of_shape_and_of_sense_come_together,
    an_input_is_held_against_the_schema_of_what_is_run,
    every_workflow_in_the_documentation_is_taken,
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

/// A definition with every key of the language.
fn everything() -> Value {
    json!({
        "id": "all", "name": "All", "description": "Every key.", "version": "3",
        "input": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}},
        "output": {"n": "${tasks.each.result}", "text": "x is ${input.x}"},
        "timeout": "1h30m", "maxParallel": 7,
        "concurrency": {"key": "string(input.x)", "limit": 2, "onBusy": "replace"},
        "notify": {"url": "http://127.0.0.1:9/over", "on": ["failed", "cancelled"]},
        "tasks": [
            {"taskId": "first", "name": "First", "agentCapability": "read", "parameters": {"x": "${input.x + 1}"},
             "maxRetries": 2, "retry": {"initial": "500ms", "factor": 1.5, "max": "1m", "retryOn": ["timeout", "busy"]},
             "timeout": "5m", "scheduleTimeout": "2d", "heartbeatTimeout": "30s", "priority": -5,
             "onFailure": {"goto": "mend"},
             "compensate": {"agentId": "agent-7", "parameters": {"was": "${tasks.first.result}"}, "maxRetries": 9,
                            "timeout": "10s"}},
            {"taskId": "mend", "agentId": "agent-7", "onFailure": "continue"},
            {"taskId": "each", "workflow": "child", "dependsOn": ["first"], "when": "input.x > 1",
             "forEach": "${tasks.first.result.list}", "maxParallel": 3, "parameters": {"item": "${item}", "at": "${index}"}},
            {"taskId": "tool", "tool": "http_get", "parameters": {"url": "https://example.com/"},
             "compensate": {"tool": "undo"}, "nextTaskId": "wait"},
            {"taskId": "wait", "wait": {"signal": "paid", "timeout": "1d"}, "onFailure": {"goto": "nap"}},
            {"taskId": "consent", "approve": {"who": "finance", "what": "Pay ${tasks.first.result}", "timeout": "3d"},
             "dependsOn": ["first"], "nextTaskId": "pay"},
            {"taskId": "pay", "agentCapability": "pay"},
            {"taskId": "nap", "sleep": "${input.until}"},
            {"taskId": "pause", "sleep": "10m", "dependsOn": ["nap", "pay"]},
        ],
    })
}

fn the_whole_language_is_shown_as_it_was_given(database: &Database) {
    let mut server = Server::start(database);
    let sent = everything();
    let first = server.post(WORKFLOWS, &sent).is(201);
    server.kill();
    server.restart();
    let shown = kept(&server, "all");
    for (key, value) in sent.as_object().unwrap() {
        assert_eq!(&shown[key], value, "{key}");
    }
    let again = server.post(WORKFLOWS, &sent).is(200);
    assert_eq!(
        (&again["revision"], &again["createdAt"]),
        (&first["revision"], &first["createdAt"]),
        "the same"
    );
}

fn the_whole_language_is_read_from_yaml(database: &Database) {
    let server = Server::start(database);
    let yaml = "
id: y
name: Y
timeout: 90
concurrency: {limit: 3}
notify: {url: 'http://127.0.0.1:9/', on: [failed]}
tasks:
  - taskId: a
    forEach: input.list
    when: item != 'no'
    parameters: {text: '${item}', words: [no, y, on, Yes], truths: [true, False]}
    retry: {factor: 2}
    priority: 3
  - taskId: b
    sleep: 5400
  - taskId: c
    workflow: {id: child}
    timeout: PT2H
    onFailure: {goto: d}
  - taskId: d
    approve: {}
  - {taskId: e, dependsOn: [d]}
";
    server.send(Request::new("POST", WORKFLOWS).body("application/yaml", yaml)).is(201);
    let shown = kept(&server, "y");
    let expected = json!([
        {"taskId": "a", "forEach": "input.list", "when": "item != 'no'", "parameters": {"text": "${item}", "words": ["no", "y", "on", "Yes"], "truths": [true, false]},
         "retry": {"factor": 2.0}, "priority": 3},
        {"taskId": "b", "sleep": "1h30m"},
        {"taskId": "c", "workflow": "child", "timeout": "2h", "onFailure": {"goto": "d"}},
        {"taskId": "d", "approve": {}},
        {"taskId": "e", "dependsOn": ["d"]},
    ]);
    assert_eq!(shown["tasks"], expected);
    assert_eq!(shown["timeout"], "1m30s");
    assert_eq!(shown["concurrency"], json!({"limit": 3, "onBusy": "queue"}));
    assert_eq!(shown["notify"]["on"], json!(["failed"]));
}

fn faults_of_shape_and_of_sense_come_together(database: &Database) {
    let server = Server::start(database);
    let agent = server.register_at("any", "http://127.0.0.1:9/", &[]);
    let wrong = json!({
        "id": "w", "timeout": "soon", "input": {"type": "no such type"}, "output": "${tasks.gone.result}",
        "tasks": [
            {"taskId": "a", "nextTaskId": "nowhere", "when": "input.x >"},
            {"taskId": "b", "dependsOn": ["c", "b"], "parameters": {"x": ["${tasks.c.result}", "${item}"]}},
            {"taskId": "c", "dependsOn": ["d"]},
            {"taskId": "d", "dependsOn": ["c"], "wait": {"signal": "s"}, "maxRetries": 1},
            {"taskId": "d", "approve": {}, "tool": "x", "maxParallel": 5},
        ],
    });
    let expected = [
        "/name",
        "/timeout",
        "/input/type",
        "/output",
        "/tasks/0/nextTaskId",
        "/tasks/0/when",
        "/tasks/1/dependsOn/1",
        "/tasks/1/parameters/x/1",
        "/tasks/3/maxRetries",
        "/tasks/4/taskId",
        "/tasks/4/approve",
        "/tasks/4/maxParallel",
    ];
    let found = server.post(WORKFLOWS, &wrong).faults();
    for pointer in expected {
        assert!(found.iter().any(|found| found == pointer), "{pointer}: {found:?}");
    }
    let circle = found
        .iter()
        .filter(|pointer| ["/tasks/2/dependsOn/0", "/tasks/3/dependsOn/0"].contains(&pointer.as_str()));
    assert_eq!(circle.count(), 1, "a circle is told once: {found:?}");
    let body = json!({"workflowDefinition": wrong});
    let inline = server.post(&format!("/v1/opscore/agent/{agent}/workflow"), &body).faults();
    let prefixed: Vec<String> = found.iter().map(|pointer| format!("/workflowDefinition{pointer}")).collect();
    assert_eq!(inline, prefixed, "the same in a trigger");
    assert_eq!(items(&server.get(WORKFLOWS).is(200)), [Value::Null; 0]);
}

fn an_input_is_held_against_the_schema_of_what_is_run(database: &Database) {
    let server = Server::start(database);
    let agent = server.register_at("any", "http://127.0.0.1:9/", &[]);
    let schema = |kind: &str| {
        json!({"type": "object", "required": ["n", "name"], "additionalProperties": false,
            "properties": {"n": {"type": kind}, "name": {"type": "string"}}})
    };
    let definition = |kind: &str| json!({"id": "w", "name": "W", "input": schema(kind), "tasks": []});
    server.post(WORKFLOWS, &definition("integer")).is(201);
    let trigger =
        |input: &Value| server.post(&format!("{WORKFLOWS}/w/trigger"), &json!({"initialPayload": input}));
    let by_id = |input: &Value| {
        let body = json!({"workflowDefinitionId": "w", "initialPayload": input});
        server.post(&format!("/v1/opscore/agent/{agent}/workflow"), &body)
    };
    let wrong = json!({"n": "one", "other/one": 1});
    let faults = ["/initialPayload/n", "/initialPayload/name", "/initialPayload/other~1one"];
    assert_eq!(trigger(&wrong).faults(), faults);
    assert_eq!(by_id(&wrong).faults(), faults);
    let missing = server.post(&format!("{WORKFLOWS}/w/trigger"), &json!({})).faults();
    assert_eq!(missing, ["/initialPayload/n", "/initialPayload/name"]);

    let number = json!({"n": 1, "name": "Ada"});
    trigger(&number).is(202);
    by_id(&number).is(202);
    server.post(WORKFLOWS, &definition("string")).is(200);
    assert_eq!(trigger(&number).faults(), ["/initialPayload/n"], "by the schema of the newer one");

    let inline = |kind: &str| {
        let body = json!({"workflowDefinition": definition(kind), "initialPayload": number});
        server.post(&format!("/v1/opscore/agent/{agent}/workflow"), &body)
    };
    assert_eq!(inline("boolean").faults(), ["/initialPayload/n"]);
    assert_eq!(kept(&server, "w")["input"], schema("string"), "what is not started is not kept");
    inline("integer").is(202);
    assert_eq!(items(&server.get("/v1/opscore/sessions").is(200)).len(), 3);
}

fn every_workflow_in_the_documentation_is_taken(database: &Database) {
    let server = Server::start(database);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/reference/workflow-language.md")).expect("the page");
    let mut workflows: Vec<(String, String)> = page
        .split("```yaml\n")
        .skip(1)
        .enumerate()
        .map(|(index, rest)| {
            (format!("example {index} of the page"), rest.split("```").next().unwrap().to_owned())
        })
        .collect();
    assert!(workflows.len() >= 8, "the page has its examples");
    let examples = fs::read_dir(root.join("examples/workflows")).expect("the examples");
    for example in examples {
        let path = example.expect("an entry").path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(page.contains(&format!("examples/workflows/{name}")), "{name} is named in the page");
        workflows.push((name, fs::read_to_string(&path).expect("readable")));
    }
    assert!(workflows.len() >= 15, "{}", workflows.len());
    for (name, text) in workflows {
        let answer = server.send(Request::new("POST", WORKFLOWS).body("application/yaml", text));
        assert!(answer.status == 201, "{name}: {}", answer.shown());
    }
}
