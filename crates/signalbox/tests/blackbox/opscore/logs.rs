//! What agents write to the log, and what everybody reads from it.

use serde_json::{Value, json};

use crate::support::{Agent, Database, Server, Worker, eventually, iso_from_now, on_each_database, task_of};

on_each_database![
    one_entry_and_a_batch_are_kept,
    filters_narrow_the_log,
    an_entry_that_does_not_fit_is_refused_with_its_batch,
    the_tail_shows_entries_as_they_come,
    what_the_engine_does_is_in_the_log_too,
    a_task_has_one_name_in_the_log_whoever_wrote_the_entry,
];

const LOGS: &str = "/v1/opscore/logs";

fn write(server: &Server, agent: &str, body: &Value) {
    server.post(&format!("/v1/opscore/agent/{agent}/logs"), body).succeeded();
}

fn registered(server: &Server, name: &str) -> String {
    server.register_at(name, "http://127.0.0.1:9/run", &[])
}

/// The messages that a query finds, among those that the tests wrote.
fn found(server: &Server, query: &str) -> Vec<String> {
    let entries = server.all_pages(&format!("{LOGS}?{query}"), 100);
    let mut messages: Vec<_> = entries
        .iter()
        .map(|entry| entry["message"].as_str().expect("a message").to_owned())
        .filter(|message| message.starts_with("mark "))
        .collect();
    messages.sort();
    messages
}

fn one_entry_and_a_batch_are_kept(database: &Database) {
    let mut server = Server::start(database);
    let id = registered(&server, "writer");
    let entry = json!({
        "level": "info", "message": "mark one", "timestamp": "2024-01-01T12:00:00+00:00",
        "fields": {"n": 1, "deep": {"x": [null]}},
    });
    write(&server, &id, &entry);
    let batch: Vec<_> =
        (0..5).map(|n| json!({"level": "DEBUG", "message": format!("mark batch {n}")})).collect();
    write(&server, &id, &json!(batch));
    server.kill();
    server.restart();
    assert_eq!(found(&server, &format!("agent={id}")).len(), 6);
    let kept = server.all_pages(&format!("{LOGS}?text=mark%20one"), 100).pop().expect("it is there");
    assert_eq!((&kept["level"], &kept["agentId"]), (&json!("info"), &json!(id)));
    assert_eq!(kept["fields"], entry["fields"]);
    assert!(kept["timestamp"].as_str().is_some_and(|at| at.starts_with("2024-01-01T12:00:00")), "{kept}");
    server.post("/v1/opscore/agent/nobody/logs", &entry).absent();
}

/// A session that has ended already.
fn session_of(server: &Server, agent: &str) -> String {
    server.trigger(agent, &json!({"id": "empty", "name": "Empty", "tasks": []}), &json!({}))
}

fn filters_narrow_the_log(database: &Database) {
    let server = Server::start(database);
    let (a, b) = (registered(&server, "a"), registered(&server, "b"));
    let session = session_of(&server, &a);
    write(
        &server,
        &a,
        &json!([
            {"level": "info", "message": "mark apple"},
            {"level": "error", "message": "mark bad apple", "session_id": session},
            {"level": "info", "message": "mark old", "timestamp": "2001-01-01T00:00:00Z"},
        ]),
    );
    write(&server, &b, &json!({"level": "warning", "message": "mark pear 100% _"}));
    assert_eq!(found(&server, &format!("agent={a}")), ["mark apple", "mark bad apple", "mark old"]);
    assert_eq!(found(&server, &format!("agent={b}")), ["mark pear 100% _"]);
    assert_eq!(found(&server, "level=error"), ["mark bad apple"]);
    assert_eq!(found(&server, "text=apple"), ["mark apple", "mark bad apple"]);
    assert_eq!(found(&server, "text=100%25%20_"), ["mark pear 100% _"]);
    assert_eq!(found(&server, "text=nowhere"), [""; 0]);
    assert_eq!(found(&server, &format!("session={session}")), ["mark bad apple"]);
    assert_eq!(found(&server, &format!("since={}", iso_from_now(3600))), [""; 0]);
    assert!(found(&server, &format!("since={}", iso_from_now(-3600))).contains(&"mark apple".to_owned()));
    assert!(!found(&server, &format!("until={}", iso_from_now(-3600))).contains(&"mark apple".to_owned()));
    assert_eq!(found(&server, &format!("agent={a}&level=error&text=bad")), ["mark bad apple"]);
    for query in ["since=soon", "until=x", "level=loud", "limit=0", "cursor=x"] {
        server.get(&format!("{LOGS}?{query}")).problem(422);
    }
}

