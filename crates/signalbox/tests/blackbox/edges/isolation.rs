//! Every route that names something is tried by one tenant with what another has: the answer is that of a name which
//! nobody has, to the letter.
//!
//! The routes come from the server's own description. A route whose names nobody makes here fails the test.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{make_tenant, text, with_platform_key};
use crate::artcafe::client::Socket;
use crate::support::{
    Agent, AgentReply, Api, Connection, Database, PATIENCE, Request, Response, Server, SshKey, Worker,
    eventually, iso, items, on_each_database,
};

on_each_database![
    what_another_tenant_has_is_as_what_nobody_has,
    ids_in_bodies_queries_and_frames_tell_nothing
];

/// Routes that answer otherwise: one that is signed, and so answered alike to whoever does not sign; and one that opens a
/// WebSocket, which tells by how it ends.
const APART: [&str; 2] = ["/v1/opscore/hooks/{tenant}/{id}/receive", "/api/v1/ws/agent/{agent_id}"];

/// What the names in a path stand for, by what the path begins with; the longest that fits counts.
const KINDS: [(&str, &str, &str); 20] = [
    ("/api/v1/tenants/", "tenant_id", "tenant"),
    ("/v1/agents/", "agentId", "agent"),
    ("/v1/opscore/agent/", "agentId", "agent"),
    ("/v1/dead-letters/", "messageId", "dead letter"),
    ("/v1/messages/", "messageId", "dead letter"),
    ("/v1/keys/", "keyId", "key"),
    ("/v1/tools/", "name", "tool"),
    ("/v1/opscore/hooks/", "id", "hook"),
    ("/v1/opscore/payloads/", "sha256", "payload"),
    ("/v1/opscore/schedules/", "id", "schedule"),
    ("/v1/opscore/sessions/", "id", "session"),
    ("/v1/opscore/sessions/", "taskId", "task"),
    ("/v1/opscore/workflows/", "id", "workflow"),
    ("/v1/opscore/workflows/", "revision", "revision"),
    ("/v1/opscore/workflows/", "a", "revision"),
    ("/v1/opscore/workflows/", "b", "revision"),
    ("/api/v1/agents/", "agent_id", "agent"),
    ("/api/v1/agents/", "command_id", "command"),
    ("/api/v1/channels/", "channel_id", "channel"),
    ("/api/v1/ssh-keys/", "key_id", "SSH key"),
];

/// What a tenant has of each kind.
type Estate = BTreeMap<&'static str, String>;

/// Makes something of each kind. What another surface adds is made here too.
fn furnish(tenant: &str, api: &Api) -> Estate {
    let mut estate = Estate::from([("tenant", tenant.to_owned()), ("revision", "1".to_owned())]);
    let refusing = Agent::answering(|_, _| AgentReply::Status(422));
    let agent = api.register("zzqx owner's agent", &refusing, &[]);
    let dead = api.run(&agent, &json!({"a": 1}));
    api.message_becomes(&dead, "dead", PATIENCE);
    api.report(&agent, "idle", &json!({}));
    let worker = Worker::start(api, "zzqx owner's worker", &[]);
    let definition = json!({"id": "zzqx-workflow", "name": "W", "tasks": [{"taskId": "zzqx-task"}]});
    let session = api.trigger(&worker.id, &definition, &json!({"page": "x".repeat(20_000)}));
    let done = api.session_becomes(&session, "completed");
    estate.insert("payload", text(&done["input"]["page"]["$payload"]["sha256"]));
    let tool =
        json!({"name": "zzqx-tool", "description": "", "parameters": {}, "endpoint": "http://127.0.0.1:9/"});
    api.post("/v1/tools", &tool).is(201);
    let named = json!({"id": "zzqx-hook", "workflowId": "zzqx-workflow"});
    api.post("/v1/opscore/hooks", &named).is(201);
    let schedule = json!({"id": "zzqx-schedule", "workflowId": "zzqx-workflow", "cron": "0 3 * * *"});
    api.post("/v1/opscore/schedules", &schedule).is(201);
    let key = api.post("/v1/keys", &json!({"name": "owner's", "scope": "read"})).is(201);
    let channel = api.post("/api/v1/channels", &json!({"name": "zzqx.channel"})).is(201);
    let commands = format!("/api/v1/agents/{agent}/commands");
    let command = api.post(&commands, &json!({"command": "zzqx", "timeout": 3_600})).is(202);
    let public = SshKey::make("ed25519").public();
    let ssh_key = json!({"name": "owner's", "public_key": public, "key_type": "access"});
    let ssh_key = api.post("/api/v1/ssh-keys", &ssh_key).is(201);
    for (kind, id) in [
        ("channel", text(&channel["channel_id"])),
        ("command", text(&command["command_id"])),
        ("SSH key", text(&ssh_key["key_id"])),
        ("agent", agent),
        ("dead letter", dead),
        ("session", session),
        ("task", "zzqx-task".to_owned()),
        ("workflow", "zzqx-workflow".to_owned()),
        ("tool", "zzqx-tool".to_owned()),
        ("hook", "zzqx-hook".to_owned()),
        ("schedule", "zzqx-schedule".to_owned()),
        ("key", text(&key["keyId"])),
    ] {
        estate.insert(kind, id);
    }
    estate
}

