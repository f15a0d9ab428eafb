//! Input that no client should send: each is answered, none harms the server or its data.

use std::io::{self, Read as _};
use std::net::Shutdown;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Agent, Connection, Database, KEY, Request, Response, Server, Setup, eventually, items, now,
    on_each_database, within,
};

on_each_database![
    nesting_without_end_is_not_json,
    a_body_over_the_limit_is_413,
    who_sends_far_too_much_still_reads_why_it_is_refused,
    an_answer_that_needs_no_body_is_read_by_who_still_sends_one,
    bytes_that_are_no_text_are_refused,
    wrong_types_everywhere_are_told,
    hostile_ids_are_just_unknown,
    hostile_texts_are_kept_as_they_are,
    an_unknown_parameter_of_a_query_is_refused,
    a_misspelt_field_is_ignored_and_told,
    unknown_fields_of_a_definition_are_told_or_refused,
    foreign_endpoints_are_refused,
    metadata_addresses_are_never_called,
    loopback_can_be_forbidden_too,
    a_slow_sender_is_cut_off,
    an_idle_connection_outlives_the_time_for_headers,
    half_a_body_is_not_a_request,
    what_is_not_http_is_refused,
    an_answer_does_not_wait_for_what_follows_the_request,
    many_connections_at_once_are_all_answered,
];

/// A sender of headers or bodies that never end is cut off within this, where the limit is a second.
const CUT_OFF: Duration = Duration::from_secs(20);

/// The POST routes that take JSON, with a well-formed agent in the path where there is one.
fn posts(agent: &str) -> Vec<String> {
    [
        "/v1/agents/register",
        "/v1/agents",
        "/v1/agents/{}/run",
        "/v1/tools",
        "/v1/opscore/internal/agent/notify",
        "/v1/opscore/agent/{}/state",
        "/v1/opscore/agent/{}/workflow",
        "/v1/opscore/agent/{}/logs",
        "/v1/opscore/workflows",
        "/v1/keys",
    ]
    .map(|path| path.replace("{}", agent))
    .into()
}

fn with_agent(database: &Database) -> (Server, String) {
    let server = Server::start(database);
    let id = server.register_at("target", "http://127.0.0.1:9/run", &[]);
    (server, id)
}

fn raw(path: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", path).body("application/json", body)
}

fn nesting_without_end_is_not_json(database: &Database) {
    let (server, id) = with_agent(database);
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    for path in posts(&id) {
        server.send(raw(&path, deep("[", "]"))).problem(400);
        server.send(raw(&path, deep("{\"a\":", "}").replace(":}", ":1}"))).problem(400);
        server.send(raw(&path, "[".repeat(100_000))).problem(400);
    }
    let within_a_field = format!("{{\"agentName\":\"x\",\"metadata\":{{\"a\":{}}}}}", deep("[", "]"));
    server.send(raw("/v1/agents/register", within_a_field)).problem(400);
}

fn a_body_over_the_limit_is_413(database: &Database) {
    let (server, id) = with_agent(database);
    let large = format!("{{\"filler\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    for path in posts(&id) {
        server.send(raw(&path, large.clone())).problem(413);
    }
    let just_fits = json!({
        "agentName": "large", "version": "1", "capabilities": [],
        "metadata": {"filler": "x".repeat(1024 * 1024 - 500)},
    });
    server.post("/v1/agents/register", &just_fits).is(201);
}

/// As most clients do it: the answer is read once everything has been sent.
fn who_sends_far_too_much_still_reads_why_it_is_refused(database: &Database) {
    let (server, id) = with_agent(database);
    let large = "x".repeat(32 * 1024 * 1024);
    for path in ["/v1/agents/register".to_owned(), format!("/v1/opscore/agent/{id}/state")] {
        let head = |rest: &str| {
            let address = server.address();
            format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n{rest}\r\n"
            )
        };
        let declared = format!("content-length: {}\r\n", large.len());
        let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        for said in [head(&declared) + &large, head("transfer-encoding: chunked\r\n") + &chunk] {
            let mut connection = Connection::open(&server.address()).unwrap();
            connection.write_raw(said.as_bytes()).unwrap();
            connection.read().unwrap().problem(413);
        }
        let mut connection = Connection::open(&server.address()).unwrap();
        connection.write_raw(head(&format!("{declared}expect: 100-continue\r\n")).as_bytes()).unwrap();
        connection.read().unwrap().problem(413);
    }
}

