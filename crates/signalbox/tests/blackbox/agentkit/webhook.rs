//! The webhook to Ops-Core: signed, durable, and never in the way of a registration.

use serde_json::{Value, json};

use crate::support::{
    AFTER_A_CRASH, Agent, AgentReply, Database, Delivery, PLATFORM_KEY, Request, Server, Setup, eventually,
    hmac_base64, hmac_hex, items, on_each_database, unix_seconds,
};

on_each_database![
    registration_and_deregistration_are_told_and_signed,
    standard_webhooks_headers_are_signed_too,
    capabilities_are_told_as_strings,
    a_trace_is_carried_on_to_the_receiver,
    a_receiver_that_is_down_is_told_later,
    an_untold_registration_survives_a_kill,
    a_refused_webhook_is_a_dead_letter_and_fails_nothing,
    without_a_secret_nothing_is_sent_unsigned,
    only_agents_of_the_default_tenant_are_told,
    the_rules_for_what_clients_name_do_not_hold_for_it,
];

const SECRET: &str = "webhook-secret-äöü";

fn telling(database: &Database, receiver: &Agent) -> Server {
    setup(database, receiver).start()
}

fn setup(database: &Database, receiver: &Agent) -> Setup {
    Setup::new(database).env("OPSCORE_WEBHOOK_URL", receiver.url()).env("OPSCORE_WEBHOOK_SECRET", SECRET)
}

fn assert_signed(call: &Delivery) {
    let timestamp = call.header("x-agentkit-timestamp");
    let seconds: i64 = timestamp.parse().expect("Unix seconds");
    assert!((unix_seconds() - seconds).abs() <= 120, "{timestamp}");
    let signed = [timestamp.as_bytes(), b".", &call.body].concat();
    assert_eq!(call.header("x-agentkit-signature"), hmac_hex(SECRET.as_bytes(), &signed));
}

fn registration_and_deregistration_are_told_and_signed(database: &Database) {
    let receiver = Agent::start();
    let server = telling(database, &receiver);
    let sent = json!({
        "agentName": "told: \"ü\"", "version": "1.0", "contactEndpoint": "http://127.0.0.1:9/run",
        "capabilities": ["read", "write"], "metadata": {"k": [1, {"x": null}]},
    });
    let id = server.post("/v1/agents/register", &sent).is(201)["data"]["agentId"].clone();
    let call = receiver.next();
    assert_signed(&call);
    assert!(call.header("content-type").starts_with("application/json"));
    assert!(!call.body.contains(&b'\n'), "compact JSON");
    assert!(String::from_utf8_lossy(&call.body).contains("\"event_type\":\"REGISTER\""), "compact JSON");
    let told = call.json();
    assert_eq!(told["event_type"], "REGISTER");
    let details = &told["agent_details"];
    assert_eq!(details["agentId"], id);
    for name in ["agentName", "version", "capabilities", "contactEndpoint", "metadata"] {
        assert_eq!(details[name], sent[name], "{name}");
    }
    assert!(details["registrationTime"].is_string(), "{details}");

    server.delete(&format!("/v1/agents/{}", id.as_str().unwrap())).succeeded();
    let call = receiver.next();
    assert_signed(&call);
    assert_eq!(call.json()["event_type"], "DEREGISTER");
    assert_eq!(call.json()["agent_details"]["agentId"], id);
    assert_ne!(call.header("x-message-id"), receiver.all()[0].header("x-message-id"));
}

fn standard_webhooks_headers_are_signed_too(database: &Database) {
    let receiver = Agent::start();
    let server = telling(database, &receiver);
    server.register_at("told", "http://127.0.0.1:9/run", &[]);
    let call = receiver.next();
    let (id, timestamp) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    assert!(!id.is_empty());
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &call.body].concat();
    let expected = format!("v1,{}", hmac_base64(SECRET.as_bytes(), &signed));
    let signatures: Vec<_> = call.header("webhook-signature").split(' ').map(str::to_owned).collect();
    assert!(signatures.contains(&expected), "{signatures:?} has no {expected}");
}

fn capabilities_are_told_as_strings(database: &Database) {
    let receiver = Agent::start();
    let server = telling(database, &receiver);
    let sent = json!({
        "agentName": "rich", "version": "1", "contactEndpoint": "http://127.0.0.1:9/run",
        "capabilities": [{"name": "read", "description": "Reads."}, "write"],
    });
    server.post("/v1/agents/register", &sent).is(201);
    assert_eq!(receiver.next().json()["agent_details"]["capabilities"], json!(["read", "write"]));
}

