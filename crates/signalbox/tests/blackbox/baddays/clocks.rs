//! Clocks that jump, as far as they can be seen from outside: agents whose time is not the server's.

use serde_json::{Value, json};

use crate::support::{Agent, Database, Server, iso, iso_from_now, on_each_database, task_of};

on_each_database![reports_from_any_year_are_kept, a_task_settles_whatever_its_agents_clock_says,];

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
