//! `POST /v1/opscore/internal/agent/notify`: the receiver of the webhook.

use serde_json::{Value, json};

use crate::support::{
    Agent, Database, PATIENCE, Request, Response, Server, Setup, hmac_hex, iso, iso_from_now,
    on_each_database, unix_seconds,
};

on_each_database![
    a_signed_notification_registers_an_agent,
    the_raw_bytes_are_what_is_signed,
    both_forms_of_the_timestamp_are_taken,
    what_is_not_properly_signed_is_refused,
    a_stale_one_is_refused,
    a_replay_is_refused_also_after_a_restart,
    a_known_agent_is_updated,
    deregistration_removes_the_agent,
    what_makes_no_sense_is_refused,
    without_a_secret_loopback_is_trusted,
    what_the_server_relays_to_itself_is_refused,
    no_more_agents_are_told_of_than_there_may_be,
];

const NOTIFY: &str = "/v1/opscore/internal/agent/notify";
const SECRET: &str = "shared-secret";

fn receiving(database: &Database) -> Server {
    Setup::new(database).env("OPSCORE_WEBHOOK_SECRET", SECRET).start()
}

fn event(kind: &str, id: &str, version: &str) -> Value {
    json!({"event_type": kind, "agent_details": {
        "agentId": id, "agentName": format!("name of {id}"), "version": version, "capabilities": ["read"],
        "contactEndpoint": "http://127.0.0.1:9/run", "metadata": {"from": "agentkit"},
        "registrationTime": "2024-01-01T12:00:00Z",
    }})
}

fn signed(timestamp: &str, body: &str) -> Request {
    let signature = hmac_hex(SECRET.as_bytes(), format!("{timestamp}.{body}").as_bytes());
    Request::new("POST", NOTIFY)
        .header("x-agentkit-timestamp", timestamp)
        .header("x-agentkit-signature", signature)
        .body("application/json", body)
}

/// Sends without any key: the signature is what counts.
fn notify(server: &Server, body: &Value) -> Response {
    server.without_key().send(signed(&unix_seconds().to_string(), &body.to_string()))
}

fn is_known(server: &Server, id: &str) -> bool {
    match server.get(&format!("/v1/agents/{id}")) {
        found if found.status == 200 => true,
        missing => {
            missing.absent();
            false
        }
    }
}

fn a_signed_notification_registers_an_agent(database: &Database) {
    let mut server = receiving(database);
    let answer = notify(&server, &event("REGISTER", "agent-1", "1.0")).is(200);
    assert_eq!(answer["status"], "success");
    let message = answer["message"].as_str().unwrap();
    assert!(message.starts_with("Agent ") && message.ends_with("registered successfully."), "{message}");
    server.kill();
    server.restart();
    let agent = server.get("/v1/agents/agent-1").is(200)["data"].clone();
    let sent = event("REGISTER", "agent-1", "1.0")["agent_details"].clone();
    for name in ["agentName", "version", "capabilities", "contactEndpoint", "metadata"] {
        assert_eq!(agent[name], sent[name], "{name}");
    }
    server.report("agent-1", "idle", &Value::Null);
}

fn the_raw_bytes_are_what_is_signed(database: &Database) {
    let server = receiving(database);
    let now = unix_seconds().to_string();
    let pretty = serde_json::to_string_pretty(&event("REGISTER", "pretty", "1")).unwrap();
    server.without_key().send(signed(&now, &pretty)).is(200);
    let compact = event("REGISTER", "compact", "1").to_string();
    let mut tampered = signed(&now, &compact);
    tampered.body = Some(compact.replace("compact", "changed").into_bytes());
    server.without_key().send(tampered).problem(401);
    assert!(is_known(&server, "pretty") && !is_known(&server, "changed") && !is_known(&server, "compact"));
}

fn both_forms_of_the_timestamp_are_taken(database: &Database) {
    let server = receiving(database);
    let naive = iso()[..19].to_owned();
    let offset = format!("{naive}+00:00");
    for (index, timestamp) in [unix_seconds().to_string(), iso(), naive, offset].iter().enumerate() {
        let body = event("REGISTER", &format!("agent-{index}"), "1").to_string();
        server.without_key().send(signed(timestamp, &body)).is(200);
    }
}

fn what_is_not_properly_signed_is_refused(database: &Database) {
    let server = receiving(database);
    let now = unix_seconds().to_string();
    let body = event("REGISTER", "forged", "1").to_string();
    let good = signed(&now, &body);
    let with = |name: &str, value: Option<&str>| {
        let mut request = good.clone();
        request.headers.retain(|(known, _)| known != name);
        match value {
            Some(value) => request.header(name, value),
            None => request,
        }
    };
    let other = hmac_hex(b"another secret", format!("{now}.{body}").as_bytes());
    let requests = [
        with("x-agentkit-signature", Some(&other)),
        with("x-agentkit-signature", Some("")),
        with("x-agentkit-signature", Some("zz")),
        with("x-agentkit-signature", None),
        with("x-agentkit-timestamp", None),
        with("x-agentkit-timestamp", Some("soon")),
        with("x-agentkit-timestamp", Some(&(unix_seconds() - 1).to_string())),
    ];
    for request in requests {
        server.without_key().send(request).problem(401);
    }
    assert!(!is_known(&server, "forged"));
    server.without_key().send(good).is(200);
}

