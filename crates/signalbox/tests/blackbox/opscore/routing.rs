//! Which agent gets a task, when it waits for one, and what happens when its agent goes away.

use serde_json::{Value, json};

use crate::support::{Agent, Database, Server, on_each_database, task_of};

on_each_database![
    a_task_waits_for_an_agent_that_comes_later,
    agents_take_turns,
    an_agent_has_one_task_at_a_time,
    an_agent_that_is_not_available_gets_nothing,
    a_draining_agent_finishes_and_gets_nothing_new,
    a_task_of_a_restarted_agent_is_given_again,
    a_task_of_a_removed_agent_goes_to_another,
    a_task_that_names_a_removed_agent_says_why_it_ends,
];

fn by_capability(capability: &str) -> Value {
    json!({"id": format!("by-{capability}"), "name": "By capability",
           "tasks": [{"taskId": "only", "agentCapability": capability}]})
}

/// A session's only task.
fn task(server: &Server, session: &str) -> Value {
    server.session(session)["tasks"][0].clone()
}

fn a_task_waits_for_an_agent_that_comes_later(database: &Database) {
    let mut server = Server::start(database);
    let starter = server.register_at("starter", "http://127.0.0.1:9/run", &[]);
    let session = server.trigger(&starter, &by_capability("rare"), &json!({"n": 1}));
    let waiting = server.session(&session);
    assert!(["started", "running"].contains(&waiting["status"].as_str().unwrap()), "{waiting}");
    assert!(waiting.to_string().contains("rare"), "it says what it waits for: {waiting}");
    server.kill();
    server.restart();
    let agent = Agent::start();
    let id = server.register("rare one", &agent, &["rare"]);
    let given = agent.next();
    assert_eq!(given.json()["payload"]["n"], 1);
    server.complete(&id, &given, &Value::Null);
    server.session_becomes(&session, "completed");
}

fn agents_take_turns(database: &Database) {
    let server = Server::start(database);
    let agents = [Agent::start(), Agent::start()];
    let ids = [server.register("a", &agents[0], &["read"]), server.register("b", &agents[1], &["read"])];
    let mut turns = Vec::new();
    for _ in 0..6 {
        let session = server.trigger(&ids[0], &by_capability("read"), &json!({}));
        let chosen = task(&server, &session)["agentId"].as_str().expect("it has an agent at once").to_owned();
        let index = ids.iter().position(|id| *id == chosen).expect("one of the two");
        server.complete(&ids[index], &agents[index].next(), &Value::Null);
        server.session_becomes(&session, "completed");
        turns.push(index);
    }
    assert!(
        turns.windows(2).all(|pair| pair[0] != pair[1]),
        "the least recently used comes first: {turns:?}"
    );
}

fn an_agent_has_one_task_at_a_time(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("only one", &agent, &["read"]);
    let first = server.trigger(&id, &by_capability("read"), &json!({"n": 1}));
    let second = server.trigger(&id, &by_capability("read"), &json!({"n": 2}));
    let given = agent.next();
    assert_eq!(given.json()["payload"]["n"], 1, "first come, first served");
    server.report(&id, "active", &json!({"opscore_task_id": task_of(&given)}));
    assert_eq!(task(&server, &first)["status"], "running");
    assert_eq!(task(&server, &second)["agentId"], Value::Null);
    assert_eq!(agent.count(), 1);
    server.complete(&id, &given, &Value::Null);
    let given = agent.next();
    assert_eq!(given.json()["payload"]["n"], 2);
    server.complete(&id, &given, &Value::Null);
    server.session_becomes(&first, "completed");
    server.session_becomes(&second, "completed");
}