/// A name of the same form that nobody has.
fn unknown(kind: &str, id: &str) -> String {
    // Which revision it is does not matter where there is no such workflow.
    if kind == "revision" {
        return id.to_owned();
    }
    let last = id.chars().last().expect("a name");
    let other = if last == '7' { '8' } else { '7' };
    format!("{}{other}", &id[..id.len() - last.len_utf8()])
}

/// The kinds of names in a path; `None` where it has none.
#[track_caller]
fn kinds(path: &str) -> Vec<(String, &'static str)> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let kind = KINDS.iter().find(|(begin, known, _)| path.starts_with(begin) && *known == name);
            let (_, _, kind) = kind.unwrap_or_else(|| {
                panic!("{path} names a {name} that no tenant has here: say in KINDS what it is, and make one in furnish()")
            });
            (name.to_owned(), *kind)
        })
        .collect()
}

/// A body that every route can read: what a route does not know it does not mind.
fn body(agent: &str) -> Value {
    json!({
        "agentId": agent, "timestamp": iso(), "state": "idle", "details": {}, "senderId": "s", "messageType": "text",
        "payload": {}, "level": "info", "message": "m", "workflowDefinition": {"id": "w", "name": "W", "tasks": []},
        "name": "n", "digest": "0".repeat(64), "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-02T00:00:00Z", "status": "online", "command": "c", "args": {}, "reason": "r",
    })
}

/// The answer without what tells one request from another.
fn comparable(answer: &Response, named: &[String]) -> (u16, String) {
    let mut body = answer.text();
    for (place, name) in named.iter().enumerate() {
        body = body.replace(name, &format!("<{place}>"));
    }
    (answer.status, body)
}

fn what_another_tenant_has_is_as_what_nobody_has(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, owner) = make_tenant(&server, &json!({"name": "owner"}));
    let (_, stranger) = make_tenant(&server, &json!({"name": "stranger"}));
    let estate = furnish(&tenant, &owner);
    let mut tried = 0;
    for (method, path) in routes(&server).into_iter().filter(|(_, path)| !APART.contains(&path.as_str())) {
        let kinds = kinds(&path);
        if kinds.is_empty() {
            continue;
        }
        let owned: Vec<String> = kinds
            .iter()
            .map(|(_, kind)| {
                let id = estate.get(kind).unwrap_or_else(|| panic!("furnish() makes no {kind}, for {path}"));
                id.clone()
            })
            .collect();
        let nobodys: Vec<String> =
            kinds.iter().zip(&owned).map(|((_, kind), id)| unknown(kind, id)).collect();
        let answer = |ids: &[String]| ask(&stranger, &method, &path, &kinds, ids);
        let (other, none) = (answer(&owned), answer(&nobodys));
        assert_eq!(
            comparable(&other, &owned),
            comparable(&none, &nobodys),
            "{method} {path} tells another tenant's from nobody's"
        );
        // Tenants are the platform key's, whichever they are.
        let expected = if path.starts_with("/api/v1/tenants/") { 403 } else { 404 };
        assert_eq!(other.status, expected, "{method} {path}: {}", other.shown());
        tried += 1;
    }
    assert!(tried >= 40, "only {tried} routes were tried");
    untouched(&server, &owner, &estate);
}

