//! Reports, states and messages, which are answered without the router, are answered as the router would.

use serde_json::{Value, json};

use crate::support::{Agent, Connection, Database, KEY, Request, Response, Server, on_each_database};

on_each_database![the_fast_path_answers_as_the_router_does];

/// One request, with its path as most write it.
fn table(id: &str) -> Vec<Request> {
    let state = format!("/v1/opscore/agent/{id}/state");
    let run = format!("/v1/agents/{id}/run");
    let report =
        json!({"agent_id": id, "status": "idle", "timestamp": "2026-01-01T00:00:00Z", "details": {"a": [1]}});
    let message = json!({"type": "note", "payload": {"a": 1}, "messageId": "msg_same-both-ways-000001"});
    let call =
        json!({"type": "tool_invocation", "payload": {"tool_name": "echo", "arguments": {"text": "x"}}});
    let as_yaml = |path: &str| Request::new("POST", path).body("application/yaml", "a: 1");
    let mut table = vec![
        Request::post(&state, &report),
        Request::get(&state),
        Request::get(format!("{state}?x=1")),
        Request::post(format!("{state}?agnt=1"), &report),
        Request::post(format!("{run}?wait=1&x"), &message),
        Request::post(format!("{run}?"), &message),
        Request::post(&run, &message),
        Request::post(&run, &call),
        Request::post(&run, &json!({"type": "tool_invocation", "payload": {"tool_name": "echo"}})),
        Request::post(&run, &json!({"type": "tool_invocation", "payload": {}})),
        Request::post(
            &run,
            &json!({"type": "tool_invocation", "payload": {"tool_name": "http_get", "arguments": {"url": 5}}}),
        ),
        Request::post(
            &state,
            &json!({"agent_id": "other", "status": "idle", "timestamp": "2026-01-01T00:00:00Z"}),
        ),
        Request::post(&state, &json!({"agent_id": id, "status": 5})),
        Request::post(
            "/v1/opscore/agent/unknown/state",
            &json!({"agent_id": "unknown", "status": "idle", "timestamp": "2026-01-01T00:00:00Z"}),
        ),
        Request::get("/v1/opscore/agent/unknown/state"),
        Request::post("/v1/agents/unknown/run", &message),
    ];
    for path in [state.as_str(), run.as_str()] {
        table.extend([
            Request::post(path, &Value::Null),
            Request::post(path, &json!([])),
            Request::new("POST", path).body("application/json", "{"),
            Request::new("POST", path).body("application/json", ""),
            Request::new("POST", path).body("application/json", [0xff, 0xfe]),
            Request::new("POST", path).body("text/plain", "{}"),
            Request::new("POST", path).body("application/merge-patch+json", "{}"),
            as_yaml(path),
            Request::new("POST", path).body("application/json", vec![b' '; (1 << 20) + 1]),
        ]);
    }
    table
}

/// The same agent, spelled so that only the router understands it.
fn routed(request: &Request, id: &str) -> Request {
    let path =
        request.path.replace(id, &spelled(id)).replace("/unknown/", &format!("/{}/", spelled("unknown")));
    assert_ne!(path, request.path);
    Request { path, ..request.clone() }
}

fn spelled(id: &str) -> String {
    let (first, rest) = id.split_at(1);
    first.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>() + rest
}

/// What of an answer does not belong to that one answer alone.
fn lasting(response: &Response) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, _)| name != "date" && name != "x-request-id")
        .cloned()
        .collect();
    headers.sort();
    (response.status, headers, response.text())
}

fn the_fast_path_answers_as_the_router_does(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("fast", &agent, &[]);
    let credentials: [&[(&str, &str)]; 5] = [
        &[("authorization", &format!("Bearer {KEY}"))],
        &[],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "Basic eA==")],
        &[("origin", "https://elsewhere.example")],
    ];
    for credentials in credentials {
        for request in table(&id) {
            let with = |request: Request| {
                credentials.iter().fold(request, |request, (name, value)| request.header(name, *value))
            };
            let ask = |request: Request| {
                let label = request.label();
                let mut connection = Connection::open(&server.address()).unwrap();
                connection.send(&with(request)).unwrap_or_else(|error| panic!("{label}: {error}"))
            };
            let (fast, slow) = (ask(request.clone()), ask(routed(&request, &id)));
            assert_eq!(lasting(&fast), lasting(&slow), "{} with {credentials:?}", request.label());
            assert!(fast.header("x-request-id").is_some() && slow.header("x-request-id").is_some());
        }
    }
}