fn an_entry_that_does_not_fit_is_refused_with_its_batch(database: &Database) {
    let server = Server::start(database);
    let id = registered(&server, "writer");
    let path = format!("/v1/opscore/agent/{id}/logs");
    assert_eq!(server.post(&path, &json!({})).faults(), ["/level", "/message"]);
    let batch = json!([
        {"level": "info", "message": "mark good"},
        {"level": "loud", "message": "mark bad", "fields": []},
        {"level": "info"},
    ]);
    assert_eq!(server.post(&path, &batch).faults(), ["/1/fields", "/1/level", "/2/message"]);
    assert_eq!(found(&server, ""), [""; 0], "all or nothing");
}

fn the_tail_shows_entries_as_they_come(database: &Database) {
    let mut server = Server::start(database);
    let (a, b) = (registered(&server, "a"), registered(&server, "b"));
    write(&server, &a, &json!({"level": "info", "message": "mark before"}));
    let tail = server.follow(&format!("{LOGS}?agent={a}"), None);
    write(&server, &b, &json!({"level": "info", "message": "mark of another"}));
    write(&server, &a, &json!({"level": "info", "message": "mark after"}));
    let mark = |event: &crate::support::SseEvent| {
        event.data["message"].as_str().is_some_and(|message| message.starts_with("mark "))
    };
    let after = tail.until(|event| {
        assert_ne!(event.data["message"], "mark of another", "the filter holds for the stream too");
        event.data["message"] == "mark after"
    });
    let seen = after.id.expect("a place to resume from");
    write(&server, &a, &json!({"level": "info", "message": "mark while away"}));
    server.kill();
    server.restart();
    let resumed = server.follow(&format!("{LOGS}?agent={a}"), Some(&seen));
    assert_eq!(resumed.until(mark).data["message"], "mark while away");
    write(&server, &a, &json!({"level": "info", "message": "mark live"}));
    assert_eq!(resumed.until(mark).data["message"], "mark live");
}

fn what_the_engine_does_is_in_the_log_too(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let definition = json!({"id": "one", "name": "One", "tasks": [{"taskId": "a"}]});
    let session = server.trigger(&worker.id, &definition, &json!({}));
    server.session_becomes(&session, "completed");
    eventually("the session in the log", || {
        let entries = server.all_pages(&format!("{LOGS}?session={session}"), 100);
        let text = json!(entries).to_string();
        let about_task = entries.iter().any(|entry| entry["taskId"].is_string());
        if about_task && entries.len() >= 3 { Ok(()) } else { Err(text) }
    });
    let about_agent = server.all_pages(&format!("{LOGS}?agent={}", worker.id), 100);
    assert!(about_agent.len() >= 2, "its registration and its reports: {about_agent:?}");
}

fn a_task_has_one_name_in_the_log_whoever_wrote_the_entry(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("writer", &agent, &[]);
    let definition = json!({"id": "one", "name": "One", "tasks": [{"taskId": "read"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let task = agent.next();
    let own = task_of(&task);
    for (name, value) in [("opscore_task_id", own.as_str()), ("taskId", &own), ("task_id", "read")] {
        write(&server, &id, &json!({"level": "info", "message": "mark", "sessionId": session, name: value}));
    }
    write(&server, &id, &json!({"level": "info", "message": "mark", "opscore_task_id": own}));
    let entries = server.all_pages(&format!("{LOGS}?text=mark&order=oldest"), 100);
    let names: Vec<_> = entries.iter().map(|entry| (&entry["taskId"], &entry["opscoreTaskId"])).collect();
    let (read, own, none) = (json!("read"), json!(own), Value::Null);
    assert_eq!(names, [(&read, &own), (&read, &own), (&read, &none), (&none, &own)]);
    server.complete(&id, &task, &json!({}));
    server.session_becomes(&session, "completed");
    for entry in server.all_pages(&format!("{LOGS}?session={session}"), 100) {
        assert!(entry["taskId"].is_null() || entry["taskId"] == "read", "{entry}");
    }
}
