//! Clocks that differ: agents whose time is not the server's, and nodes whose time is not the database's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Database, PATIENCE, Server, Setup, eventually, iso, iso_from_now, now,
    on_each_database, task_of,
};

on_each_database![
    reports_from_any_year_are_kept,
    a_task_settles_whatever_its_agents_clock_says,
    an_attempt_that_is_given_more_time_is_sent_at_once,
];

fn reports_from_any_year_are_kept(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("time traveller", "http://127.0.0.1:9/run", &[]);
    let times =
        ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "9998-12-31T00:00:00Z"];
    for (n, time) in times.into_iter().enumerate() {
        server.try_report(&id, "idle", &json!({"n": n}), time).is(202);
        let shown = server.get(&format!("/v1/opscore/agent/{id}/state")).is(200);
        assert_eq!(shown["details"]["n"], n);
        assert!(shown["timestamp"].as_str().is_some_and(|shown| shown[..19] == time[..19]), "{shown}");
    }
    server.try_report(&id, "busy", &Value::Null, &iso()).is(202);
    assert_eq!(server.get(&format!("/v1/opscore/agent/{id}/state")).is(200)["details"]["n"], 3);
    for time in ["+999999-01-01T00:00:00Z", "99999999999999999999", "2024-02-30T00:00:00Z"] {
        assert_eq!(server.try_report(&id, "idle", &Value::Null, time).faults(), ["/timestamp"], "{time}");
    }
}

fn a_task_settles_whatever_its_agents_clock_says(database: &Database) {
    let server = Server::start(database);
    for (n, (active, done)) in [(0, -86_400), (86_400, 0), (-86_400, -172_800)].into_iter().enumerate() {
        let agent = Agent::start();
        let id = server.register(&format!("agent {n}"), &agent, &[]);
        let definition =
            json!({"id": format!("w{n}"), "name": "W", "tasks": [{"taskId": "t", "agentId": id}]});
        let session = server.trigger(&id, &definition, &json!({}));
        let details = json!({"opscore_task_id": task_of(&agent.next()), "result": n});
        server.try_report(&id, "active", &details, &iso_from_now(active)).is(202);
        server.try_report(&id, "completed", &details, &iso_from_now(done)).is(202);
        assert_eq!(server.session_becomes(&session, "completed")["tasks"][0]["result"], n);
    }
}

#[test]
fn nodes_work_by_the_databases_time_and_say_that_theirs_is_another() {
    let Some(database) = Database::postgres("a database whose clock is ahead") else { return };
    database.set_clock_ahead("2 hours");
    let nodes = [Server::start(&database), Server::start(&database)];
    let an_hour_ahead = iso_from_now(3_600);
    for (number, node) in nodes.iter().enumerate() {
        let ready = node.get("/ready").is(200);
        let warning = ready["warnings"][0].as_str().unwrap_or_default().to_owned();
        assert!(warning.contains("behind the database's"), "{ready}");
        let agent = Agent::start();
        let id = node.register(&format!("agent {number}"), &agent, &[]);
        let message = node.run(&id, &json!({"n": 1}));
        node.message_becomes(&message, "delivered", PATIENCE);
        let sent = nodes[0].get(&format!("/v1/messages/{message}")).is(200);
        assert!(sent["data"]["createdAt"].as_str().is_some_and(|at| at > an_hour_ahead.as_str()), "{sent}");
    }
}

/// Its time was over by what tasks were given before the restart; by what they are given now it is not.
fn an_attempt_that_is_given_more_time_is_sent_at_once(database: &Database) {
    const BEFORE: Duration = Duration::from_secs(3);
    let is_ready = Arc::new(AtomicBool::new(false));
    let ready = Arc::clone(&is_ready);
    let agent = Agent::answering(move |_, _| {
        AgentReply::Status(if ready.load(Ordering::SeqCst) { 200 } else { 503 })
    });
    let setup = Setup::new(database);
    let mut server = setup.clone().arg("--task-timeout").arg("3s").start();
    let id = server.register("slow to start", &agent, &[]);
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "t", "agentId": id}]});
    server.trigger(&id, &definition, &json!({}));
    agent.next();
    server.kill();
    let killed = now().instant;
    eventually("the end of the time that it had", || {
        let passed = now().instant - killed;
        if passed > BEFORE { Ok(()) } else { Err(format!("{passed:?}")) }
    });
    is_ready.store(true, Ordering::SeqCst);
    let tried = agent.count();
    let _server = setup.arg("--task-timeout").arg("1h").start();
    // Held back by the lease of its timer, it would come after a minute.
    eventually("the attempt", || if agent.count() > tried { Ok(()) } else { Err("nothing came".to_owned()) });
}
