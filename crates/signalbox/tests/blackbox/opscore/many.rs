//! What is done to many sessions at once, running one again, and removing those that are over.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Agent, Database, Request, Server, Worker, items, on_each_database};

on_each_database![
    many_sessions_are_paused_resumed_and_cancelled,
    many_sessions_are_signalled_approved_and_refused,
    a_limit_is_gone_on_from,
    a_session_is_run_again_on_its_revision,
    a_session_that_is_over_is_removed_with_its_history,
    a_filter_that_says_nothing_is_refused,
    a_tenant_says_how_long_it_keeps_what_is_over,
];

const SESSIONS: &str = "/v1/opscore/sessions";

fn one_task(id: &str) -> Value {
    json!({"id": id, "name": "One", "tasks": [{"taskId": "a", "maxRetries": 0}]})
}

fn ids(sessions: &[Value]) -> BTreeSet<String> {
    sessions.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()).collect()
}

fn many(server: &Server, verb: &str, body: &Value) -> Value {
    server.post(&format!("{SESSIONS}/{verb}"), body).is(200)
}

fn many_sessions_are_paused_resumed_and_cancelled(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let done = server.trigger(&worker.id, &one_task("quick"), &json!({}));
    server.session_becomes(&done, "completed");
    let waits = json!({"id": "waits", "name": "W", "tasks": [{"taskId": "a", "agentCapability": "absent"}]});
    let waiting: BTreeSet<String> =
        (0..5).map(|n| server.trigger(&worker.id, &waits, &json!({"n": n}))).collect();

    let paused = many(&server, "pause", &json!({"filter": {"workflow": "waits"}}));
    assert_eq!((&paused["matched"], &paused["done"], &paused["more"]), (&json!(5), &json!(5), &json!(false)));
    assert_eq!(ids(&server.all_pages(&format!("{SESSIONS}?status=paused"), 2)), waiting);
    let again = many(&server, "pause", &json!({"filter": {"status": "paused,completed"}}));
    assert_eq!((&again["matched"], &again["done"]), (&json!(6), &json!(0)));
    let refused = again["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 6);
    assert!(
        refused.iter().all(|one| one["detail"].as_str().unwrap().contains("cannot be paused")),
        "{again}"
    );
    let resumed = many(&server, "resume", &json!({"filter": {"workflow": "waits", "status": "paused"}}));
    assert_eq!(resumed["done"], 5);
    let cancelled =
        many(&server, "cancel", &json!({"filter": {"text": "WAITS"}, "reason": "enough of them"}));
    assert_eq!((&cancelled["matched"], &cancelled["done"]), (&json!(5), &json!(5)));
    for session in server.all_pages(&format!("{SESSIONS}?status=cancelled"), 100) {
        assert!(session["error"].as_str().unwrap().contains("enough of them"), "{session}");
    }
    assert_eq!(server.session(&done)["status"], "completed");
}

fn many_sessions_are_signalled_approved_and_refused(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &["work"]);
    let asks = json!({"id": "asks", "name": "A", "tasks": [
        {"taskId": "hear", "wait": {"signal": "go"}, "nextTaskId": "ask"},
        {"taskId": "ask", "approve": {"who": "anybody"}, "nextTaskId": "do"},
        {"taskId": "do", "agentCapability": "work", "parameters": {"n": "${input.n}", "heard": "${tasks.hear.result}"}}]});
    let all: Vec<String> = (0..4).map(|n| server.trigger(&worker.id, &asks, &json!({"n": n % 2}))).collect();
    let filter = json!({"workflow": "asks", "status": "started,running"});
    let other = many(&server, "signal", &json!({"filter": filter, "signal": "stop"}));
    assert_eq!((&other["matched"], &other["done"]), (&json!(4), &json!(0)), "none waits for it");
    let told = many(&server, "signal", &json!({"filter": filter, "signal": "go", "payload": "now"}));
    assert_eq!(told["done"], 4, "{told}");
    let asked = server.session(&all[0]);
    let digest = asked["tasks"][1]["approval"]["digest"].clone();
    let unseen = json!({"filter": filter, "taskId": "ask"});
    assert_eq!(server.post(&format!("{SESSIONS}/approve"), &unseen).faults(), ["/digest"]);
    let approved = json!({"filter": filter, "taskId": "ask", "digest": digest});
    let approved = many(&server, "approve", &approved);
    assert_eq!(
        (&approved["done"], approved["refused"].as_array().map(Vec::len)),
        (&json!(2), Some(2)),
        "{approved}"
    );
    for session in [&all[0], &all[2]] {
        let done = server.session_becomes(session, "completed");
        assert_eq!(done["tasks"][2]["parameters"], json!({"n": 0, "heard": "now"}));
    }
    let refused = json!({"filter": filter, "taskId": "ask", "comment": "too late"});
    assert_eq!(many(&server, "refuse", &refused)["done"], 2);
    let failed = server.session_becomes(&all[1], "failed");
    assert!(failed["error"].as_str().unwrap().contains("refused by the admin key: too late"), "{failed}");
    server.post(&format!("{SESSIONS}/approve"), &json!({"filter": filter})).problem(422);
}

