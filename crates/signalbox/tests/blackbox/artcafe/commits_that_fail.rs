//! Connections of which the beginning, or the end, is not committed: what is shown and what is held must agree afterwards.
//! PostgreSQL refuses the writes by a trigger that the test puts there, so all else is as it always is.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{Api, Database, Deployment, PATIENCE, Server, Setup, eventually, now};

/// The code of a fault that nobody knows.
const FAULT: &str = "P0001";
/// What the store takes for a conflict, whenever it tries: another row has what is to be unique.
const CONFLICT: &str = "23505";

/// A write with which an agent connects.
const CONNECTS: &str = "NEW.node IS NOT NULL AND NEW.body::json #>> '{connection,id}' \
                        IS DISTINCT FROM OLD.body::json #>> '{connection,id}'";
/// A write with which an agent's connection ends.
const ENDS: &str = "NEW.node IS NULL AND OLD.node IS NOT NULL";

/// From now on the database refuses, with this code, the writes of agents' statuses that this is true of.
fn refuse(database: &Database, which: &str, code: &str) {
    database.execute(&format!(
        "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'the test refuses it' USING ERRCODE = '{code}'; END $$; \
         CREATE TRIGGER refused BEFORE UPDATE ON agent_statuses FOR EACH ROW WHEN ({which}) \
         EXECUTE FUNCTION refused()"
    ));
}

/// It refuses nothing any more.
fn accept(database: &Database) {
    database.execute("DROP TRIGGER refused ON agent_statuses; DROP FUNCTION refused()");
}

fn agent(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/agents/{id}")).is(200)
}

#[track_caller]
fn becomes(api: &Api, id: &str, status: &str) -> Value {
    eventually("the agent's status", || {
        let agent = agent(api, id);
        if agent["status"] == status { Ok(agent) } else { Err(agent.to_string()) }
    })
}

/// The first look at who is connected comes a second after the start; the next takes longer than a test waits.
const LOOKED: Duration = Duration::from_secs(2);

/// A connection takes over from another and is not committed, for a reason of this code.
fn takes_over_in_vain(database: &Database, api: &Api, id: &str, code: &str) {
    let mut first = Socket::connect(api, id);
    first.answers_pings = false;
    becomes(api, id, "online");
    let kept = api.run(id, &json!({"n": 1}));
    assert_eq!(first.expect("message")["id"], kept);
    refuse(database, CONNECTS, code);
    let mut second = Socket::connect(api, id);
    assert_eq!(second.end(), Some(1013), "it is told that it did not come about");
    assert_eq!(first.end(), Some(4001), "it had made room");
    // Nobody holds a connection, and nobody is shown as connected.
    let offline = becomes(api, id, "offline");
    assert!(offline["connection_id"].is_null() && offline["connected"] == false, "{offline}");
    eventually("no connection to be counted", || {
        let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
        let none = "signalbox_agent_connections{kind=\"websocket\"} 0";
        if metrics.contains(none) { Ok(()) } else { Err(metrics) }
    });
    accept(database);
    let mut third = Socket::connect(api, id);
    third.done("status", &json!({"status": "online"}));
    becomes(api, id, "online");
    // What the first had not acknowledged went over the second to nobody: it is not lost.
    assert_eq!(third.expect("message")["id"], kept);
    third.send("ack", &json!({"message_id": kept}));
    api.message_becomes(&kept, "delivered", PATIENCE);
}

#[test]
fn a_takeover_that_the_store_does_not_take_leaves_nobody_connected() {
    let Some(database) = Database::postgres("a takeover that is not committed") else { return };
    let server = Server::start(&database);
    let started = now().instant;
    let api = server.api();
    for number in 0.. {
        // The last one begins when nothing but the end of the first connection can tell of it.
        let is_last = started.elapsed() > LOOKED;
        let id = register(&api, &format!("a{number}"));
        takes_over_in_vain(&database, &api, &id, FAULT);
        if is_last {
            return;
        }
        becomes(&api, &id, "offline");
    }
}

