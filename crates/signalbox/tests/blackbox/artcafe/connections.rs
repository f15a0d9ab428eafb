//! Who may connect as which agent, and how connections end.

use serde_json::{Value, json};

use super::client::{Socket, register};
use crate::support::{
    Api, Database, KEY, PATIENCE, PLATFORM_KEY, Request, Server, Setup, eventually, items, on_each_database,
};

on_each_database![
    a_token_is_asked_for_and_a_bad_one_is_told_by_how_it_ends,
    pages_of_other_origins_do_not_connect,
    the_token_of_a_query_is_in_no_log,
    a_later_connection_takes_over,
    a_revoked_key_ends_connections,
    a_removed_agent_is_closed,
    a_drain_is_told,
    three_missed_heartbeats_are_the_end,
    many_agents_are_connected_at_once,
    no_more_agents_connect_than_may,
    a_tenant_has_no_more_connections_than_it_may,
];

/// The status of what is answered in place of an upgrade.
fn refusal(api: &Api, path: &str, headers: &str) -> u16 {
    let Err(error) = Socket::try_upgrade(api, path, headers) else { panic!("{path} was upgraded") };
    let head = error.to_string();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {head}"))
}

/// The state of an agent as the other surfaces see it.
fn status(api: &Api, agent: &str) -> Value {
    api.get(&format!("/api/v1/agents/{agent}")).is(200)["status"].clone()
}

fn status_becomes(api: &Api, agent: &str, expected: &str) {
    eventually(&format!("the agent to be {expected}"), || {
        let status = status(api, agent);
        if status == expected { Ok(()) } else { Err(status.to_string()) }
    });
}

fn a_token_is_asked_for_and_a_bad_one_is_told_by_how_it_ends(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let api = server.api();
    let agent = register(&api, "a");
    let path = format!("/api/v1/ws/agent/{agent}");
    assert_eq!(refusal(&api, &path, ""), 401, "without a token");
    let by_query = format!("{path}?token={KEY}");
    let mut socket = Socket::try_upgrade(&api, &by_query, "").expect("a token in the query");
    socket.done("status", &json!({"status": "online"}));
    let end = |path: &str, key: &str| {
        let header = format!("authorization: Bearer {key}\r\n");
        Socket::try_upgrade(&api, path, &header).expect("an upgrade").end()
    };
    assert_eq!(end(&path, "no-such-key"), Some(4401));
    assert_eq!(
        Socket::try_upgrade(&api, &format!("{path}?token=no%0Ane"), "").expect("open").end(),
        Some(4401)
    );
    let reads = api.post("/v1/keys", &json!({"name": "r", "scope": "read"})).is(201);
    assert_eq!(end(&path, reads["key"].as_str().expect("a key")), Some(4403));
    assert_eq!(end("/api/v1/ws/agent/agt_none", KEY), Some(4404));
    // Another tenant's key does not see the agent.
    let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "other"})).is(201);
    assert_eq!(end(&path, made["api_key"].as_str().expect("a key")), Some(4404));
    api.get(&path).problem(426);
    api.get(&format!("{path}?afte=1")).problem(422);
    api.get(&format!("{path}?after=x")).problem(422);
    assert!(api.get(&format!("{path}?after=1")).problem(422).detail.contains("connection"));
}

fn pages_of_other_origins_do_not_connect(database: &Database) {
    let server = Setup::new(database).arg("--allowed-origins").arg("https://console.example").start();
    let api = server.api();
    let path = format!("/api/v1/ws/agent/{}?token={KEY}", register(&api, "a"));
    let own = format!("origin: http://{}\r\n", api.address());
    for origin in [own.as_str(), "origin: https://console.example\r\n", ""] {
        Socket::try_upgrade(&api, &path, origin).expect("an upgrade");
    }
    for origin in
        ["origin: https://evil.example\r\n", "origin: null\r\n", "origin: http://localhost:3000\r\n"]
    {
        assert_eq!(refusal(&api, &path, origin), 403, "{origin}");
    }
}

fn the_token_of_a_query_is_in_no_log(database: &Database) {
    let server = Setup::new(database).arg("--log").arg("trace").start();
    let api = server.api();
    let agent = register(&api, "a");
    let path = format!("/api/v1/ws/agent/{agent}?token=");
    let mut socket = Socket::try_upgrade(&api, &format!("{path}{KEY}"), "").expect("an upgrade");
    socket.done("status", &json!({"status": "online"}));
    assert_eq!(
        Socket::try_upgrade(&api, &format!("{path}bad-bad-token"), "").expect("open").end(),
        Some(4401)
    );
    eventually("the access log", || {
        let log = format!("{}{}", server.stdout(), server.stderr());
        if log.contains("/api/v1/ws/agent/{agent_id}") { Ok(()) } else { Err("no line".to_owned()) }
    });
    let log = format!("{}{}", server.stdout(), server.stderr());
    assert!(!log.contains(KEY) && !log.contains("bad-bad-token"), "the log holds a token");
}

fn a_later_connection_takes_over(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut first = Socket::connect(&api, &agent);
    first.done("status", &json!({"status": "online"}));
    let mut second = Socket::connect(&api, &agent);
    assert_eq!(first.end(), Some(4001));
    second.done("status", &json!({"status": "online"}));
    assert_eq!(status(&api, &agent), "online", "the end of the first is not the agent's");
    drop(second);
    status_becomes(&api, &agent, "offline");
}

