//! `GET /v1/opscore/sessions`, and what can be asked of a session.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Agent, Database, Server, Worker, on_each_database, task_of};

on_each_database![
    sessions_are_listed_in_pages,
    sessions_are_found_by_what_they_are,
    tasks_are_told_in_time_and_in_line,
    an_unknown_session_is_404_everywhere,
    a_cancelled_session_starts_nothing_more,
    a_paused_session_starts_nothing_until_resumed,
    a_failed_session_is_tried_again,
    what_a_session_cannot_do_is_refused,
];

fn two_tasks() -> Value {
    json!({"id": "two", "name": "Two", "tasks": [
        {"taskId": "a", "parameters": {"step": "a"}, "maxRetries": 0},
        {"taskId": "b", "parameters": {"step": "b"}, "maxRetries": 0},
    ]})
}

fn ask(server: &Server, session: &str, verb: &str) -> Value {
    server.post(&format!("/v1/opscore/sessions/{session}/{verb}"), &json!({})).succeeded()
}

fn sessions_are_listed_in_pages(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let sessions: BTreeSet<_> =
        (0..7).map(|n| server.trigger(&worker.id, &two_tasks(), &json!({"n": n}))).collect();
    for session in &sessions {
        server.session_becomes(session, "completed");
    }
    let path = "/v1/opscore/sessions";
    for limit in [1, 3, 100] {
        let listed = server.all_pages(path, limit);
        let ids: BTreeSet<_> =
            listed.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()).collect();
        assert_eq!((listed.len(), &ids), (7, &sessions), "limit {limit}");
    }
    let one = &server.all_pages(path, 100)[0];
    assert_eq!((&one["workflowId"], &one["status"]), (&json!("two"), &json!("completed")));
    for name in ["createdAt", "updatedAt", "endedAt"] {
        assert!(one[name].as_str().is_some_and(|at| at.ends_with('Z')), "{name}: {one}");
    }
    assert_eq!(server.all_pages(&format!("{path}?status=completed"), 100).len(), 7);
    assert_eq!(server.all_pages(&format!("{path}?status=failed"), 100).len(), 0);
}

fn sessions_are_found_by_what_they_are(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let other = Worker::start(&server.api(), "other", &[]);
    let definition = |id: &str| json!({"id": id, "name": "N", "tasks": [{"taskId": "a"}]});
    let mut sessions = Vec::new();
    for (agent, workflow, city) in [(&worker, "w", "Bern"), (&other, "w", "Zürich"), (&worker, "v", "Basel")]
    {
        let session = server.trigger(&agent.id, &definition(workflow), &json!({"city": city}));
        server.session_becomes(&session, "completed");
        sessions.push(session);
    }
    let waits = json!({"id": "x", "name": "N", "tasks": [{"taskId": "a", "agentCapability": "absent"}]});
    sessions.push(server.trigger(&worker.id, &waits, &json!({})));
    let found = |query: &str| -> Vec<usize> {
        let listed = server.all_pages(&format!("/v1/opscore/sessions?{query}"), 1);
        let place = |one: &Value| sessions.iter().position(|session| one["sessionId"] == session.as_str());
        listed.iter().map(|one| place(one).unwrap()).collect()
    };
    assert_eq!(found("status=completed,started"), [3, 2, 1, 0]);
    assert_eq!(found("status=started"), [3]);
    assert_eq!(found("workflow=w&status=completed,failed"), [1, 0]);
    assert_eq!(found(&format!("agent={}", worker.id)), [2, 0]);
    assert_eq!(found(&format!("agent={}&workflow=w", worker.id)), [0]);
    assert_eq!(found("text=z%C3%9CRICH"), [1]);
    let third = server.session(&sessions[2])["createdAt"].as_str().unwrap().to_owned();
    assert_eq!(found(&format!("since={third}")), [3, 2]);
    assert_eq!(found(&format!("until={third}&workflow=w")), [1, 0]);
    let wrong = server.get("/v1/opscore/sessions?status=completed,done&since=noon&agent=&text=");
    assert_eq!(wrong.faults(), ["/agent", "/since", "/status", "/text"]);
}

fn tasks_are_told_in_time_and_in_line(database: &Database) {
    let server = Server::start(database);
    let definition = json!({"id": "w", "name": "N", "tasks": [
        {"taskId": "a", "agentCapability": "read", "maxRetries": 1}, {"taskId": "b", "agentCapability": "read"}]});
    let idle = server.register_at("idle", "http://127.0.0.1:9/run", &[]);
    let sessions: Vec<String> = (0..3).map(|_| server.trigger(&idle, &definition, &json!({}))).collect();
    for (session, place) in sessions.iter().zip(1..) {
        let task = &server.session(session)["tasks"][0];
        assert_eq!((&task["status"], &task["placeInLine"]), (&json!("waiting"), &json!(place)), "{task}");
    }
    server.post(&format!("/v1/opscore/sessions/{}/cancel", sessions[0]), &json!({})).succeeded();
    assert_eq!(server.session(&sessions[2])["tasks"][0]["placeInLine"], 2, "those behind it move up");
    server.post(&format!("/v1/opscore/sessions/{}/cancel", sessions[2]), &json!({})).succeeded();

    let agent = Agent::start();
    let reader = server.register("reader", &agent, &["read"]);
    let first = agent.next();
    server.report(&reader, "busy", &json!({"opscore_task_id": task_of(&first)}));
    server.report(&reader, "error", &json!({"opscore_task_id": task_of(&first), "error": "broken"}));
    server.complete(&reader, &agent.next(), &json!("a"));
    server.complete(&reader, &agent.next(), &json!("b"));
    server.session_becomes(&sessions[1], "completed");
    let timeline = server.get(&format!("/v1/opscore/sessions/{}/timeline", sessions[1])).is(200);
    assert_eq!((&timeline["isComplete"], &timeline["status"]), (&json!(true), &json!("completed")));
    let told = |task: usize| -> Vec<String> {
        let spans = timeline["tasks"][task]["spans"].as_array().unwrap();
        let told = |span: &Value| {
            let agent = if span["agentId"] == reader.as_str() { "reader" } else { "nobody" };
            format!("{} {} {agent} {}", span["kind"], span["attempt"], span["outcome"]).replace('"', "")
        };
        spans.iter().map(told).collect()
    };
    assert_eq!(
        told(0),
        [
            "waiting 1 nobody dispatched",
            "dispatched 1 reader running",
            "running 1 reader retrying",
            "retryWait 2 nobody dispatched",
            "dispatched 2 reader completed",
        ]
    );
    assert_eq!(told(1), ["dispatched 1 reader completed"]);
    let spans = timeline["tasks"][0]["spans"].as_array().unwrap();
    assert!(spans.windows(2).all(|two| two[0]["end"] == two[1]["start"]), "{timeline}");
}