/// Each method of each path that the server describes.
fn routes(server: &Server) -> Vec<(String, String)> {
    let description = server.get("/openapi.json").is(200);
    let paths = description["paths"].as_object().expect("paths");
    let methods = |(path, operations): (&String, &Value)| {
        let operations = operations.as_object().expect("operations");
        operations.keys().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

fn ask(api: &Api, method: &str, path: &str, kinds: &[(String, &str)], ids: &[String]) -> Response {
    let mut filled = path.to_owned();
    for ((name, _), id) in kinds.iter().zip(ids) {
        filled = filled.replace(&format!("{{{name}}}"), id);
    }
    if path.ends_with("/inbox") && method == "GET" {
        filled.push_str("?wait=0");
    }
    let agent = kinds.iter().zip(ids).find(|((_, kind), _)| *kind == "agent").map_or("a", |(_, id)| id);
    let request = Request::new(method, filled);
    let request = if ["GET", "DELETE"].contains(&method) { request } else { request.json(&body(agent)) };
    // A stream that were opened would not end: its head tells enough.
    let mut connection = Connection::open(&api.address()).expect("connected");
    connection.send(&api.authorized(request).header("connection", "close")).expect("an answer")
}

/// What a route's query may name, by the name of the parameter.
const QUERIED: [(&str, &str); 8] = [
    ("agentId", "agent"),
    ("agent_id", "agent"),
    ("agent", "agent"),
    ("sessionId", "session"),
    ("session", "session"),
    ("workflow", "workflow"),
    ("workflowId", "workflow"),
    ("channel_id", "channel"),
];

fn ids_in_bodies_queries_and_frames_tell_nothing(database: &Database) {
    let server = with_platform_key(database).start();
    let (tenant, owner) = make_tenant(&server, &json!({"name": "owner"}));
    let (_, stranger) = make_tenant(&server, &json!({"name": "stranger"}));
    let estate = furnish(&tenant, &owner);
    let pair = |kind: &str| (estate[kind].clone(), unknown(kind, &estate[kind]));

    let mut tried = 0;
    for (path, parameter, kind) in queries(&server) {
        let (owned, nobodys) = pair(kind);
        let ask = |id: &str| stranger.get(&format!("{path}?{parameter}={id}"));
        let (other, none) = (comparable(&ask(&owned), &[owned]), comparable(&ask(&nobodys), &[nobodys]));
        assert_eq!(other, none, "GET {path}?{parameter} tells another tenant's from nobody's");
        assert!(!other.1.contains("zzqx"), "GET {path}?{parameter}: {}", other.1);
        tried += 1;
    }
    assert!(tried >= 3, "only {tried} queries were tried");

    let (owned, nobodys) = pair("agent");
    let public = SshKey::make("ed25519").public();
    let add = |agent: &str| {
        let body = json!({"name": "k", "public_key": public, "key_type": "agent", "agent_id": agent});
        stranger.post("/api/v1/ssh-keys", &body)
    };
    let (other, none) = (add(&owned), add(&nobodys));
    assert!((400..500).contains(&other.status), "{}", other.shown());
    assert_eq!(comparable(&other, &[owned]), comparable(&none, &[nobodys]), "POST /api/v1/ssh-keys");

    let own = crate::artcafe::client::register(&stranger, "own");
    let key = stranger.post("/v1/keys", &json!({"name": "own", "scope": "agent"})).is(201);
    let mut socket = Socket::connect_by(&stranger, &own, &text(&key["key"]));
    for (frame, field, kind) in [
        ("subscribe", "channel_id", "channel"),
        ("unsubscribe", "channel_id", "channel"),
        ("publish", "channel_id", "channel"),
        ("message", "to", "agent"),
        ("message", "channel_id", "channel"),
        ("request", "to", "agent"),
        ("response", "command_id", "command"),
    ] {
        let (owned, nobodys) = pair(kind);
        let mut say = |id: &str| {
            let mut data = json!({"payload": 1, "status": "success", "result": {}});
            data[field] = json!(id);
            if frame.ends_with("subscribe") {
                data = json!({"channel_id": id});
            }
            let mut error = socket.refused(frame, &data);
            error["id"] = json!(null);
            error.to_string().replace(id, "<id>")
        };
        assert_eq!(say(&owned), say(&nobodys), "{frame} {field} tells another tenant's from nobody's");
    }
}

/// The lists that can be asked for what belongs to something: path, parameter, and kind.
fn queries(server: &Server) -> Vec<(String, String, &'static str)> {
    let description = server.get("/openapi.json").is(200);
    let mut found = Vec::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        let is_stream = operations["get"]["responses"]["200"]["content"].get("text/event-stream").is_some();
        if path.contains('{') || is_stream {
            continue;
        }
        for parameter in operations["get"]["parameters"].as_array().into_iter().flatten() {
            let named = QUERIED.iter().find(|(name, _)| parameter["name"] == *name);
            if let Some((name, kind)) = named.filter(|_| parameter["in"] == "query") {
                found.push((path.clone(), (*name).to_owned(), *kind));
            }
        }
    }
    found
}

/// The owner still has everything.
fn untouched(server: &Server, owner: &Api, estate: &Estate) {
    for (method, path) in routes(server) {
        let kinds = kinds_or_none(&path);
        let is_stream = path.ends_with("/events");
        if method != "GET" || kinds.is_empty() || is_stream || path.starts_with("/api/v1/tenants/") {
            continue;
        }
        let ids: Vec<String> = kinds.iter().map(|(_, kind)| estate[kind].clone()).collect();
        let answer = ask(owner, &method, &path, &kinds, &ids);
        assert_eq!(answer.status, 200, "{path}: {}", answer.shown());
    }
    let waiting = || {
        let keys = items(&owner.get("/v1/keys").is(200));
        if keys.iter().any(|key| key["keyId"] == estate["key"].as_str()) {
            Ok(())
        } else {
            Err(format!("{keys:?}"))
        }
    };
    eventually("the owner's key", waiting);
}

fn kinds_or_none(path: &str) -> Vec<(String, &'static str)> {
    if APART.contains(&path) { Vec::new() } else { kinds(path) }
}