fn a_trace_is_carried_on_to_the_receiver(database: &Database) {
    let receiver = Agent::start();
    let server = telling(database, &receiver);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let body = json!({"agentName": "traced", "version": "1", "capabilities": []});
    let request = Request::post("/v1/agents/register", &body);
    server.send(request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))).is(201);
    let carried = receiver.next().header("traceparent").to_owned();
    assert!(carried.starts_with(&format!("00-{trace}-")), "{carried:?}");
}

fn a_receiver_that_is_down_is_told_later(database: &Database) {
    let mut receiver = Agent::first([AgentReply::Status(500)]);
    let server = telling(database, &receiver);
    receiver.stop();
    let id = server.register_at("early", "http://127.0.0.1:9/run", &[]);
    receiver.resume();
    let refused = receiver.next();
    let accepted = receiver.next();
    for call in [&refused, &accepted] {
        assert_eq!(call.json()["agent_details"]["agentId"], id.as_str());
        assert_signed(call);
    }
    assert_eq!(accepted.header("webhook-id"), refused.header("webhook-id"), "the same call again");
}

fn an_untold_registration_survives_a_kill(database: &Database) {
    let mut receiver = Agent::start();
    let mut server = telling(database, &receiver);
    receiver.stop();
    let id = server.register_at("kept", "http://127.0.0.1:9/run", &[]);
    server.kill();
    receiver.resume();
    server.restart();
    let call = receiver.next_within(AFTER_A_CRASH);
    assert_eq!(call.json()["agent_details"]["agentId"], id.as_str());
    assert_signed(&call);
}

fn a_refused_webhook_is_a_dead_letter_and_fails_nothing(database: &Database) {
    let receiver = Agent::answering(|_, _| AgentReply::Status(401));
    let server = telling(database, &receiver);
    let id = server.register_at("unwanted", "http://127.0.0.1:9/run", &[]);
    receiver.next();
    let letter = eventually("the webhook to be a dead letter", || {
        let list = server.get("/v1/dead-letters?kind=webhook").is(200);
        items(&list).pop().ok_or_else(|| list.to_string())
    });
    assert_eq!(letter["body"]["event_type"], "REGISTER", "{letter}");
    assert_eq!(server.get(&format!("/v1/agents/{id}")).is(200)["data"]["agentName"], "unwanted");
    assert!(!server.stderr().contains(SECRET) && !letter.to_string().contains(SECRET));
}

/// Half a configuration is either told at once, or sends nothing.
fn without_a_secret_nothing_is_sent_unsigned(database: &Database) {
    let receiver = Agent::start();
    let server = match Setup::new(database).env("OPSCORE_WEBHOOK_URL", receiver.url()).try_start() {
        Ok(server) => server,
        Err(refused) => {
            assert!(refused.stderr.to_uppercase().contains("OPSCORE_WEBHOOK_SECRET"), "{}", refused.stderr);
            return;
        }
    };
    let agent = Agent::start();
    let id = server.register("untold", &agent, &[]);
    server.run(&id, &Value::from(serde_json::Map::new()));
    agent.next();
    assert_eq!(receiver.count(), 0);
    assert_eq!(items(&server.get("/v1/dead-letters").is(200)), [Value::Null; 0]);
}

/// The receiver knows no other tenant, and would take another's agents for its own.
fn only_agents_of_the_default_tenant_are_told(database: &Database) {
    let receiver = Agent::start();
    let server = setup(database, &receiver).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "acme"})).succeeded();
    let acme = server.with_key(made["api_key"].as_str().expect("a key"));
    let theirs = acme.register_at("theirs", "http://127.0.0.1:9/run", &[]);
    acme.delete(&format!("/v1/agents/{theirs}")).succeeded();
    let ours = server.register_at("ours", "http://127.0.0.1:9/run", &[]);
    assert_eq!(receiver.next().json()["agent_details"]["agentId"], ours.as_str(), "it is told first");
    assert_eq!(receiver.count(), 1);
}

fn the_rules_for_what_clients_name_do_not_hold_for_it(database: &Database) {
    let receiver = Agent::start();
    let server =
        setup(database, &receiver).arg("--egress-forbid-loopback").arg("--egress-forbid-private").start();
    let agent = json!({"agentName": "a", "version": "1", "capabilities": []});
    server.post("/v1/agents", &agent).is(201);
    assert_eq!(receiver.next().json()["event_type"], "REGISTER");
    let inside =
        json!({"agentName": "b", "version": "1", "capabilities": [], "contactEndpoint": receiver.url()});
    assert_eq!(server.post("/v1/agents", &inside).faults(), ["/contactEndpoint"]);
}