fn a_revoked_key_ends_connections(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agents = ["a", "b"].map(|name| register(&api, name));
    let made = api.post("/v1/keys", &json!({"name": "agents", "scope": "agent"})).is(201);
    let (key, id) = (made["key"].as_str().expect("a key"), made["keyId"].as_str().expect("an id"));
    let mut ends = Socket::connect_by(&api, &agents[0], key);
    let mut stays = Socket::connect(&api, &agents[1]);
    ends.done("status", &json!({"status": "online"}));
    stays.done("status", &json!({"status": "online"}));
    api.delete(&format!("/v1/keys/{id}")).is(200);
    assert_eq!(ends.end(), Some(4401));
    stays.done("status", &json!({"status": "online"}));
}

fn a_removed_agent_is_closed(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    socket.done("status", &json!({"status": "online"}));
    api.delete(&format!("/v1/agents/{agent}")).is(200);
    assert_eq!(socket.end(), Some(4404));
}

fn a_drain_is_told(database: &Database) {
    let mut server = Server::start(database);
    let api = server.api();
    let agent = register(&api, "a");
    let mut socket = Socket::connect(&api, &agent);
    socket.done("status", &json!({"status": "online"}));
    server.terminate();
    assert_eq!(socket.end(), Some(1012));
    assert!(server.ended(PATIENCE).success());
    server.restart();
    assert_eq!(status(&server.api(), &agent), "offline", "its end was written down");
}

fn three_missed_heartbeats_are_the_end(database: &Database) {
    let server = Setup::new(database).arg("--heartbeat-interval").arg("300ms").start();
    let api = server.api();
    let agent = register(&api, "a");
    let mut silent = Socket::connect(&api, &agent);
    silent.done("status", &json!({"status": "online"}));
    // Pings are answered all the while: a pong is the library's and no heartbeat.
    assert_eq!(silent.end(), Some(1008));
    status_becomes(&api, &agent, "offline");
    let mut alive = Socket::connect(&api, &agent);
    // More than three intervals, by beats.
    for _ in 0..8 {
        alive.send("heartbeat", &json!({"status": "online", "cpu_usage": 12.5, "memory_usage": 256.3}));
        alive.expect("heartbeat_ack");
        std::thread::park_timeout(std::time::Duration::from_millis(150));
    }
    assert_eq!(status(&api, &agent), "online");
}

fn many_agents_are_connected_at_once(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agents: Vec<String> = (0..256).map(|number| register(&api, &format!("a{number}"))).collect();
    let mut sockets: Vec<Socket> = agents.iter().map(|agent| Socket::connect(&api, agent)).collect();
    for socket in &mut sockets {
        socket.send("heartbeat", &json!({"status": "online"}));
    }
    for socket in &mut sockets {
        socket.expect("heartbeat_ack");
    }
    let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
    assert!(metrics.contains("signalbox_agent_connections{kind=\"websocket\"} 256"), "{metrics}");
    assert_eq!(items(&api.get("/v1/agents?limit=1000").is(200)).len(), 256);
    drop(sockets);
    eventually("all to be closed", || {
        let metrics = String::from_utf8(api.get("/metrics").body).expect("text");
        let line =
            metrics.lines().find(|line| line.starts_with("signalbox_agent_connections{")).map(str::to_owned);
        if line.as_deref().is_some_and(|line| line.ends_with(" 0")) {
            Ok(())
        } else {
            Err(format!("{line:?}"))
        }
    });
    status_becomes(&api, &agents[255], "offline");
}

fn no_more_agents_connect_than_may(database: &Database) {
    let server = Setup::new(database).arg("--agent-connections-max").arg("1").start();
    let api = server.api();
    let [one, other] = ["a", "b"].map(|name| register(&api, name));
    let mut socket = Socket::connect(&api, &one);
    socket.done("status", &json!({"status": "online"}));
    let path = format!("/api/v1/ws/agent/{other}?token={KEY}");
    assert_eq!(refusal(&api, &path, ""), 503);
    let polled = api.send(Request::get(format!("/api/v1/agents/{other}/inbox?wait=0")));
    polled.problem(503);
    drop(socket);
    let mut socket =
        eventually("room again", || Socket::try_upgrade(&api, &path, "").map_err(|error| error.to_string()));
    socket.done("status", &json!({"status": "online"}));
}

fn a_tenant_has_no_more_connections_than_it_may(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let platform = server.with_key(PLATFORM_KEY);
    let limit = |most: Value| {
        let limits = json!({"limits": {"connections": most}});
        platform.patch("/api/v1/tenants/default", &limits).is(200);
    };
    limit(json!(1));
    let api = server.api();
    let [one, other] = ["a", "b"].map(|name| register(&api, name));
    let mut socket = Socket::connect(&api, &one);
    let path = format!("/api/v1/ws/agent/{other}?token={KEY}");
    assert_eq!(refusal(&api, &path, ""), 429);
    let inbox = |agent: &str| api.send(Request::get(format!("/api/v1/agents/{agent}/inbox?wait=0")));
    let refused = inbox(&other);
    assert!(refused.problem(429).detail.contains("connections of 1 (its own;"), "{refused:?}");
    assert!(refused.problem(429).detail.contains("disconnect one"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    // One that is connected may connect again.
    let mut again = Socket::connect(&api, &one);
    assert_eq!(socket.end(), Some(4001));
    again.done("status", &json!({"status": "busy"}));
    inbox(&one).is(200);
    assert_eq!(again.end(), Some(4001), "a poll takes over too");
    limit(json!(2));
    Socket::connect(&api, &other).done("status", &json!({"status": "online"}));
    let day = api.get("/api/v1/usage-metrics?days=1").is(200);
    assert_eq!(day["days"][0]["connections"], 4);
}
