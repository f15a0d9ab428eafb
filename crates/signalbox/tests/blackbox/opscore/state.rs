//! `/v1/opscore/agent/{agentId}/state` and `…/history`.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Agent, Database, Request, Server, iso, iso_from_now, items, on_each_database, task_of};

on_each_database![
    a_report_is_accepted_and_shown,
    path_and_body_must_agree,
    an_unknown_agent_is_404_by_name,
    any_word_is_a_state_and_kept_as_sent,
    a_word_that_means_nothing_is_told_in_the_log,
    timestamps_come_in_many_forms,
    an_older_report_is_history_and_not_the_state,
    history_comes_in_pages,
    reports_survive_a_kill,
    a_report_that_does_not_fit_is_refused,
    a_key_is_always_needed,
    many_at_once_are_all_kept,
];

const ENDPOINT: &str = "http://127.0.0.1:9/run";

fn state_of(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/opscore/agent/{id}/state")).is(200)
}

fn history_of(server: &Server, id: &str) -> Vec<Value> {
    server.all_pages(&format!("/v1/opscore/agent/{id}/history"), 1000)
}

fn a_report_is_accepted_and_shown(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("reporter", ENDPOINT, &[]);
    let details = json!({"current_task": "processing_data", "deep": [1, {"x": null}]});
    let answer = server.try_report(&id, "active", &details, "2024-01-01T12:00:00.000000+00:00").is(202);
    assert_eq!(answer, json!({"status": "success", "message": "State update accepted"}));
    let state = state_of(&server, &id);
    assert_eq!(state["agentId"], id.as_str());
    assert_eq!((&state["state"], &state["details"]), (&json!("active"), &details));
    let at: jiff::Timestamp = state["timestamp"].as_str().unwrap().parse().expect("RFC 3339");
    assert_eq!(at, "2024-01-01T12:00:00Z".parse().unwrap());

    let bare = json!({"agentId": id, "timestamp": iso(), "state": "idle"});
    server.post(&format!("/v1/opscore/agent/{id}/state"), &bare).is(202);
    assert_eq!(state_of(&server, &id)["details"], Value::Null);
}

fn path_and_body_must_agree(database: &Database) {
    let server = Server::start(database);
    let a = server.register_at("a", ENDPOINT, &[]);
    let b = server.register_at("b", ENDPOINT, &[]);
    let body = json!({"agentId": b, "timestamp": iso(), "state": "idle"});
    let problem = server.post(&format!("/v1/opscore/agent/{a}/state"), &body).problem(400);
    assert!(problem.detail.contains(&a) && problem.detail.contains(&b), "{}", problem.detail);
    assert_eq!((history_of(&server, &a).len(), history_of(&server, &b).len()), (0, 0));
}

fn an_unknown_agent_is_404_by_name(database: &Database) {
    let server = Server::start(database);
    let problem = server.try_report("nobody", "idle", &Value::Null, &iso()).absent();
    assert!(problem.detail.contains("Agent not found: nobody"), "{}", problem.detail);
    let path = "/v1/opscore/agent/nobody";
    let problem = server.get(&format!("{path}/state")).absent();
    assert!(problem.detail.contains("Agent not found: nobody"), "{}", problem.detail);
    server.get(&format!("{path}/history")).absent();
}