/// Refused by its head alone, or in no need of a body: the connection stays whole, and goes on after the body.
fn an_answer_that_needs_no_body_is_read_by_who_still_sends_one(database: &Database) {
    let (server, id) = with_agent(database);
    let address = server.address();
    let key = format!("authorization: Bearer {KEY}\r\n");
    let state = format!("/v1/opscore/agent/{id}/state");
    let large = "x".repeat(8 * 1024 * 1024);
    for (status, method, path, host, key) in [
        (401, "POST", state.as_str(), address.as_str(), ""),
        (401, "POST", "/v1/opscore/workflows", &address, ""),
        (403, "POST", "/v1/agents/register", "elsewhere.example", ""),
        (404, "POST", "/v1/nowhere", &address, &key),
        (405, "PUT", "/v1/agents/register", &address, &key),
        (413, "POST", &state, &address, &key),
        (413, "POST", "/v1/opscore/workflows", &address, &key),
        (200, "GET", "/health", &address, &key),
        (404, "DELETE", "/v1/agents/agt_unknown", &address, &key),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{key}content-type: application/json\r\n");
        let mut connection = Connection::open(&address).unwrap();
        let said = format!("{head}content-length: {}\r\n\r\n{large}", large.len());
        connection.write_raw(said.as_bytes()).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let answer = connection.read().unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.shown());
        assert_eq!(connection.send(&Request::get("/health")).unwrap().status, 200, "after {method} {path}");
        // Whoever waits to be told to send is told not to, and that the connection ends.
        if status >= 400 {
            let mut connection = Connection::open(&address).unwrap();
            let said = format!("{head}expect: 100-continue\r\ncontent-length: {}\r\n\r\n", large.len());
            connection.write_raw(said.as_bytes()).unwrap();
            let answer = connection.read().unwrap();
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.shown());
            assert_eq!(answer.header("connection"), Some("close"), "{method} {path}");
        }
    }
}

fn bytes_that_are_no_text_are_refused(database: &Database) {
    let (server, id) = with_agent(database);
    for path in posts(&id) {
        for bytes in
            [&b"\xff\xfe\x00\x01"[..], b"{\"agentName\":\"\xc3\x28\"}", b"\"\xed\xa0\x80\"", b"\0\0\0\0"]
        {
            server.send(raw(&path, bytes)).problem(400);
        }
    }
}