fn an_unknown_session_is_404_everywhere(database: &Database) {
    let server = Server::start(database);
    let path = "/v1/opscore/sessions/ses_unknown";
    server.get(path).absent();
    server.get(&format!("{path}/events")).absent();
    server.get(&format!("{path}/timeline")).absent();
    server.delete(path).absent();
    for verb in ["pause", "resume", "cancel", "retry", "signal"] {
        server.post(&format!("{path}/{verb}"), &json!({"signal": "go"})).absent();
    }
}

fn a_cancelled_session_starts_nothing_more(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let session = server.trigger(&id, &two_tasks(), &json!({}));
    let given = agent.next();
    let path = format!("/v1/opscore/sessions/{session}/cancel");
    server.post(&path, &json!({"reason": "changed my mind"})).succeeded();
    let cancelled = server.session(&session);
    assert_eq!(cancelled["status"], "cancelled");
    let told = agent.next().json();
    assert_eq!(told["messageType"], "workflow_cancel");
    assert_eq!(told["opscore_task_id"], given.json()["opscore_task_id"]);
    assert_eq!(told["payload"]["reason"], "changed my mind");
    assert!(
        cancelled["error"].as_str().is_some_and(|error| error.contains("changed my mind")),
        "{cancelled}"
    );
    for task in cancelled["tasks"].as_array().unwrap() {
        assert!(["cancelled", "skipped"].contains(&task["status"].as_str().unwrap()), "{task}");
    }
    server.complete(&id, &given, &json!("late"));
    let after = server.session(&session);
    assert_eq!((&after["status"], &after["tasks"][0]["result"]), (&json!("cancelled"), &Value::Null));

    // The agent is free for others, and the second task was never given to it.
    let other = server.trigger(&id, &json!({"id": "o", "name": "O", "tasks": [{"taskId": "o"}]}), &json!({}));
    let given = agent.next();
    assert_eq!(given.json()["opscore_session_id"], other.as_str());
    server.complete(&id, &given, &Value::Null);
    server.session_becomes(&other, "completed");
    assert_eq!(agent.count(), 3, "two tasks, and that the first is no longer wanted");
}

fn a_paused_session_starts_nothing_until_resumed(database: &Database) {
    let mut server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let session = server.trigger(&id, &two_tasks(), &json!({}));
    let a = agent.next();
    ask(&server, &session, "pause");
    assert_eq!(server.session(&session)["status"], "paused");
    server.complete(&id, &a, &json!("a"));
    server.kill();
    server.restart();
    let paused = server.session(&session);
    assert_eq!(paused["status"], "paused");
    assert_eq!(paused["tasks"][0]["status"], "completed", "what was in flight may finish: {paused}");
    assert_eq!(
        (&paused["tasks"][1]["status"], &paused["tasks"][1]["agentId"]),
        (&json!("pending"), &Value::Null)
    );
    assert_eq!(agent.count(), 1);
    ask(&server, &session, "resume");
    let b = agent.next();
    assert_eq!(b.json()["payload"]["step"], "b");
    server.complete(&id, &b, &json!("b"));
    server.session_becomes(&session, "completed");
}

fn a_failed_session_is_tried_again(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let session = server.trigger(&id, &two_tasks(), &json!({}));
    server.complete(&id, &agent.next(), &json!("a"));
    let b = agent.next();
    server.report(&id, "error", &json!({"opscore_task_id": task_of(&b), "error": "broken"}));
    server.session_becomes(&session, "failed");
    ask(&server, &session, "retry");
    let again = agent.next();
    assert_eq!(again.json()["payload"]["step"], "b", "what is done is not done again");
    assert_ne!(task_of(&again), task_of(&b));
    server.complete(&id, &again, &json!("b"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!((&done["error"], &done["tasks"][0]["result"]), (&Value::Null, &json!("a")));
    assert_eq!(agent.count(), 3);
}

fn what_a_session_cannot_do_is_refused(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let session = server.trigger(&worker.id, &two_tasks(), &json!({}));
    let done = server.session_becomes(&session, "completed");
    for verb in ["pause", "resume", "cancel", "retry"] {
        let problem = server.post(&format!("/v1/opscore/sessions/{session}/{verb}"), &json!({})).problem(409);
        assert!(problem.detail.contains("completed"), "{verb}: {}", problem.detail);
    }
    assert_eq!(server.session(&session), done);
}