/// An agent that holds a task and says `done` would wait for its time-out, and whoever wrote it would never know why.
fn a_word_that_means_nothing_is_told_in_the_log(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("talker", &agent, &[]);
    let warnings = || server.all_pages(&format!("/v1/opscore/logs?agent={id}&level=warning"), 100);
    server.report(&id, "thinking", &Value::Null);
    server.report(&id, "idle", &Value::Null);
    assert_eq!(warnings(), [Value::Null; 0], "words of its own are its own while it holds nothing");
    server.report(&id, "Finishd", &Value::Null);
    let slip = warnings().pop().expect("a slip is told at once");
    assert!(slip["message"].as_str().is_some_and(|text| text.contains("Did you mean 'finished'?")), "{slip}");
    server.report(&id, "idle", &Value::Null);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "read"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let task = agent.next();
    for _ in 0..3 {
        let answer = server.try_report(&id, "done", &json!({"task_id": task_of(&task)}), &iso()).is(202);
        assert_eq!(answer, json!({"status": "success", "message": "State update accepted"}));
    }
    let told = warnings();
    assert_eq!(told.len(), 2, "once, however often it says so: {told:?}");
    let told = told.into_iter().find(|entry| entry["sessionId"] == session.as_str()).expect("of the session");
    let message = told["message"].as_str().unwrap();
    for part in ["'done'", "task 'read'", &session, "stays open", "finished, completed, error, failed"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    server.complete(&id, &task, &json!({}));
    server.session_becomes(&session, "completed");
}

fn any_word_is_a_state_and_kept_as_sent(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("talker", ENDPOINT, &[]);
    let long = "x".repeat(64);
    let words = [
        "initializing",
        "idle",
        "active",
        "busy",
        "finished",
        "completed",
        "error",
        "failed",
        "offline",
        "IdLe",
        "thinking",
        "überlegt",
        "x",
        &long,
    ];
    for word in words {
        server.report(&id, word, &Value::Null);
        assert_eq!(state_of(&server, &id)["state"], word);
    }
    for word in [String::new(), "x".repeat(65)] {
        assert_eq!(server.try_report(&id, &word, &Value::Null, &iso()).faults(), ["/state"]);
    }
    assert_eq!(history_of(&server, &id).len(), words.len());
}

fn timestamps_come_in_many_forms(database: &Database) {
    let server = Server::start(database);
    let forms = [
        "2024-01-01T12:00:00Z",
        "2024-01-01T12:00:00.000000+00:00",
        "2024-01-01T14:00:00+02:00",
        "2024-01-01T12:00:00",
        "2024-01-01T12:00:00.000",
    ];
    for (index, form) in forms.into_iter().enumerate() {
        let id = server.register_at(&format!("agent {index}"), ENDPOINT, &[]);
        server.try_report(&id, "idle", &Value::Null, form).is(202);
        let shown = state_of(&server, &id)["timestamp"].as_str().unwrap().to_owned();
        assert!(shown.starts_with("2024-01-01T12:00:00") && shown.ends_with('Z'), "{form}: {shown}");
    }
    let id = server.register_at("wrong", ENDPOINT, &[]);
    for form in ["yesterday", "", "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z"] {
        assert_eq!(server.try_report(&id, "idle", &Value::Null, form).faults(), ["/timestamp"], "{form}");
    }
}

fn an_older_report_is_history_and_not_the_state(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("late", ENDPOINT, &[]);
    server.try_report(&id, "busy", &json!({"n": 2}), "2024-01-01T12:00:02Z").is(202);
    server.try_report(&id, "idle", &json!({"n": 1}), "2024-01-01T12:00:01Z").is(202);
    assert_eq!(state_of(&server, &id)["state"], "busy");
    let kept: BTreeSet<_> =
        history_of(&server, &id).iter().map(|entry| entry["details"]["n"].as_i64().unwrap()).collect();
    assert_eq!(kept, BTreeSet::from([1, 2]));
    server.try_report(&id, "idle", &json!({"n": 3}), "2024-01-01T14:00:03+02:00").is(202);
    assert_eq!(state_of(&server, &id)["details"]["n"], 3, "an offset is reckoned in");

    // A clock that once was far ahead does not lose the reports that follow.
    server.try_report(&id, "active", &json!({"n": 4}), &iso_from_now(10 * 365 * 86_400)).is(202);
    server.try_report(&id, "idle", &json!({"n": 5}), &iso()).is(202);
    assert_eq!(state_of(&server, &id)["details"]["n"], 4);
    assert_eq!(history_of(&server, &id).len(), 5);
}

fn history_comes_in_pages(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("busy", ENDPOINT, &[]);
    let other = server.register_at("other", ENDPOINT, &[]);
    for n in 0..25 {
        server.report(&id, "idle", &json!({"n": n}));
        server.report(&other, "idle", &json!({"n": -1}));
    }
    for limit in [1, 10, 25, 1000] {
        let entries = server.all_pages(&format!("/v1/opscore/agent/{id}/history"), limit);
        let numbers: Vec<_> = entries.iter().map(|entry| entry["details"]["n"].as_i64().unwrap()).collect();
        let in_order = numbers.windows(2).all(|pair| pair[0] < pair[1]);
        let in_reverse = numbers.windows(2).all(|pair| pair[0] > pair[1]);
        assert!(numbers.len() == 25 && (in_order || in_reverse), "limit {limit}: {numbers:?}");
    }
    let page = server.get(&format!("/v1/opscore/agent/{id}/history?limit=10")).is(200);
    assert_eq!(items(&page).len(), 10);
    server.get(&format!("/v1/opscore/agent/{id}/history?limit=0")).problem(422);
    server.get(&format!("/v1/opscore/agent/{id}/history?cursor=foreign")).problem(422);
}

fn reports_survive_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let id = server.register_at("durable", ENDPOINT, &[]);
    for n in 0..5 {
        server.report(&id, "idle", &json!({"n": n}));
        server.kill();
        server.restart();
        assert_eq!(state_of(&server, &id)["details"]["n"], n);
    }
    assert_eq!(history_of(&server, &id).len(), 5);
}

