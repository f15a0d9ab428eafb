//! Long values: shown as references, fetched by them, given whole to whoever does a task, gone with their sessions.

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, PATIENCE, PLATFORM_KEY, Server, Setup, eventually, on_each_database, task_of,
};

on_each_database![
    a_long_value_is_shown_by_reference_and_given_whole,
    a_tool_is_called_with_the_whole_and_answers_at_length,
    long_values_survive_a_kill,
    a_reference_can_be_handed_on,
    what_is_too_large_is_refused,
    another_tenant_finds_nothing,
];

/// A text that is longer than what a session keeps where it is.
fn long(mark: &str) -> String {
    mark.repeat(20_000)
}

fn fetch(server: &Server, reference: &Value) -> Value {
    let named = &reference["$payload"];
    let sha256 = named["sha256"].as_str().unwrap_or_else(|| panic!("no reference: {reference}"));
    let response = server.get(&format!("/v1/opscore/payloads/{sha256}"));
    assert_eq!(response.header("etag"), Some(format!("\"{sha256}\"").as_str()));
    response.is(200)
}

fn task<'a>(session: &'a Value, id: &str) -> &'a Value {
    let tasks = session["tasks"].as_array().expect("tasks");
    tasks.iter().find(|task| task["taskId"] == id).unwrap_or_else(|| panic!("no task {id}: {session}"))
}

fn two_steps() -> Value {
    json!({"id": "long", "name": "Long", "tasks": [
        {"taskId": "a", "agentCapability": "work", "nextTaskId": "b"},
        {"taskId": "b", "agentCapability": "work", "parameters": {
            "text": "${tasks.a.result.text}", "size": "${size(tasks.a.result.text)}", "name": "${tasks.a.result.name}"}}]})
}

fn a_long_value_is_shown_by_reference_and_given_whole(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &["work"]);
    let session = server.trigger(&id, &two_steps(), &json!({"page": long("p"), "short": 1}));
    let first = agent.next();
    assert_eq!(
        first.json()["payload"],
        json!({"page": long("p"), "short": 1}),
        "an agent gets the value itself"
    );
    server.complete(&id, &first, &json!({"name": "n", "text": long("t")}));
    let second = agent.next();
    assert_eq!(second.json()["payload"], json!({"text": long("t"), "size": 20_000, "name": "n"}));
    server.complete(&id, &second, &json!({"last": long("l")}));
    let done = server.session_becomes(&session, "completed");
    assert!(done.to_string().len() < 8_000, "a session is shown by references");
    assert_eq!(done["input"]["short"], 1);
    assert_eq!(done["input"]["page"]["$payload"]["bytes"], 20_002);
    assert_eq!(fetch(&server, &done["input"]["page"]), json!(long("p")));
    assert_eq!(fetch(&server, &done["result"]["last"]), json!(long("l")));
    assert_eq!(fetch(&server, &task(&done, "b")["parameters"]["text"]), json!(long("t")));
    let whole = server.get(&format!("/v1/opscore/sessions/{session}?whole=true")).is(200);
    assert_eq!((&whole["input"]["page"], &whole["result"]["last"]), (&json!(long("p")), &json!(long("l"))));
    assert_eq!(task(&whole, "b")["parameters"]["text"], json!(long("t")));
    server.get(&format!("/v1/opscore/sessions/{session}?whole=maybe")).problem(422);
    let events = server.get(&format!("/v1/opscore/sessions/{session}/events")).is(200);
    assert!(!events.to_string().contains(&long("t")), "nor does its history repeat it");
    // It goes with the session.
    let page = done["input"]["page"]["$payload"]["sha256"].as_str().unwrap();
    server.delete(&format!("/v1/opscore/sessions/{session}")).is(200);
    eventually("the payload to be gone", || {
        let status = server.get(&format!("/v1/opscore/payloads/{page}")).status;
        if status == 404 { Ok(()) } else { Err(status.to_string()) }
    });
}

fn a_tool_is_called_with_the_whole_and_answers_at_length(database: &Database) {
    let server = Server::start(database);
    let echo =
        Agent::answering(|delivery, _| AgentReply::Json(json!({"got": delivery.json(), "more": long("m")})));
    let tool = json!({"name": "mirror", "description": "Answers with what it got", "parameters": {"type": "object",
        "properties": {"text": {"type": "string", "minLength": 20_000}}}, "endpoint": echo.url()});
    server.post("/v1/tools", &tool).is(201);
    let starter = server.register_at("starter", "http://127.0.0.1:9/run", &[]);
    let workflow = json!({"id": "mirror", "name": "M", "tasks": [
        {"taskId": "m", "tool": "mirror", "maxRetries": 0, "parameters": {"text": "${input.text}"}}]});
    let session = server.trigger(&starter, &workflow, &json!({"text": long("x")}));
    let done = server.session_becomes(&session, "completed");
    assert!(done.to_string().len() < 8_000, "{done}");
    assert!(echo.next_within(PATIENCE).json().to_string().contains(&long("x")));
}