fn wrong_types_everywhere_are_told(database: &Database) {
    let (server, id) = with_agent(database);
    for path in posts(&id) {
        for body in [json!(null), json!(true), json!(5), json!("text"), json!([1, "x"]), json!(1e300)] {
            let response = server.post(&path, &body);
            response.problem(422);
        }
        let fields = [
            "agentName",
            "version",
            "contactEndpoint",
            "capabilities",
            "metadata",
            "agentId",
            "senderId",
            "messageType",
            "payload",
            "name",
            "description",
            "parameters",
            "endpoint",
            "event_type",
            "agent_details",
            "timestamp",
            "state",
            "details",
            "workflowDefinitionId",
            "workflowDefinition",
            "initialPayload",
            "level",
            "message",
            "fields",
            "id",
            "tasks",
            "scope",
            "task_name",
        ];
        for wrong in [json!(-1), json!([[]]), json!({"": {}}), json!(false)] {
            let body: Value = fields
                .iter()
                .map(|name| ((*name).to_owned(), wrong.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into();
            let faults = server.post(&path, &body).faults();
            assert!(!faults.is_empty(), "{path}: {body}");
        }
    }
    assert_eq!(items(&server.get("/v1/agents").is(200)).len(), 1);
}

fn hostile_ids_are_just_unknown(database: &Database) {
    let (server, _) = with_agent(database);
    let long = "x".repeat(5_000);
    let ids = [
        "..%2Fx",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "a%00b",
        "%ff%fe",
        "%0d%0aset-cookie:%20x",
        &long,
        "'%20OR%20'1'='1",
        "%27;DROP%20TABLE%20agents;--",
        "%22",
        "%25",
        "*",
        "{}",
        "%F0%9F%92%A9",
        "-1",
        "null",
    ];
    for id in ids {
        let gets = [
            "/v1/agents/{}",
            "/v1/messages/{}",
            "/v1/dead-letters/{}",
            "/v1/tools/{}",
            "/v1/opscore/agent/{}/state",
            "/v1/opscore/agent/{}/history",
            "/v1/opscore/workflows/{}",
            "/v1/opscore/sessions/{}",
            "/v1/opscore/sessions/{}/events",
        ];
        for path in gets {
            let response = server.get(&path.replace("{}", id));
            assert!([400, 404, 414, 422].contains(&response.status), "{}", response.shown());
            response.problem(response.status);
        }
        for path in [
            "/v1/agents?name={}",
            "/v1/agents?capability={}",
            "/v1/agents?state={}",
            "/v1/opscore/logs?text={}",
        ] {
            let response = server.get(&path.replace("{}", id));
            assert!([200, 400, 422].contains(&response.status), "{}", response.shown());
        }
        let response = server.delete(&format!("/v1/agents/{id}"));
        assert!([400, 404, 414, 422].contains(&response.status), "{}", response.shown());
    }
    for path in ["/v1/agents/../x", "/v1/agents/./x/.", "/../../etc/passwd", "/v1//agents//"] {
        server.get(path).problem(404);
    }
    assert_eq!(items(&server.get("/v1/agents").is(200)).len(), 1, "nothing was dropped");
}

/// A filter with a typing error would mean everything.
fn an_unknown_parameter_of_a_query_is_refused(database: &Database) {
    let (server, id) = with_agent(database);
    let refused = |method: &str, path: &str| {
        let problem = server.send(Request::new(method, path).json(&json!({}))).problem(422);
        (problem.pointers.join(" "), problem.detail)
    };
    let (pointers, detail) = refused("POST", "/v1/dead-letters/redrive?agnt=x&kind=message");
    assert_eq!(pointers, "/agnt");
    let told = "takes agent, kind, since, limit and cursor; did you mean 'agent'?";
    assert!(detail.contains(told), "{detail}");
    assert_eq!(refused("DELETE", "/v1/dead-letters?kind=message&sinse=2020-01-01").0, "/sinse");
    assert_eq!(refused("POST", "/v1/agents/register?replce=true").0, "/replce");
    assert_eq!(refused("GET", "/v1/opscore/logs?sesion=x&agnet=y").0, "/agnet /sesion", "all at once");
    assert_eq!(refused("GET", "/v1/opscore/logs?a~b%2Fc").0, "/a~0b~1c");
    for path in [format!("/v1/agents/{id}/run"), format!("/v1/opscore/agent/{id}/state")] {
        let (pointers, detail) = refused("POST", &format!("{path}?wait=1"));
        assert!(pointers == "/wait" && detail.contains("takes none"), "{path}: {detail}");
        assert_eq!(refused("POST", &format!("{path}?&=")).0, "/", "{path}");
    }
    // Who calls comes first; and what no client of ours calls may have parameters of others.
    server.with_key("wrong-key-of-16-letters").get("/v1/opscore/logs?sesion=x").problem(401);
    for path in ["/health?x=1", "/ready?x=1", "/metrics?x=1", "/v1/agents?", "/v1/agents?&"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(items(&server.get("/v1/agents").is(200)).len(), 1, "the agent is still there");
}

/// Unknown fields are ignored, whatever they are; one that is nearly a known one is told in a header.
fn a_misspelt_field_is_ignored_and_told(database: &Database) {
    let (server, id) = with_agent(database);
    let warnings = |request: Request, status: u16| {
        let answer = server.send(request);
        answer.is(status);
        let of_answer = answer.headers.iter().filter(|(name, _)| name == "warning");
        of_answer.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "a", "maxRetrys": 0}]});
    let trigger = format!("/v1/opscore/agent/{id}/workflow");
    let body = json!({"workflowDefinition": definition, "initialPaylod": {"initialPaylod": 1}, "own": true});
    let told = warnings(Request::post(&trigger, &body), 202);
    let told_of = |name: &str, meant: &str| {
        let text = format!("the field {name} is not known and was ignored; did you mean '{meant}'?");
        format!("299 - \"{text}\"")
    };
    assert_eq!(
        told,
        [
            told_of("/initialPaylod", "initialPayload"),
            told_of("/workflowDefinition/tasks/0/maxRetrys", "maxRetries"),
        ]
    );
    let with_key = Request::post("/v1/opscore/workflows/w/trigger", &json!({"initial_payload": {}}));
    let told = warnings(with_key.header("idempotency-key", "a-key"), 202);
    assert_eq!(told, [told_of("/initial_payload", "initialPayload")]);
    let yaml = "id: w\nname: W\nmaxParalel: 3\ntasks: []\n";
    let told = warnings(Request::new("POST", "/v1/opscore/workflows").body("application/yaml", yaml), 200);
    assert_eq!(told, [told_of("/maxParalel", "maxParallel")]);
    for (path, body, status) in [
        (
            trigger.as_str(),
            json!({"workflowDefinitionId": "w", "initialPayload": {"x": 1}, "note": "mine"}),
            202,
        ),
        ("/v1/opscore/workflows/w/trigger", json!({}), 202),
    ] {
        assert_eq!(warnings(Request::post(path, &body), status), [""; 0], "{path}: {body}");
    }
    // What would mean more sessions than were meant is not passed over.
    let many = json!({"filter": {"workflow": "w"}, "limt": 1});
    assert_eq!(server.post("/v1/opscore/sessions/cancel", &many).faults(), ["/limt"]);
}