fn an_agent_that_is_not_available_gets_nothing(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("moody", &agent, &["read"]);
    for word in ["offline", "initializing", "Busy", "active", "daydreaming", "error"] {
        server.report(&id, word, &Value::Null);
        let session = server.trigger(&id, &by_capability("read"), &json!({"word": word}));
        assert_eq!(task(&server, &session)["agentId"], Value::Null, "given to one that is {word}");
        server.report(&id, "IDLE", &Value::Null);
        let given = agent.next();
        assert_eq!(given.json()["payload"]["word"], word);
        server.complete(&id, &given, &Value::Null);
        server.session_becomes(&session, "completed");
    }
}

fn a_draining_agent_finishes_and_gets_nothing_new(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("draining", &agent, &["read"]);
    let first = server.trigger(&id, &by_capability("read"), &json!({"n": 1}));
    let given = agent.next();
    server.post(&format!("/v1/opscore/agent/{id}/drain"), &json!({})).succeeded();
    server.complete(&id, &given, &Value::Null);
    server.session_becomes(&first, "completed");
    let second = server.trigger(&id, &by_capability("read"), &json!({"n": 2}));
    assert_eq!(task(&server, &second)["agentId"], Value::Null);
    server.post(&format!("/v1/opscore/agent/{id}/undrain"), &json!({})).succeeded();
    let given = agent.next();
    assert_eq!(given.json()["payload"]["n"], 2);
    server.complete(&id, &given, &Value::Null);
    server.session_becomes(&second, "completed");
}

fn a_task_of_a_restarted_agent_is_given_again(database: &Database) {
    let server = Server::start(database);
    let old = Agent::start();
    let id = server.register("phoenix", &old, &["read"]);
    let session = server.trigger(&id, &by_capability("read"), &json!({"n": 1}));
    let first = old.next();
    server.report(&id, "active", &json!({"opscore_task_id": task_of(&first)}));

    let new = Agent::start();
    assert_eq!(server.replace("phoenix", &new.url(), &["read"]), id);
    let second = new.next();
    assert_eq!(second.json()["payload"], first.json()["payload"]);
    assert_ne!(second.header("x-message-id"), first.header("x-message-id"), "another attempt");

    // What the old process still says is about an attempt that is over.
    let late = json!({"opscore_task_id": task_of(&first), "result": "late"});
    server.report(&id, "completed", &late);
    let still = task(&server, &session);
    assert!(["dispatched", "running"].contains(&still["status"].as_str().unwrap()), "{still}");

    server.complete(&id, &second, &json!("second"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][0]["result"], "second");
    assert_eq!(old.count(), 1);
}

fn a_task_of_a_removed_agent_goes_to_another(database: &Database) {
    let server = Server::start(database);
    let (leaving, staying) = (Agent::start(), Agent::start());
    let leaving_id = server.register("leaving", &leaving, &["read"]);
    let session = server.trigger(&leaving_id, &by_capability("read"), &json!({"n": 1}));
    leaving.next();
    let staying_id = server.register("staying", &staying, &["read"]);
    server.delete(&format!("/v1/agents/{leaving_id}")).succeeded();
    let given = staying.next();
    assert_eq!(given.json()["payload"]["n"], 1);
    server.complete(&staying_id, &given, &json!("done"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["tasks"][0]["agentId"], staying_id.as_str());
}

fn a_task_that_names_a_removed_agent_says_why_it_ends(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("named", &agent, &[]);
    let definition = json!({"id": "named", "name": "Named", "tasks": [{"taskId": "only", "agentId": id}]});
    let session = server.trigger(&id, &definition, &json!({}));
    agent.next();
    server.delete(&format!("/v1/agents/{id}")).succeeded();
    let after = server.session(&session);
    let waits = after["tasks"][0]["waitingFor"].as_str().unwrap_or_default();
    let failed = after["error"].as_str().unwrap_or_default();
    assert!(waits.contains(&id) || failed.contains(&id), "it waits or fails, and says for whom: {after}");
    assert!(!["dispatched", "running"].contains(&after["tasks"][0]["status"].as_str().unwrap()), "{after}");
}
