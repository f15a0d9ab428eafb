//! `/api/v1/agents`: the agents of all surfaces in the words of this one.

use serde_json::{Value, json};

use crate::support::{Database, Request, Server, items, on_each_database};

on_each_database![
    an_agent_is_the_same_on_every_surface,
    an_agent_without_an_endpoint_is_offline_and_what_waits_for_it_says_why,
    a_status_is_a_report_of_the_state,
    lists_have_filters_and_tokens,
    what_does_not_fit_or_is_not_there_is_told,
];

fn put_status(server: &Server, id: &str, status: &str) -> Value {
    let body = json!({"status": status});
    server.send(Request::new("PUT", format!("/api/v1/agents/{id}/status")).json(&body)).is(200)
}

fn an_agent_is_the_same_on_every_surface(database: &Database) {
    let server = Server::start(database);
    let body = json!({
        "name": "worker 1", "type": "worker", "agent_id": "agent-123", "metadata": {"zone": "a"},
        "capabilities": ["read", {"name": "write", "description": "writes", "version": "2"}],
        "contact_endpoint": "http://127.0.0.1:9/run",
    });
    let made = server.post("/api/v1/agents", &body).is(201);
    assert_eq!(
        (&made["agent_id"], &made["name"], &made["type"]),
        (&json!("agent-123"), &json!("worker 1"), &json!("worker"))
    );
    assert_eq!((&made["status"], &made["metadata"]), (&json!("online"), &json!({"zone": "a"})));
    assert_eq!(made["capabilities"][1]["description"], "writes");
    assert_eq!(
        made["capabilities"][0],
        json!({"name": "read", "description": null, "parameters": null, "version": null})
    );
    let shown = server.get("/api/v1/agents/agent-123").is(200);
    assert_eq!((&shown["created_at"], &shown["capabilities"]), (&made["created_at"], &made["capabilities"]));
    assert!(shown["last_seen"].is_string(), "{shown}");
    let there = server.get("/v1/agents/agent-123").is(200)["data"].clone();
    assert_eq!((&there["agentName"], &there["metadata"]["type"]), (&json!("worker 1"), &json!("worker")));
    assert_eq!(there.get("presence"), None, "it has an endpoint");

    let other = server.register_at("other", "http://127.0.0.1:9/run", &["plan"]);
    let listed = server.get("/api/v1/agents").is(200);
    let names: Vec<&Value> =
        listed["agents"].as_array().unwrap().iter().map(|agent| &agent["name"]).collect();
    assert_eq!(names, ["worker 1", "other"]);
    assert_eq!(server.get(&format!("/api/v1/agents/{other}")).is(200)["type"], "agent");
    server.delete("/api/v1/agents/agent-123").succeeded();
    server.get("/v1/agents/agent-123").absent();
    server.post("/api/v1/agents", &json!({"name": "worker 1"})).is(201);
}

fn an_agent_without_an_endpoint_is_offline_and_what_waits_for_it_says_why(database: &Database) {
    let server = Server::start(database);
    let made = server.post("/api/v1/agents", &json!({"name": "remote"})).is(201);
    assert_eq!(
        (&made["status"], &made["connected"], &made["connected_since"]),
        (&json!("offline"), &json!(false), &Value::Null)
    );
    let id = made["agent_id"].as_str().unwrap().to_owned();
    let view = server.get(&format!("/v1/agents/{id}")).is(200)["data"].clone();
    assert_eq!((&view["presence"], view.get("presenceSince")), (&json!("offline"), None));
    let state = server.get(&format!("/v1/opscore/agent/{id}/state")).is(200);
    assert_eq!((&state["state"], &state["presence"]), (&json!("unknown"), &json!("offline")));

    let message = json!({"senderId": "s", "messageType": "hello", "payload": {}});
    let problem = server.post(&format!("/v1/agents/{id}/run"), &message).problem(400);
    assert!(problem.detail.contains("has not connected yet"), "{}", problem.detail);

    let definition = json!({"id": "w", "name": "w", "tasks": [{"taskId": "t", "agentId": id}]});
    let session = server.trigger(&id, &definition, &json!({}));
    let task = server.session(&session)["tasks"][0].clone();
    let why = task["waitingFor"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("to connect") && why.contains("has not connected yet"), "{task}");
    let events = server.get(&format!("/v1/opscore/sessions/{session}/events")).is(200);
    let told = items(&events).iter().any(|event| event.to_string().contains("has not connected yet"));
    assert!(told, "{events}");
    let log = server.get(&format!("/v1/opscore/logs?session={session}")).is(200);
    assert!(log.to_string().contains("has not connected yet"), "{log}");
}