/// All that is not known in a definition is told in the answer, and refused where the request is strict.
fn unknown_fields_of_a_definition_are_told_or_refused(database: &Database) {
    let (server, id) = with_agent(database);
    let told = |entries: &Value| {
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["pointer"], entry["message"]).replace('"', ""))
            .collect()
    };
    let tasks = json!([{"taskId": "a", "capability": "x", "param": {"n": 1}, "parameters": {"own": {"capability": 1}}}]);
    let definition =
        json!({"id": "w", "name": "W", "tasks": tasks, "owner": "me", "input": {"properties": {"x": {}}}});
    let expected: Vec<String> = [
        "/owner is not known; there may also be",
        "/tasks/0/capability is not known; did you mean 'agentCapability'?",
        "/tasks/0/param is not known;",
    ]
    .map(str::to_owned)
    .into();
    let same = |found: Vec<String>, at: &str| {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(&expected) {
            let expected = format!("{at}{}", expected.split(" there may").next().unwrap_or_default());
            assert!(found.starts_with(&expected), "{found} is not {expected}");
        }
    };
    let refused = |path: &str, body: &Value| {
        let answer = server.post(path, body);
        answer.problem(422);
        serde_json::from_str::<Value>(&answer.text()).expect("JSON")["errors"].clone()
    };
    same(told(&refused("/v1/opscore/workflows?strict=true", &definition)), "");
    server.get("/v1/opscore/workflows/w").problem(404);
    let answer = server.post("/v1/opscore/workflows", &definition).is(201);
    same(told(&answer["warnings"]), "");
    let kept = server.get("/v1/opscore/workflows/w").is(200);
    assert!(kept.get("warnings").is_none(), "{kept}");
    let yaml = "id: w\nname: W\ntasks:\n  - taskId: a\n    capability: x\n    maxRetries: 1000\n";
    let strict = Request::new("POST", "/v1/opscore/workflows?strict").body("application/yaml", yaml);
    assert_eq!(server.send(strict).faults(), ["/tasks/0/capability", "/tasks/0/maxRetries"], "all at once");

    let trigger = format!("/v1/opscore/agent/{id}/workflow");
    let body = json!({"workflowDefinition": definition, "initialPayload": {"capability": 1}});
    same(told(&refused(&format!("{trigger}?strict=true"), &body)), "/workflowDefinition");
    let answer = server.post(&trigger, &body).is(202);
    same(told(&answer["warnings"]), "/workflowDefinition");
    let known = json!({"id": "k", "name": "K", "tasks": [{"taskId": "a", "workflow": {"id": "w"}, "onFailure": {"goto": "b"}},
        {"taskId": "b", "retry": {"initial": "1s"}, "parameters": {"x": 1}}], "output": {"any": 1}, "notify": null});
    let answer = server.post("/v1/opscore/workflows?strict=true", &known).is(201);
    assert!(answer.get("warnings").is_none(), "{answer}");
    assert_eq!(server.post("/v1/opscore/workflows?strict=maybe", &known).faults(), ["/strict"]);
}