fn a_report_that_does_not_fit_is_refused(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("wrong", ENDPOINT, &[]);
    let path = format!("/v1/opscore/agent/{id}/state");
    assert_eq!(server.post(&path, &json!({})).faults(), ["/agentId", "/state", "/timestamp"]);
    let wrong = json!({"agentId": 1, "timestamp": 2, "state": 3, "details": []});
    assert_eq!(server.post(&path, &wrong).faults(), ["/agentId", "/details", "/state", "/timestamp"]);
    for word in ["two words", "line\nbreak"] {
        assert_eq!(server.try_report(&id, word, &Value::Null, &iso()).faults(), ["/state"]);
    }
    server.send(Request::new("POST", &*path).body("application/json", "{")).problem(400);
    server.send(Request::new("POST", &*path).body("text/plain", "{}")).problem(415);
    let large = json!({"filler": "x".repeat(2 * 1024 * 1024)});
    server.try_report(&id, "idle", &large, &iso()).problem(413);
    assert_eq!(history_of(&server, &id).len(), 0);
}

fn a_key_is_always_needed(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("secured", ENDPOINT, &[]);
    for api in [server.without_key(), server.with_key("wrong"), server.with_key("")] {
        let refused = api.try_report(&id, "idle", &Value::Null, &iso());
        refused.problem(401);
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Bearer"), "{challenge:?}");
        api.get(&format!("/v1/opscore/agent/{id}/state")).problem(401);
    }
    let basic = Request::get(format!("/v1/opscore/agent/{id}/state")).header("authorization", "Basic YTpi");
    server.without_key().send(basic).problem(401);
    assert_eq!(history_of(&server, &id).len(), 0);
}

fn many_at_once_are_all_kept(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let id = server.register_at("hammered", ENDPOINT, &[]);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (api, id) = (api.clone(), &id);
            scope.spawn(move || {
                for n in 0..25 {
                    api.report(id, "idle", &json!({"n": thread * 100 + n}));
                }
            });
        }
    });
    let kept: BTreeSet<_> =
        history_of(&server, &id).iter().map(|entry| entry["details"]["n"].as_i64().unwrap()).collect();
    assert_eq!(kept.len(), 200);
}