fn a_status_is_a_report_of_the_state(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("worker", "http://127.0.0.1:9/run", &[]);
    for (status, state) in
        [("busy", "active"), ("error", "error"), ("offline", "offline"), ("online", "idle")]
    {
        assert_eq!(put_status(&server, &id, status)["status"], status);
        assert_eq!(server.get(&format!("/v1/opscore/agent/{id}/state")).is(200)["state"], state);
    }
    server.report(&id, "initializing", &Value::Null);
    assert_eq!(server.get(&format!("/api/v1/agents/{id}")).is(200)["status"], "busy");
    let remote = server.post("/api/v1/agents", &json!({"name": "remote"})).is(201);
    let remote = remote["agent_id"].as_str().unwrap();
    assert_eq!(put_status(&server, remote, "online")["status"], "offline", "it is not connected");
}

fn lists_have_filters_and_tokens(database: &Database) {
    let server = Server::start(database);
    for number in 0..5 {
        let capability = if number % 2 == 0 { "even" } else { "odd" };
        server
            .post("/api/v1/agents", &json!({"name": format!("a{number}"), "capabilities": [capability]}))
            .is(201);
    }
    server.register_at("reached", "http://127.0.0.1:9/run", &["even"]);
    let count = |query: &str| {
        let listed = server.get(&format!("/api/v1/agents?{query}")).is(200);
        listed["agents"].as_array().unwrap().len()
    };
    assert_eq!((count("capability=even"), count("name=a1")), (4, 1));
    assert_eq!((count("connected=false"), count("connected=true")), (5, 0));
    assert_eq!(items(&server.get("/v1/agents?presence=offline").is(200)).len(), 5);
    assert_eq!(items(&server.get("/v1/agents?presence=connected").is(200)).len(), 0);
    server.get("/v1/agents?presence=here").problem(422);
    let (mut seen, mut token) = (0, String::new());
    loop {
        let page = server.get(&format!("/api/v1/agents?limit=2{token}")).is(200);
        seen += page["agents"].as_array().unwrap().len();
        let Some(next) = page["next_token"].as_str() else { break };
        token = format!("&next_token={next}");
    }
    assert_eq!(seen, 6);
    assert_eq!(server.get("/api/v1/agents?next_token=x").faults(), ["/next_token"]);
}

fn what_does_not_fit_or_is_not_there_is_told(database: &Database) {
    let server = Server::start(database);
    let bad = json!({"type": 1, "capabilities": [5], "metadata": [], "contact_endpoint": "ftp://x"});
    assert_eq!(server.post("/api/v1/agents", &bad).faults().len(), 5);
    let bad = json!({"name": "a", "metadata": {"concurrency": -1}});
    assert_eq!(server.post("/api/v1/agents", &bad).faults().len(), 1);
    server.post("/api/v1/agents", &json!({"name": "a"})).is(201);
    server.post("/api/v1/agents", &json!({"name": "a"})).problem(409);
    server.get("/api/v1/agents/nobody").absent();
    server.delete("/api/v1/agents/nobody").absent();
    let status = Request::new("PUT", "/api/v1/agents/nobody/status").json(&json!({"status": "idle"}));
    assert_eq!(server.send(status).faults(), ["/status"]);
    let status = Request::new("PUT", "/api/v1/agents/nobody/status").json(&json!({"status": "busy"}));
    server.send(status).absent();
    server.without_key().get("/api/v1/agents").problem(401);
}
