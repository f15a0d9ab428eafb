//! `POST /v1/agents/register` and its alias `POST /v1/agents`.

use std::thread;

use serde_json::{Value, json};

use crate::support::{Database, Request, Server, Setup, on_each_database};

on_each_database![
    a_registration_answers_an_id_and_is_kept_as_sent,
    names_have_1_to_256_characters,
    the_alias_takes_the_callers_own_id,
    a_taken_name_is_refused_and_can_be_taken_over,
    a_taken_name_at_the_same_endpoint_is_a_restart_where_the_operator_says_so,
    of_many_at_once_one_gets_the_name,
    all_faults_are_told_at_once,
    a_body_that_is_not_json_is_told_from_one_that_does_not_fit,
    a_registration_survives_a_kill_straight_after_its_answer,
    an_id_where_the_server_chooses_it_is_told_to_be_ignored,
];

const REGISTER: &str = "/v1/agents/register";

fn body(name: &str) -> Value {
    json!({
        "agentName": name, "version": "1.2.3", "contactEndpoint": "http://127.0.0.1:9/run",
        "capabilities": ["read"], "metadata": {"owner": "tests"},
    })
}

fn a_registration_answers_an_id_and_is_kept_as_sent(database: &Database) {
    let server = Server::start(database);
    let mut sent = body("résumé reader");
    sent["capabilities"] = json!([
        "read",
        {"name": "write", "description": "Writes.", "parameters": {"x": {"type": "string"}}, "version": "2"},
    ]);
    sent["metadata"] = json!({"nested": {"list": [1, 2.5, null, "ü"]}});
    sent["someUnknownField"] = json!({"ignored": true});
    let answer = server.without_key().post(REGISTER, &sent).is(201);
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["message"], "Agent 'résumé reader' registered successfully.");
    let id = answer["data"]["agentId"].as_str().expect("an id");

    let agent = server.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
    assert_eq!(agent["agentId"], id);
    for name in ["agentName", "version", "contactEndpoint", "capabilities", "metadata"] {
        assert_eq!(agent[name], sent[name], "{name}");
    }
    let registered = agent["registrationTime"].as_str().expect("a time");
    assert!(registered.ends_with('Z') && registered.parse::<jiff::Timestamp>().is_ok(), "{registered}");
}

fn names_have_1_to_256_characters(database: &Database) {
    let server = Server::start(database);
    for name in ["x".to_owned(), "é".repeat(256)] {
        server.post(REGISTER, &body(&name)).is(201);
    }
    for name in [String::new(), "é".repeat(257)] {
        assert_eq!(server.post(REGISTER, &body(&name)).faults(), ["/agentName"]);
    }
    let minimal = json!({"agentName": "no endpoint", "version": "1", "capabilities": []});
    let id = server.post(REGISTER, &minimal).is(201)["data"]["agentId"].clone();
    let agent = server.get(&format!("/v1/agents/{}", id.as_str().unwrap())).is(200);
    assert_eq!(agent["data"]["contactEndpoint"], Value::Null);
    assert_eq!(agent["data"]["metadata"], json!({}));
}

fn the_alias_takes_the_callers_own_id(database: &Database) {
    let server = Server::start(database);
    let with_id = |name: &str, id: &str| {
        let mut body = body(name);
        body["agentId"] = json!(id);
        body
    };
    let answer = server.post("/v1/agents", &with_id("first", "agent-123")).is(201);
    assert_eq!(answer["data"]["agentId"], "agent-123");
    assert_eq!(server.get("/v1/agents/agent-123").is(200)["data"]["agentName"], "first");

    server.post("/v1/agents", &with_id("second", "agent-123")).problem(409);
    let kept = server.get("/v1/agents/agent-123").is(200);
    assert_eq!(kept["data"]["agentName"], "first", "the refused one changed nothing");
    let made = server.post("/v1/agents", &body("third")).is(201);
    assert!(made["data"]["agentId"].as_str().is_some_and(|id| !id.is_empty()), "{made}");
}

fn a_taken_name_is_refused_and_can_be_taken_over(database: &Database) {
    let server = Server::start(database);
    let first = server.post(REGISTER, &body("reader")).is(201)["data"]["agentId"].clone();
    let problem = server.post(REGISTER, &body("reader")).problem(409);
    assert!(problem.detail.contains("reader"), "{}", problem.detail);

    let mut newer = body("reader");
    newer["version"] = json!("2.0.0");
    newer["contactEndpoint"] = json!("http://127.0.0.1:10/run");
    newer["capabilities"] = json!(["write"]);
    let replaced = server.post(&format!("{REGISTER}?replace=true"), &newer).is(200);
    assert_eq!((&replaced["status"], &replaced["data"]["agentId"]), (&json!("success"), &first));
    assert_eq!(replaced["data"]["generation"], 2, "its second registration");
    let path = format!("/v1/agents/{}", first.as_str().unwrap());
    let patched = server.patch(&path, &json!({"contactEndpoint": "http://127.0.0.1:11/run"})).is(200);
    assert_eq!(patched["data"]["generation"], 2, "a change is no registration");
    server.patch(&path, &json!({"contactEndpoint": newer["contactEndpoint"]})).is(200);
    let agent = server.get(&path).is(200)["data"].clone();
    assert_eq!(agent["generation"], 2);
    for name in ["version", "contactEndpoint", "capabilities"] {
        assert_eq!(agent[name], newer[name], "{name}");
    }
    let by_capability =
        |name: &str| server.get(&format!("/v1/agents?capability={name}")).is(200)["data"].clone();
    assert_eq!(by_capability("read"), json!([]), "what it could do before is forgotten");
    assert_eq!(by_capability("write").as_array().map(Vec::len), Some(1));

    server.post(&format!("{REGISTER}?replace=true"), &body("not there yet")).is(201);
    server.post(&format!("{REGISTER}?replace=false"), &body("reader")).problem(409);
}