fn a_limit_is_gone_on_from(database: &Database) {
    let server = Server::start(database);
    let agent = server.register_at("agent", "http://127.0.0.1:9/run", &[]);
    let waits = json!({"id": "waits", "name": "W", "tasks": [{"taskId": "a", "agentCapability": "absent"}]});
    (0..5).for_each(|n| drop(server.trigger(&agent, &waits, &json!({"n": n}))));
    let (mut cursor, mut counts) = (Value::Null, Vec::new());
    loop {
        let body = json!({"filter": {"workflow": "waits"}, "limit": 2, "cursor": cursor});
        let answer = many(&server, "cancel", &body);
        counts.push(answer["done"].as_u64().unwrap());
        assert_eq!(answer["more"], json!(answer["next_cursor"].is_string()), "{answer}");
        cursor = answer["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(counts, [2, 2, 1]);
}

fn a_session_is_run_again_on_its_revision(database: &Database) {
    let server = Server::start(database);
    let worker = Worker::start(&server.api(), "worker", &[]);
    let first = server.trigger(&worker.id, &one_task("one"), &json!({"city": "Bern"}));
    let before = server.session_becomes(&first, "completed");
    let changed = json!({"id": "one", "name": "Changed", "tasks": [{"taskId": "b"}]});
    server.post("/v1/opscore/workflows", &changed).is(200);

    let answer = server.post(&format!("{SESSIONS}/{first}/rerun"), &json!({})).is(202);
    let again = server.session_becomes(answer["sessionId"].as_str().unwrap(), "completed");
    assert_ne!(again["sessionId"], before["sessionId"]);
    for name in ["workflowId", "workflowRevision", "agentId", "input"] {
        assert_eq!(again[name], before[name], "{name}");
    }
    assert_eq!((&again["workflowRevision"], &again["tasks"][0]["taskId"]), (&json!(1), &json!("a")));
    let until = again["createdAt"].as_str().unwrap();
    let body = json!({"filter": {"workflow": "one", "until": until}});
    let many = many(&server, "rerun", &body);
    assert_eq!((&many["matched"], &many["done"]), (&json!(1), &json!(1)));
    let sessions = server.all_pages(SESSIONS, 100);
    assert_eq!(sessions.len(), 3);
    for session in ids(&sessions) {
        server.session_becomes(&session, "completed");
    }

    // A number never comes to mean another definition.
    let kept = |body: &Value| server.post("/v1/opscore/workflows", body).succeeded()["revision"].clone();
    let other = json!({"id": "again", "name": "Other", "tasks": []});
    let again = server.trigger(
        &worker.id,
        &json!({"id": "again", "name": "A", "tasks": [{"taskId": "a"}]}),
        &json!({}),
    );
    server.session_becomes(&again, "completed");
    server.delete("/v1/opscore/workflows/again").is(200);
    server.get("/v1/opscore/workflows/again").absent();
    server.get("/v1/opscore/workflows/again/versions").absent();
    server.delete("/v1/opscore/workflows/again").absent();
    server.post("/v1/opscore/workflows/again/trigger", &json!({})).absent();
    assert_eq!(kept(&other), 2);
    server.post(&format!("{SESSIONS}/{again}/rerun"), &json!({})).problem(404);
    assert_eq!(kept(&other), 2, "the same again makes none");

    server.delete("/v1/opscore/workflows/one/versions/1").is(200);
    let gone = server.post(&format!("{SESSIONS}/{first}/rerun"), &json!({})).problem(404);
    assert!(gone.detail.contains("revision 1"), "{}", gone.detail);
    server.post(&format!("{SESSIONS}/ses_unknown/rerun"), &json!({})).absent();
}

fn a_session_that_is_over_is_removed_with_its_history(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("agent", &agent, &[]);
    let session = server.trigger(&id, &one_task("one"), &json!({}));
    let path = format!("{SESSIONS}/{session}");
    let task = agent.next();
    let early = server.delete(&path).problem(409);
    assert!(early.detail.contains("running"), "{}", early.detail);
    server.complete(&id, &task, &json!("done"));
    server.session_becomes(&session, "completed");
    server.delete(&path).is(200);
    server.get(&path).absent();
    server.get(&format!("{path}/events")).absent();
    server.delete(&path).absent();
    let log = server.all_pages(&format!("/v1/opscore/logs?session={session}"), 100);
    assert_eq!(log, Vec::<Value>::new(), "its history is gone too");
    let purged = server.all_pages(&format!("/v1/opscore/logs?text={session}"), 100);
    assert!(purged.iter().any(|entry| entry["message"].as_str().unwrap().contains("removed")), "{purged:?}");

    let others: Vec<String> = (0..3).map(|_| server.trigger(&id, &one_task("one"), &json!({}))).collect();
    let task = agent.next();
    let held = task.json()["opscore_session_id"].as_str().unwrap().to_owned();
    for other in others.iter().filter(|other| **other != held) {
        server.post(&format!("{SESSIONS}/{other}/cancel"), &json!({})).succeeded();
    }
    let answer = many(&server, "purge", &json!({"filter": {"agent": id, "workflow": "one"}}));
    assert_eq!(answer["matched"], 1, "the agent has had a task of one of them only: {answer}");
    let answer = many(&server, "purge", &json!({"filter": {"workflow": "one"}}));
    assert_eq!((&answer["matched"], &answer["done"]), (&json!(3), &json!(2)), "{answer}");
    assert_eq!(ids(answer["refused"].as_array().unwrap()), BTreeSet::from([held]));
    assert_eq!(server.all_pages(SESSIONS, 100).len(), 1);
}

fn a_filter_that_says_nothing_is_refused(database: &Database) {
    let server = Server::start(database);
    for verb in ["pause", "resume", "cancel", "retry", "rerun", "purge"] {
        let path = format!("{SESSIONS}/{verb}");
        assert_eq!(server.post(&path, &json!({"filter": {}})).faults(), ["/filter"]);
        let body = json!({"filter": {"status": "done", "since": "noon"}, "cursor": "x"});
        assert_eq!(server.post(&path, &body).faults(), ["/cursor", "/filter/since", "/filter/status"]);
    }
    assert_eq!(items(&server.get(SESSIONS).is(200)), Vec::<Value>::new());
}

fn a_tenant_says_how_long_it_keeps_what_is_over(database: &Database) {
    let mut server = Server::start(database);
    let path = "/v1/opscore/retention";
    let operators = json!({"sessions": "30d", "events": "7d", "messages": "1d"});
    let before = server.get(path).is(200);
    assert_eq!((&before["sessions"], &before["effective"]), (&Value::Null, &operators));
    let put = |server: &Server, body: &Value| server.send(Request::new("PUT", path).json(body));
    let set = put(&server, &json!({"sessions": "2h", "messages": 90})).is(200);
    server.kill();
    server.restart();
    assert_eq!(server.get(path).is(200), set);
    assert_eq!(set["effective"], json!({"sessions": "2h", "events": "7d", "messages": "1m30s"}));
    assert_eq!((&set["sessions"], &set["events"]), (&json!("2h"), &Value::Null));
    let wrong = put(&server, &json!({"sessions": "for ever", "events": -1}));
    assert_eq!(wrong.faults(), ["/events", "/sessions"]);
    let log = server.all_pages("/v1/opscore/logs?text=sessionsSeconds", 10);
    assert_eq!(log.len(), 1, "each change is in the log: {log:?}");
}