fn hostile_texts_are_kept_as_they_are(database: &Database) {
    let (server, _) = with_agent(database);
    let texts = [
        "'; DROP TABLE agents; --",
        "\" OR \"\"=\"",
        "<script>alert(1)</script>",
        "${input.x}",
        "💩\u{202e}",
        "%s%n",
    ];
    for text in texts {
        let sent = json!({
            "agentName": text, "version": "1", "capabilities": [text], "contactEndpoint": "http://127.0.0.1:9/run",
            "metadata": {text: text},
        });
        let id = server.post("/v1/agents/register", &sent).is(201)["data"]["agentId"].clone();
        let kept = server.get(&format!("/v1/agents/{}", id.as_str().unwrap())).is(200)["data"].clone();
        for name in ["agentName", "capabilities", "metadata"] {
            assert_eq!(kept[name], sent[name]);
        }
        server.report(id.as_str().unwrap(), "idle", &json!({text: text}));
        let shown = server.get(&format!("/v1/opscore/agent/{}/state", id.as_str().unwrap())).is(200);
        assert_eq!(shown["details"], json!({text: text}));
    }
    let nul = json!({"agentName": "a\u{0}b", "version": "1", "capabilities": []});
    assert_eq!(server.post("/v1/agents/register", &nul).faults(), ["/agentName"]);
    assert_eq!(items(&server.get("/v1/agents").is(200)).len(), texts.len() + 1);
}

fn foreign_endpoints_are_refused(database: &Database) {
    let (server, id) = with_agent(database);
    let endpoints = [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "javascript:alert(1)",
        "unix:///tmp/x",
        "127.0.0.1:80",
        "/run",
        "http://",
        "http:///run",
        "http://user:pass@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://a b/",
        "http://127.0.0.1/\r\nx: y",
        "",
        "data:text/plain,x",
    ];
    for endpoint in endpoints {
        let body = json!({"agentName": "x", "version": "1", "capabilities": [], "contactEndpoint": endpoint});
        assert_eq!(server.post("/v1/agents/register", &body).faults(), ["/contactEndpoint"], "{endpoint:?}");
        let patch = server.patch(&format!("/v1/agents/{id}"), &json!({"contactEndpoint": endpoint}));
        assert_eq!(patch.faults(), ["/contactEndpoint"], "{endpoint:?}");
        let tool = json!({"name": "t", "description": "d", "parameters": {}, "endpoint": endpoint});
        assert_eq!(server.post("/v1/tools", &tool).faults(), ["/endpoint"], "{endpoint:?}");
    }
}

fn metadata_addresses_are_never_called(database: &Database) {
    let server = Server::start(database);
    let hosts = [
        "169.254.169.254",
        "169.254.1.1",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
    ];
    for (index, host) in hosts.iter().enumerate() {
        let body = json!({
            "agentName": format!("agent {index}"), "version": "1", "capabilities": [],
            "contactEndpoint": format!("http://{host}/latest/meta-data/"),
        });
        let answer = server.post("/v1/agents/register", &body);
        if answer.status == 422 {
            assert_eq!(answer.faults(), ["/contactEndpoint"]);
            continue;
        }
        let id = answer.is(201)["data"]["agentId"].as_str().unwrap().to_owned();
        let message = server.run(&id, &json!({}));
        let refused = eventually("the delivery to be refused", || {
            let message = server.message(&message);
            if message["lastError"].is_string() { Ok(message) } else { Err(message.to_string()) }
        });
        let error = refused["lastError"].as_str().unwrap().to_lowercase();
        let says_why = ["allow", "polic", "forbid", "metadata", "link-local", "denied", "blocked"];
        assert!(says_why.iter().any(|word| error.contains(word)), "{host}: {error}");
    }
}