fn a_taken_name_at_the_same_endpoint_is_a_restart_where_the_operator_says_so(database: &Database) {
    let server = Setup::new(database).arg("--restart-by-endpoint").start();
    let first = server.post(REGISTER, &body("restarted")).is(201)["data"]["agentId"].clone();
    let again = server.post(REGISTER, &body("restarted")).is(200);
    assert_eq!(again["data"]["agentId"], first);
    let mut elsewhere = body("restarted");
    elsewhere["contactEndpoint"] = json!("http://127.0.0.1:10/run");
    server.post(REGISTER, &elsewhere).problem(409);
    elsewhere["agentName"] = json!("other");
    server.post("/v1/agents", &elsewhere).is(201);
}

fn of_many_at_once_one_gets_the_name(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let register = || api.post(REGISTER, &body("contested")).status;
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(register)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 15, "{statuses:?}");
    assert_eq!(server.all_pages("/v1/agents", 100).len(), 1);
}

fn all_faults_are_told_at_once(database: &Database) {
    let server = Server::start(database);
    let wrong = json!({
        "agentName": 7, "version": null, "contactEndpoint": "ftp://example.org/run",
        "capabilities": ["ok", 5, {"description": "no name"}], "metadata": [],
    });
    let problem = server.post(REGISTER, &wrong).problem(422);
    for pointer in ["/agentName", "/version", "/contactEndpoint", "/capabilities/1", "/metadata"] {
        assert!(problem.pointers.iter().any(|found| found == pointer), "{pointer}: {:?}", problem.pointers);
    }
    assert!(
        problem.pointers.iter().any(|found| found.starts_with("/capabilities/2")),
        "{:?}",
        problem.pointers
    );
    let missing = server.post(REGISTER, &json!({})).faults();
    assert_eq!(missing, ["/agentName", "/capabilities", "/version"]);
    server.post(REGISTER, &json!([])).problem(422);
    assert_eq!(server.get("/v1/agents").is(200)["data"], json!([]), "nothing of it was kept");
}

fn a_body_that_is_not_json_is_told_from_one_that_does_not_fit(database: &Database) {
    let server = Server::start(database);
    let send = |kind: &str, bytes: &[u8]| server.send(Request::new("POST", REGISTER).body(kind, bytes));
    for bytes in [&b"{"[..], b"", b"{\"agentName\": \"\xff\"}", b"{} trailing", b"nonsense"] {
        send("application/json", bytes).problem(400);
    }
    for kind in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        send(kind, body("x").to_string().as_bytes()).problem(415);
    }
    let mut large = body("large");
    large["metadata"]["filler"] = json!("x".repeat(2 * 1024 * 1024));
    send("application/json", large.to_string().as_bytes()).problem(413);
    send("application/json; charset=utf-8", body("fits").to_string().as_bytes()).is(201);
    assert_eq!(server.all_pages("/v1/agents", 10).len(), 1);
}

fn a_registration_survives_a_kill_straight_after_its_answer(database: &Database) {
    let mut server = Server::start(database);
    for round in 0..3 {
        let name = format!("durable {round}");
        let id = server.post(REGISTER, &body(&name)).is(201)["data"]["agentId"].clone();
        server.kill();
        server.restart();
        let agent = server.get(&format!("/v1/agents/{}", id.as_str().unwrap())).is(200);
        assert_eq!(agent["data"]["agentName"], name.as_str());
        server.post(REGISTER, &body(&name)).problem(409);
    }
}

fn an_id_where_the_server_chooses_it_is_told_to_be_ignored(database: &Database) {
    let server = Server::start(database);
    let with_id = json!({"agentName": "a", "agentId": "agent-123", "version": "1", "capabilities": []});
    let made = server.post(REGISTER, &with_id);
    assert_ne!(made.is(201)["data"]["agentId"], "agent-123");
    let warning = made.header("warning").expect("a warning");
    assert!(warning.contains("/agentId was ignored") && warning.contains("POST /v1/agents "), "{warning}");
    let with_id = json!({"agentName": "b", "agentId": "agent-123", "version": "1", "capabilities": []});
    let taken = server.post("/v1/agents", &with_id);
    assert_eq!(taken.is(201)["data"]["agentId"], "agent-123");
    assert!(taken.header("warning").is_none(), "{:?}", taken.header("warning"));
}