fn long_values_survive_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &["work"]);
    let session = server.trigger(&id, &two_steps(), &json!({"page": long("p")}));
    let first = agent.next();
    server.complete(&id, &first, &json!({"name": "n", "text": long("t")}));
    server.kill();
    server.restart();
    let second = eventually("the second task to arrive", || {
        let all = agent.all();
        let is_second = |delivery: &&crate::support::Delivery| delivery.json()["task_name"] == "b";
        all.iter().rfind(is_second).cloned().ok_or_else(|| format!("{} deliveries", all.len()))
    });
    assert_eq!(second.json()["payload"]["text"], json!(long("t")));
    server.report(&id, "completed", &json!({"opscore_task_id": task_of(&second), "result": 1}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(fetch(&server, &task(&done, "a")["result"]["text"]), json!(long("t")));
}

fn a_reference_can_be_handed_on(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &["work"]);
    let first = server.trigger(&id, &two_steps(), &json!({"page": long("p")}));
    agent.next();
    let reference = server.session(&first)["input"]["page"].clone();
    // The schema means the value, whichever way it comes.
    let strict = json!({"id": "strict", "name": "S",
        "input": {"type": "object", "properties": {"text": {"type": "string", "minLength": 20_000}}},
        "tasks": [{"taskId": "s", "agentCapability": "other", "when": "input.text.startsWith('ppp')"}]});
    let other = Agent::start();
    let second =
        server.trigger(&server.register("other", &other, &["other"]), &strict, &json!({"text": reference}));
    assert_eq!(other.next().json()["payload"]["text"], json!(long("p")));
    server.post(&format!("/v1/opscore/sessions/{first}/cancel"), &json!({})).is(200);
    server.delete(&format!("/v1/opscore/sessions/{first}")).is(200);
    assert_eq!(
        fetch(&server, &server.session(&second)["input"]["text"]),
        json!(long("p")),
        "it is kept for the other"
    );
    let nothing = json!({"$payload": {"sha256": "0".repeat(64), "bytes": 9}});
    let body = json!({"initialPayload": {"text": nothing}});
    let problem = server.post("/v1/opscore/workflows/strict/trigger", &body).problem(422);
    assert!(format!("{problem:?}").contains("not kept"), "{problem:?}");
}

fn what_is_too_large_is_refused(database: &Database) {
    let server = Setup::new(database)
        .arg("--payload-bytes-max")
        .arg("60000")
        .arg("--body-bytes-max")
        .arg("100000")
        .start();
    let agent = Agent::start();
    let id = server.register("worker", &agent, &["work"]);
    let workflow = json!({"id": "twice", "name": "T", "tasks": [{"taskId": "t", "agentCapability": "work",
        "parameters": {"one": "${input.text}", "two": ["${input.text}", "${input.text}"]}}]});
    let whole = json!({"workflowDefinition": workflow, "initialPayload": {"text": "x".repeat(100_000)}});
    server.post(&format!("/v1/opscore/agent/{id}/workflow"), &whole).problem(413);
    let session = server.trigger(&id, &workflow, &json!({"text": long("x")}));
    let failed = server.session_becomes(&session, "failed");
    assert!(failed["error"].as_str().unwrap().contains("60000 are the most"), "{failed}");
    let path = format!("/v1/opscore/sessions/{session}");
    let twice = json!({"workflowDefinition": workflow, "initialPayload": {
        "text": {"a": long("y"), "b": long("y"), "c": long("y"), "d": long("y")}}});
    server.get(&format!("{path}?whole=true")).is(200);
    let large = server.post(&format!("/v1/opscore/agent/{id}/workflow"), &twice).is(202);
    let path = format!("/v1/opscore/sessions/{}?whole=true", large["sessionId"].as_str().unwrap());
    assert!(server.get(&path).problem(409).detail.contains("payload_bytes_max"));
    assert_eq!(agent.count(), 0);
}

fn another_tenant_finds_nothing(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let agent = Agent::start();
    let id = server.register("worker", &agent, &["work"]);
    let session = server.trigger(&id, &two_steps(), &json!({"page": long("p")}));
    let reference = server.session(&session)["input"]["page"]["$payload"]["sha256"].clone();
    let path = format!("/v1/opscore/payloads/{}", reference.as_str().unwrap());
    server.get(&path).is(200);
    server.get("/v1/opscore/payloads/none").problem(404);
    let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "other"})).succeeded();
    let other = server.with_key(made["api_key"].as_str().expect("a key"));
    other.get(&path).problem(404);
}