fn loopback_can_be_forbidden_too(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_EGRESS_FORBID_LOOPBACK", "true").start();
    let agent = Agent::start();
    let port = agent.url().rsplit(':').next().unwrap().to_owned();
    for (index, host) in
        ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1"].iter().enumerate()
    {
        let body = json!({
            "agentName": format!("agent {index}"), "version": "1", "capabilities": [],
            "contactEndpoint": format!("http://{host}:{port}"),
        });
        let answer = server.post("/v1/agents/register", &body);
        if answer.status == 422 {
            continue;
        }
        let id = answer.is(201)["data"]["agentId"].as_str().unwrap().to_owned();
        let message = server.run(&id, &json!({}));
        eventually("the delivery to be refused", || {
            let message = server.message(&message);
            if message["lastError"].is_string() { Ok(()) } else { Err(message.to_string()) }
        });
    }
    assert_eq!(agent.count(), 0);
}

/// What a peer does to a connection on which bytes dribble in.
fn until_cut_off(mut connection: Connection, dribble: &[u8]) {
    let pause = Duration::from_millis(100);
    connection.socket().set_read_timeout(Some(pause)).unwrap();
    within(CUT_OFF, "the connection to be closed", || {
        let mut answer = [0; 1024];
        match connection.socket().read(&mut answer) {
            Ok(0) => Ok(()),
            Ok(_) => Err("an answer".to_owned()),
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) => {
                match connection.write_raw(dribble) {
                    Ok(()) => Err("an open connection".to_owned()),
                    Err(_) => Ok(()),
                }
            }
            Err(_) => Ok(()),
        }
    });
}

fn a_slow_sender_is_cut_off(database: &Database) {
    let server = Setup::new(database)
        .env("SIGNALBOX_HEADER_TIMEOUT", "1s")
        .env("SIGNALBOX_BODY_TIMEOUT", "1s")
        .start();
    let mut headers = Connection::open(&server.address()).unwrap();
    headers.write_raw(b"POST /v1/agents/register HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut body = Connection::open(&server.address()).unwrap();
    let head = format!(
        "POST /v1/agents/register HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{{",
        server.address()
    );
    body.write_raw(head.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| until_cut_off(headers, b"x-slow: 1\r\n"));
        scope.spawn(|| until_cut_off(body, b" "));
        server.get("/health").is(200);
    });
    server.get("/health").is(200);
}

fn an_idle_connection_outlives_the_time_for_headers(database: &Database) {
    let server = Setup::new(database)
        .env("SIGNALBOX_HEADER_TIMEOUT", "100ms")
        .env("SIGNALBOX_KEEP_ALIVE_TIMEOUT", "2s")
        .start();
    let mut idle = Connection::open(&server.address()).unwrap();
    assert_eq!(idle.send(&Request::get("/health")).unwrap().status, 200);
    let since = now().instant;
    assert_eq!(idle.socket().read(&mut [0; 16]).unwrap(), 0, "it is closed in the end");
    assert!(since.elapsed() >= Duration::from_secs(1), "closed after {:?}", since.elapsed());
    // A head that has begun has no more time than the first one.
    let server = Setup::new(database)
        .env("SIGNALBOX_HEADER_TIMEOUT", "1s")
        .env("SIGNALBOX_KEEP_ALIVE_TIMEOUT", "1h")
        .start();
    let mut begun = Connection::open(&server.address()).unwrap();
    assert_eq!(begun.send(&Request::get("/health")).unwrap().status, 200);
    begun.write_raw(b"GET /health HTTP/1.1\r\n").unwrap();
    until_cut_off(begun, b"x-slow: 1\r\n");
}

