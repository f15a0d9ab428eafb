//! A database that goes away and comes back: refusals in between, and nothing acknowledged is lost.

use serde_json::{Value, json};

use crate::support::{Agent, Api, Database, PATIENCE, Proxy, Server, Setup, eventually};

/// A server whose way to its database can be cut.
fn behind_proxy(database: &Database) -> (Proxy, Server) {
    let proxy = Proxy::start(database.address());
    let url = database.url_through(&proxy.address());
    (proxy, Setup::new(database).database(url).start())
}

fn register(api: &Api, name: &str) -> crate::support::Response {
    let body = json!({"agentName": name, "version": "1", "contactEndpoint": "http://127.0.0.1:9/run",
                      "capabilities": []});
    api.post("/v1/agents/register", &body)
}

#[test]
fn an_outage_of_the_database_is_503_and_passes() {
    let Some(database) = Database::postgres("an outage of the database") else { return };
    let (proxy, server) = behind_proxy(&database);
    let known = server.register_at("known", "http://127.0.0.1:9/run", &[]);
    let agent = Agent::start();
    let receiver = server.register("receiver", &agent, &[]);
    let mut kept = vec![known.clone()];
    for round in 0..3 {
        proxy.cut();
        for _ in 0..3 {
            register(&server, "lost").problem(503);
            // What cannot be looked up is not proven to be absent.
            server.get("/v1/agents/agent-nobody").problem(503);
            server.try_report("agent-nobody", "idle", &Value::Null, &crate::support::iso()).problem(503);
            server.get("/health").is(200);
            let failed = server.get("/v1/agents/agent-nobody");
            let id = failed.header("x-request-id").unwrap_or_default().to_owned();
            eventually("the reason of the failure beside its id", || {
                let log = server.stderr();
                let line = log.lines().find(|line| line.contains(&id) && line.contains("reason"));
                line.map(drop).ok_or(log.clone())
            });
            let unready = server.get("/ready").problem(503);
            assert!(unready.detail.contains("store"), "{}", unready.detail);
        }
        proxy.connect(&database.address().unwrap());
        let mut tries = 0;
        kept.push(eventually("a write that is accepted again", || {
            // A name of its own for each try: one whose answer was lost may have taken effect.
            tries += 1;
            let answer = register(&server, &format!("after outage {round}, try {tries}"));
            match answer.status {
                503 => Err(answer.shown()),
                _ => Ok(answer.is(201)["data"]["agentId"].as_str().unwrap().to_owned()),
            }
        }));
        server.report(&known, "idle", &json!({"round": round}));
        let message = server.run(&receiver, &json!({"round": round}));
        server.message_becomes(&message, "delivered", PATIENCE);
    }
    for id in &kept {
        server.get(&format!("/v1/agents/{id}")).is(200);
    }
    let history = server.all_pages(&format!("/v1/opscore/agent/{known}/history"), 100);
    assert_eq!(history.len(), 3);
    server.get("/v1/agents/agent-nobody").absent();
    server.get("/ready").is(200);
}

#[test]
fn work_goes_on_where_an_outage_interrupted_it() {
    let Some(database) = Database::postgres("work over an outage") else { return };
    let (proxy, server) = behind_proxy(&database);
    let agent = Agent::start();
    let id = server.register("worker", &agent, &[]);
    let definition = json!({"id": "two", "name": "Two", "tasks": [{"taskId": "a"}, {"taskId": "b"}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let a = agent.next();
    proxy.cut();
    let details = json!({"opscore_task_id": crate::support::task_of(&a), "result": "a"});
    server.try_report(&id, "completed", &details, &crate::support::iso()).problem(503);
    proxy.connect(&database.address().unwrap());
    eventually("the report to be accepted", || {
        let answer = server.try_report(&id, "completed", &details, &crate::support::iso());
        if answer.status == 202 { Ok(()) } else { Err(answer.shown()) }
    });
    // The first task may have been delivered again: its delivery could not be recorded.
    let b = loop {
        let delivery = agent.next_within(PATIENCE * 3);
        if crate::support::task_of(&delivery) != crate::support::task_of(&a) {
            break delivery;
        }
    };
    server.complete(&id, &b, &json!("b"));
    let done = server.session_becomes(&session, "completed");
    assert_eq!((&done["tasks"][0]["result"], &done["tasks"][1]["result"]), (&json!("a"), &json!("b")));
}