fn a_stale_one_is_refused(database: &Database) {
    let server = receiving(database);
    let now = unix_seconds();
    let late = [(now - 330).to_string(), (now + 330).to_string(), "0".to_owned(), iso_from_now(-330)];
    for timestamp in late {
        let body = event("REGISTER", "stale", "1").to_string();
        server.without_key().send(signed(&timestamp, &body)).problem(401);
    }
    assert!(!is_known(&server, "stale"));
    let body = event("REGISTER", "in time", "1").to_string();
    server.without_key().send(signed(&(now - 240).to_string(), &body)).is(200);
}

fn a_replay_is_refused_also_after_a_restart(database: &Database) {
    let mut server = receiving(database);
    let now = unix_seconds().to_string();
    let register = signed(&now, &event("REGISTER", "once", "1").to_string());
    server.without_key().send(register.clone()).is(200);
    server.without_key().send(register.clone()).problem(401);
    notify(&server, &event("DEREGISTER", "once", "1")).is(200);
    server.without_key().send(register.clone()).problem(401);
    server.kill();
    server.restart();
    server.without_key().send(register).problem(401);
    assert!(!is_known(&server, "once"), "a recorded call does not bring it back");
}

fn a_known_agent_is_updated(database: &Database) {
    let server = receiving(database);
    notify(&server, &event("REGISTER", "agent-1", "1.0")).is(200);
    server.report("agent-1", "idle", &Value::Null);
    let mut newer = event("REGISTER", "agent-1", "2.0");
    newer["agent_details"]["capabilities"] = json!(["write"]);
    notify(&server, &newer).is(200);
    let agent = server.get("/v1/agents/agent-1").is(200)["data"].clone();
    assert_eq!((&agent["version"], &agent["capabilities"]), (&json!("2.0"), &json!(["write"])));
    assert_eq!(server.all_pages("/v1/agents", 10).len(), 1);
}

fn deregistration_removes_the_agent(database: &Database) {
    let server = receiving(database);
    notify(&server, &event("REGISTER", "leaving", "1")).is(200);
    let answer = notify(&server, &event("DEREGISTER", "leaving", "1")).is(200);
    assert_eq!(answer["status"], "success");
    assert!(!is_known(&server, "leaving"));
    let problem = server.try_report("leaving", "idle", &Value::Null, &iso()).absent();
    assert!(problem.detail.contains("Agent not found: leaving"), "{}", problem.detail);
}

fn what_makes_no_sense_is_refused(database: &Database) {
    let server = receiving(database);
    notify(&server, &event("RENAME", "x", "1")).problem(400);
    let wrong = json!({"event_type": "REGISTER", "agent_details": {"agentId": 1, "capabilities": "read"}});
    let faults = notify(&server, &wrong).faults();
    for pointer in ["agentId", "agentName", "version", "capabilities"] {
        let pointer = format!("/agent_details/{pointer}");
        assert!(faults.contains(&pointer), "{pointer}: {faults:?}");
    }
    assert_eq!(notify(&server, &json!({})).faults(), ["/agent_details", "/event_type"]);
    let now = unix_seconds().to_string();
    server.without_key().send(signed(&now, "{not json")).problem(400);
}

fn without_a_secret_loopback_is_trusted(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let mut body = event("REGISTER", "trusted", "1");
    body["agent_details"]["contactEndpoint"] = json!(agent.url());
    server.without_key().post(NOTIFY, &body).is(200);
    server.run("trusted", &json!({"n": 1}));
    assert_eq!(agent.next().json()["payload"]["n"], 1);
}

fn what_the_server_relays_to_itself_is_refused(database: &Database) {
    let server = Server::start(database);
    let open = server.without_key();
    open.post(NOTIFY, &event("REGISTER", "victim", "1")).is(200);
    let relay = open.register_at("relay", &server.url(NOTIFY), &[]);
    let body = json!({
        "senderId": "s", "messageType": "x", "payload": {},
        "event_type": "DEREGISTER", "agent_details": {"agentId": "victim"},
    });
    let sent = open.post(&format!("/v1/agents/{relay}/run"), &body).is(202);
    let message = sent["data"]["messageId"].as_str().expect("an id");
    open.message_becomes(message, "dead", PATIENCE);
    assert!(is_known(&server, "victim"), "a message of anybody's does not speak for the AgentKit service");
}

fn no_more_agents_are_told_of_than_there_may_be(database: &Database) {
    let server =
        Setup::new(database).env("OPSCORE_WEBHOOK_SECRET", SECRET).arg("--limit-agents").arg("1").start();
    notify(&server, &event("REGISTER", "agt_one", "1")).succeeded();
    let over = notify(&server, &event("REGISTER", "agt_two", "1")).problem(429);
    assert!(over.detail.contains("agents of 1"), "{over:?}");
    assert!(!is_known(&server, "agt_two"));
    notify(&server, &event("REGISTER", "agt_one", "2")).succeeded();
    let usage = server.get("/api/v1/usage-metrics?days=1").is(200);
    assert_eq!(usage["days"][0]["agents"], 1, "{usage}");
    notify(&server, &event("DEREGISTER", "agt_one", "2")).succeeded();
    notify(&server, &event("REGISTER", "agt_two", "1")).succeeded();
}