fn half_a_body_is_not_a_request(database: &Database) {
    let (server, _) = with_agent(database);
    let whole = json!({"agentName": "half", "version": "1", "capabilities": []}).to_string();
    for _ in 0..20 {
        let mut connection = Connection::open(&server.address()).unwrap();
        // Under the server's own host, or the refusal would be about that.
        let half = format!(
            "POST /v1/agents/register HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{whole}",
            server.address(),
            whole.len() + 50
        );
        if let Some(response) = say_and_hang_up(&mut connection, half.as_bytes()) {
            assert!([400, 408].contains(&response.status), "{}", response.shown());
        }
    }
    assert_eq!(items(&server.get("/v1/agents").is(200)).len(), 1, "half a request did nothing");
}

/// Writes, sends no more, and reads what is answered. A server that has heard enough may close before it has
/// read everything: then there is nothing to hang up, and perhaps no answer either.
fn say_and_hang_up(connection: &mut Connection, bytes: &[u8]) -> Option<Response> {
    if connection.write_raw(bytes).is_ok() {
        let _ = connection.socket().shutdown(Shutdown::Write);
    }
    connection.read().ok()
}

fn what_is_not_http_is_refused(database: &Database) {
    let (server, _) = with_agent(database);
    let inputs: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELO mail.example.org\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/agents HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/agents HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
    ];
    for input in inputs {
        let mut connection = Connection::open(&server.address()).unwrap();
        if let Some(response) = say_and_hang_up(&mut connection, input) {
            assert!((400..600).contains(&response.status) && response.status != 500, "{}", response.shown());
        }
    }
    let many = (0..2_000).fold(Request::get("/health"), |request, n| request.header(&format!("x-{n}"), "v"));
    let response = server.send(many);
    assert!([200, 400, 431].contains(&response.status), "{}", response.shown());
    // A head without end may also be cut off without a word.
    let large = Request::get("/health").header("x-large", "v".repeat(2 * 1024 * 1024));
    if let Ok(response) = server.api().try_send(large) {
        assert!([400, 431].contains(&response.status), "{}", response.shown());
    }
    server.get("/health").is(200);
}

fn an_answer_does_not_wait_for_what_follows_the_request(database: &Database) {
    let (server, _) = with_agent(database);
    let whole = "POST /v1/agents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    // Some clients end a body with an empty line that does not belong to it; others begin the next request.
    for follows in ["", "\r\n", "GET /hea"] {
        let mut connection = Connection::open(&server.address()).unwrap();
        connection.write_raw(format!("{whole}{follows}").as_bytes()).unwrap();
        let answer =
            connection.read().unwrap_or_else(|error| panic!("no answer before {follows:?}: {error}"));
        assert_eq!(answer.faults().len(), 3);
    }
    let mut connection = Connection::open(&server.address()).unwrap();
    connection.write_raw(whole.repeat(3).as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(connection.read().expect("three requests have three answers").faults().len(), 3);
    }
}

fn many_connections_at_once_are_all_answered(database: &Database) {
    let (server, id) = with_agent(database);
    let agent = Agent::start();
    server.patch(&format!("/v1/agents/{id}"), &json!({"contactEndpoint": agent.url()})).is(200);
    let mut connections: Vec<_> =
        (0..256).map(|_| Connection::open(&server.address()).expect("a connection")).collect();
    for (n, connection) in connections.iter_mut().enumerate() {
        let request = match n % 3 {
            0 => Request::get("/v1/agents"),
            1 => Request::post(
                format!("/v1/agents/{id}/run"),
                &json!({"task_name": "t", "parameters": {"n": n}}),
            ),
            _ => Request::post(
                format!("/v1/opscore/agent/{id}/state"),
                &json!({"agentId": id, "timestamp": crate::support::iso(), "state": "idle"}),
            ),
        };
        connection.write(&server.authorized(request)).unwrap();
    }
    let mut accepted = 0;
    for (n, connection) in connections.iter_mut().enumerate() {
        let response = connection.read().expect("an answer");
        // So many changes of one agent at once conflict with each other, and get through all the same.
        drop(response.is(if n % 3 == 0 { 200 } else { 202 }));
        accepted += usize::from(n % 3 == 1);
    }
    eventually("every accepted message to arrive", || {
        let count = agent.count();
        if count >= accepted { Ok(()) } else { Err(format!("{count} of {accepted}")) }
    });
}