#[test]
fn a_takeover_that_always_conflicts_leaves_nobody_connected() {
    let Some(database) = Database::postgres("a takeover that always conflicts") else { return };
    let server = Server::start(&database);
    let id = register(&server.api(), "a");
    takes_over_in_vain(&database, &server.api(), &id, CONFLICT);
}

#[test]
fn a_takeover_on_another_node_that_is_not_committed_leaves_the_connection_that_there_is() {
    let Some(deployment) = Deployment::new("a takeover on another node in vain") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    let id = register(&one.api(), "mover");
    let mut first = Socket::connect(&one.api(), &id);
    let before = becomes(&two.api(), &id, "online");
    refuse(&deployment.database, CONNECTS, FAULT);
    for _ in 0..2 {
        let mut second = Socket::connect(&two.api(), &id);
        assert_eq!(second.end(), Some(1013));
    }
    first.done("status", &json!({"status": "online"}));
    for node in [&one, &two] {
        let now = agent(&node.api(), &id);
        assert_eq!((&now["connection_id"], &now["connected"]), (&before["connection_id"], &json!(true)));
    }
    // The node that could not take over does not stand between: what it sends goes to the one that holds the agent.
    let message = two.run(&id, &json!({"n": 1}));
    assert_eq!(first.expect("message")["id"], message);
    first.has_no_message();
    two.message_becomes(&message, "delivered", PATIENCE);
    accept(&deployment.database);
    let mut second = Socket::connect(&two.api(), &id);
    assert_eq!(first.end(), Some(4001));
    second.done("status", &json!({"status": "online"}));
}

/// Agents of a server that is killed, and what stands in the way of the end of some of their connections before it is back:
/// the server, and the ids of the agents.
fn killed(database: &Database, in_the_way: impl FnOnce(&[String; 5])) -> (Server, [String; 5]) {
    let mut server = Setup::new(database).arg("--heartbeat-interval").arg("1s").start();
    let api = server.api();
    let ids = ["a", "b", "c", "d", "e"].map(|name| register(&api, name));
    let sockets = ids.each_ref().map(|id| Socket::connect(&api, id));
    ids.iter().for_each(|id| drop(becomes(&api, id, "online")));
    server.kill();
    drop(sockets);
    in_the_way(&ids);
    server.restart();
    (server, ids)
}

/// That the end of one connection was not written down is told, with whose it is.
#[track_caller]
fn is_told(server: &Server, id: &str) {
    let log = server.stderr();
    let told = log.lines().find(|line| line.contains("the end of a connection was not written down"));
    assert!(told.is_some_and(|line| line.contains(id)), "{log}");
}

#[test]
fn an_end_that_always_conflicts_keeps_no_other_dead_connection() {
    let Some(database) = Database::postgres("a dead connection whose end conflicts") else { return };
    let in_the_way = |ids: &[String; 5]| {
        refuse(&database, &format!("{ENDS} AND NEW.agent = '{}'", ids[1]), CONFLICT);
    };
    let (server, ids) = killed(&database, in_the_way);
    let api = server.api();
    for id in [&ids[0], &ids[2], &ids[3], &ids[4]] {
        becomes(&api, id, "offline");
    }
    // All were to end at once, so it is this one that kept the others; it is told, and tried again.
    assert_eq!(agent(&api, &ids[1])["connected"], true);
    is_told(&server, &ids[1]);
    accept(&database);
    becomes(&api, &ids[1], "offline");
    Socket::connect(&api, &ids[1]).done("status", &json!({"status": "online"}));
}

#[test]
fn statuses_that_cannot_be_read_keep_no_other_dead_connection() {
    let Some(database) = Database::postgres("dead connections that cannot be read") else { return };
    let in_the_way = |ids: &[String; 5]| {
        // One that says which connection it is, and one that does not.
        for (id, body) in [(&ids[1], r#"{"connection":{"id":"con_damaged"}}"#), (&ids[3], "[]")] {
            database.execute(&format!("UPDATE agent_statuses SET body = '{body}' WHERE agent = '{id}'"));
        }
    };
    let (server, ids) = killed(&database, in_the_way);
    let api = server.api();
    for id in [&ids[0], &ids[2], &ids[4]] {
        becomes(&api, id, "offline");
    }
    is_told(&server, &ids[1]);
}
