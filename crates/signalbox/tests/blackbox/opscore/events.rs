//! `GET /v1/opscore/sessions/{id}/events`, as JSON and as a stream that resumes.

use serde_json::{Value, json};

use crate::support::{Agent, Database, Server, Worker, items, on_each_database};

on_each_database![
    the_history_is_in_strict_sequence,
    the_stream_shows_what_happens_as_it_happens,
    a_stream_resumes_after_the_last_event_seen,
    the_history_is_kept_over_a_kill,
    what_is_served_is_not_what_is_stored,
    agents_are_named_beside_their_ids,
];

fn definition() -> Value {
    json!({"id": "two", "name": "Two", "tasks": [{"taskId": "a"}, {"taskId": "b"}]})
}

fn finished(server: &Server) -> String {
    let worker = Worker::start(&server.api(), "worker", &[]);
    let session = server.trigger(&worker.id, &definition(), &json!({}));
    server.session_becomes(&session, "completed");
    session
}

fn path(session: &str) -> String {
    format!("/v1/opscore/sessions/{session}/events")
}

fn history(server: &Server, session: &str) -> Vec<Value> {
    items(&server.get(&path(session)).is(200))
}

fn sequence(event: &Value) -> u64 {
    event["sequence"].as_u64().unwrap_or_else(|| panic!("no sequence: {event}"))
}

fn agents_are_named_beside_their_ids(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("Ada", &agent, &[]);
    let first = server.trigger(&id, &definition(), &json!({}));
    agent.next();
    let second = server.trigger(&id, &definition(), &json!({}));
    let stream = server.follow(&path(&second), None);
    stream.next();
    let streamed = stream.next().data;
    for (session, kind, told) in
        [(&first, "task.dispatched", "agent 'Ada' ("), (&second, "task.waiting", "agent 'Ada' (")]
    {
        let events = history(&server, session);
        let event = events.iter().find(|event| event["type"] == kind).expect("the event");
        let message = event["message"].as_str().unwrap();
        assert!(message.contains(told) && message.contains(&id), "{message}");
        if session == &second {
            assert_eq!(&streamed, event);
        }
    }
    let log = items(&server.get(&format!("/v1/opscore/logs?session={second}")).is(200));
    assert!(
        log.iter().any(|entry| entry["message"].as_str().unwrap().contains("waits for agent 'Ada' (")),
        "{log:?}"
    );
}

fn the_history_is_in_strict_sequence(database: &Database) {
    let server = Server::start(database);
    let session = finished(&server);
    let events = history(&server, &session);
    let sequences: Vec<u64> = events.iter().map(sequence).collect();
    let expected: Vec<u64> = (1..).take(events.len()).collect();
    assert_eq!(sequences, expected, "from 1, without a gap");
    for event in &events {
        assert_eq!(event["sessionId"], session.as_str());
        assert!(event["timestamp"].is_string() && event["message"].is_string(), "{event}");
    }
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("task.dispatched"), count("task.completed")), (2, 2), "{events:?}");
    assert_eq!(events.last().unwrap()["type"], "session.completed");
    assert_eq!(server.all_pages(&path(&session), 2), events);
    server.get(&format!("{}?limit=0", path(&session))).problem(422);
}

fn the_stream_shows_what_happens_as_it_happens(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let session = server.trigger(&id, &definition(), &json!({}));
    let stream = server.follow(&path(&session), None);
    let first = stream.next();
    assert_eq!((first.id.as_deref(), sequence(&first.data)), (Some("1"), 1));
    assert_eq!(first.kind.as_deref(), first.data["type"].as_str());
    stream.until(|event| event.data["type"] == "task.dispatched");
    server.complete(&id, &agent.next(), &json!("a"));
    stream.until(|event| event.data["type"] == "task.completed");
    server.complete(&id, &agent.next(), &json!("b"));
    let last = stream.until(|event| event.data["type"] == "session.completed");
    let events = history(&server, &session);
    assert_eq!(&last.data, events.last().unwrap(), "the stream and the list show the same");
}

fn a_stream_resumes_after_the_last_event_seen(database: &Database) {
    let mut server = Server::start(database);
    let session = finished(&server);
    let events = history(&server, &session);
    server.kill();
    server.restart();
    for seen in [0, 1, 3, events.len() - 1] {
        let stream = server.follow(&path(&session), Some(&seen.to_string()));
        for expected in &events[seen..] {
            let event = stream.next();
            assert_eq!(&event.data, expected, "after {seen}");
            assert_eq!(event.id, Some(sequence(expected).to_string()));
        }
    }
}

fn the_history_is_kept_over_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let session = finished(&server);
    let before = history(&server, &session);
    server.kill();
    server.restart();
    assert_eq!(history(&server, &session), before);
}

/// Panics where a name is not one of this API's. Below some of them stand values of clients.
fn check(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(!name.contains('_'), "{name}: {value}");
                for inner in ["template", "rules", "nanos", "secs", "step", "plan", "trace"] {
                    assert_ne!(name, inner, "{value}");
                }
                if !["input", "parameters", "result", "details"].contains(&name.as_str()) {
                    check(value);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(check),
        _ => {}
    }
}

fn what_is_served_is_not_what_is_stored(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let workflow = json!({"id": "timed", "name": "Timed", "timeout": "1h", "maxParallel": 2, "tasks": [
        {"taskId": "a", "timeout": "3s", "retry": {"initial": "3s"}, "forEach": "input.list", "parameters": {"x_y": "${item}"}},
        {"taskId": "b", "sleep": "1ms"}]});
    let session = server.trigger(&worker.id, &workflow, &json!({"list": [1, 2]}));
    server.session_becomes(&session, "completed");
    let events = history(&server, &session);
    assert_eq!(events[0]["data"]["timeout"], "1h", "{}", events[0]);
    assert_eq!(events[0]["data"]["tasks"][0], json!({"taskId": "a"}));
    let dispatched = events.iter().find(|event| event["type"] == "task.dispatched").expect("one");
    let by_name = format!("agent 'worker' ({})", worker.id);
    assert!(dispatched["message"].as_str().unwrap().contains(&by_name), "{dispatched}");
    assert_eq!(dispatched["data"]["agentName"], "worker");
    events.iter().for_each(check);
    let streamed: Vec<Value> = {
        let stream = server.follow(&path(&session), None);
        events.iter().map(|_| stream.next().data).collect()
    };
    assert_eq!(streamed, events, "the stream tells the same");
    let log = server.all_pages("/v1/opscore/logs?order=oldest", 100);
    log.iter().for_each(check);
    let reported = |entry: &&Value| entry["message"].as_str().unwrap().contains("reported");
    let reported = log.iter().find(reported).expect("one")["message"].as_str().unwrap();
    assert!(reported.to_lowercase().contains(&by_name), "{reported}");
    let stream = server.follow("/v1/opscore/logs?since=2000-01-01", None);
    for expected in &log {
        assert_eq!(&stream.next().data, expected);
    }
}
