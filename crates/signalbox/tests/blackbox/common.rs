//! What holds on every surface: request ids, idempotency, health, metrics, the description of the API.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Api, Database, PATIENCE, PLATFORM_KEY, Request, Response, Server, Setup, eventually,
    items, on_each_database, task_of,
};

on_each_database![
    every_answer_carries_a_request_id,
    an_idempotency_key_gives_the_first_answer_again,
    an_idempotency_key_holds_over_a_kill,
    what_depends_on_how_things_stand_is_asked_anew,
    a_parameter_given_twice_is_named,
    of_many_with_one_idempotency_key_one_takes_effect,
    health_and_readiness_are_open,
    metrics_have_the_families_that_matter,
    metrics_count_what_an_operator_watches,
    the_access_log_says_who_called,
    the_description_lists_every_route,
    the_browsable_page_loads_nothing_foreign,
    an_unknown_route_is_a_problem,
    what_is_not_there_is_told_with_what_to_do,
    a_wrong_method_is_a_problem,
    a_surface_that_is_off_is_not_there,
    a_connection_serves_many_requests,
];

fn registration(name: &str) -> Value {
    json!({"agentName": name, "version": "1", "contactEndpoint": "http://127.0.0.1:9/run", "capabilities": []})
}

fn register_once(api: &Api, key: &str, name: &str) -> Response {
    api.send(Request::post("/v1/agents/register", &registration(name)).header("idempotency-key", key))
}

fn every_answer_carries_a_request_id(database: &Database) {
    let server = Server::start(database);
    let paths = [
        "/health",
        "/ready",
        "/metrics",
        "/v1/agents",
        "/v1/agents/none",
        "/nowhere",
        "/v1/opscore/sessions",
    ];
    let mut made = BTreeSet::new();
    for path in paths {
        let own = server.send(Request::get(path).header("x-request-id", "my-own-id-123"));
        assert_eq!(own.header("x-request-id"), Some("my-own-id-123"), "{path}");
        made.insert(server.get(path).header("x-request-id").expect("one is made").to_owned());
    }
    assert_eq!(made.len(), paths.len(), "each request has its own: {made:?}");
    let hostile = server.send(Request::get("/health").header("x-request-id", "x".repeat(5_000)));
    assert!(hostile.status < 500, "{}", hostile.shown());
}

fn an_idempotency_key_gives_the_first_answer_again(database: &Database) {
    let server = Server::start(database);
    let first = register_once(&server, "key-1", "once");
    let again = register_once(&server, "key-1", "once");
    assert_eq!(first.is(201), again.is(201), "not a 409: it is the same request");
    assert_eq!(again.header("content-type"), first.header("content-type"));
    register_once(&server, "key-1", "another body").problem(422);
    register_once(&server, "key-2", "once").problem(409);
    assert_eq!(server.all_pages("/v1/agents", 10).len(), 1);

    let agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    let run = Request::post(format!("/v1/agents/{id}/run"), &json!({"task_name": "t", "parameters": {}}))
        .header("idempotency-key", "run-1");
    let answers = [server.send(run.clone()).is(202), server.send(run).is(202)];
    assert_eq!(answers[0], answers[1]);
    let last = server.run(&id, &json!({"last": true}));
    let message = answers[0]["data"]["messageId"].as_str().unwrap();
    assert_eq!(
        arrived(&agent, 2),
        BTreeSet::from([message.to_owned(), last]),
        "the repeat made no second message"
    );

    let definition = json!({"id": "w", "name": "W", "tasks": []});
    let trigger =
        Request::post(format!("/v1/opscore/agent/{id}/workflow"), &json!({"workflowDefinition": definition}))
            .header("idempotency-key", "trigger-1");
    let answers = [server.send(trigger.clone()).is(202), server.send(trigger).is(202)];
    assert_eq!(answers[0], answers[1]);
    assert_eq!(server.all_pages("/v1/opscore/sessions", 10).len(), 1);
}

fn an_idempotency_key_holds_over_a_kill(database: &Database) {
    let mut server = Server::start(database);
    let first = register_once(&server, "kept", "once").is(201);
    server.kill();
    server.restart();
    assert_eq!(register_once(&server, "kept", "once").is(201), first);
    register_once(&server, "kept", "other").problem(422);
}

fn what_depends_on_how_things_stand_is_asked_anew(database: &Database) {
    let server = Server::start(database);
    let body = json!({"senderId": "s", "messageType": "text", "payload": {}});
    let run = || server.send(Request::post("/v1/agents/late/run", &body).header("idempotency-key", "k"));
    run().problem(404);
    let late = json!({"agentId": "late", "agentName": "late", "version": "1", "capabilities": [],
                      "contactEndpoint": "http://127.0.0.1:9/run"});
    server.post("/v1/agents", &late).is(201);
    assert_eq!(run().is(202), run().is(202), "from then on it is the same answer");
    let invalid_transition = || {
        let request = Request::post("/v1/agents", &json!({})).header("idempotency-key", "m");
        let answer = server.send(request);
        answer.faults();
        answer.header("idempotency-replayed").is_some()
    };
    assert_eq!(
        (invalid_transition(), invalid_transition()),
        (false, true),
        "what rests on the request alone is kept"
    );
}

fn a_parameter_given_twice_is_named(database: &Database) {
    let server = Server::start(database);
    assert_eq!(server.get("/v1/agents?limit=1&limit=2").faults(), ["/limit"]);
}

fn of_many_with_one_idempotency_key_one_takes_effect(database: &Database) {
    let server = Server::start(database);
    let api = server.api();
    let agent = Agent::start();
    let id = server.register("receiver", &agent, &[]);
    let answers: Vec<Response> = thread::scope(|scope| {
        let run = || {
            let body = json!({"senderId": "s", "messageType": "text", "payload": {}});
            let request = Request::post(format!("/v1/agents/{id}/run"), &body);
            api.send(request.header("idempotency-key", "contested"))
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // One that comes while the first is under way may be told so instead.
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    let ids: BTreeSet<String> = accepted.iter().map(|answer| answer.is(202)["data"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| [202, 409].contains(&answer.status)), "{answers:?}");
    let last = server.run(&id, &json!({"last": true}));
    let message = accepted[0].is(202)["data"]["messageId"].as_str().unwrap().to_owned();
    assert_eq!(arrived(&agent, 2), BTreeSet::from([message, last]));
}

/// The ids of the first messages that an agent gets, in any order.
fn arrived(agent: &Agent, count: usize) -> BTreeSet<String> {
    (0..count).map(|_| agent.next().header("x-message-id").to_owned()).collect()
}

fn health_and_readiness_are_open(database: &Database) {
    let server = Server::start(database);
    assert_eq!(server.without_key().get("/health").is(200), json!({"status": "ok"}));
    server.without_key().get("/ready").is(200);
}

fn metrics_have_the_families_that_matter(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::start();
    let id = server.register("measured", &agent, &[]);
    server.run(&id, &json!({}));
    agent.next();
    let response = server.get("/metrics");
    assert_eq!(response.status, 200);
    assert!(
        response.header("content-type").is_some_and(|kind| kind.contains("text")),
        "{}",
        response.shown()
    );
    let text = response.text();
    let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for word in ["request", "decision", "commit", "due", "deliver"] {
        assert!(families.iter().any(|family| family.contains(word)), "{word}: {families:?}");
    }
    assert!(!text.contains(&id), "a label for each agent would never stop growing");
}

fn metrics_count_what_an_operator_watches(database: &Database) {
    let server = Server::start(database);
    let agent = Agent::first([AgentReply::Status(422)]);
    let id = server.register("measured", &agent, &[]);
    let dead = server.run(&id, &json!({}));
    server.message_becomes(&dead, "dead", PATIENCE);
    let workflow = |id: &str, task: Value| json!({"id": id, "name": id, "tasks": [task]});
    server.trigger(&id, &workflow("waits", json!({"taskId": "t", "agentCapability": "rare"})), &json!({}));
    server.trigger(&id, &workflow("runs", json!({"taskId": "t"})), &json!({}));
    agent.next();
    let task = agent.next();
    server.report(&id, "active", &json!({"opscore_task_id": task_of(&task)}));
    let silent = server.register_at("silent", "http://127.0.0.1:9/run", &[]);
    server.report(&silent, "making-coffee", &Value::Null);
    let over = json!({"id": "over", "name": "over", "tasks": []});
    server.trigger(&id, &over, &json!({}));
    // The first look counts; what follows may show the same for some seconds.
    let text = server.get("/metrics").text();
    for line in [
        "signalbox_sessions{status=\"running\"} 1",
        "signalbox_sessions{status=\"paused\"} 0",
        "signalbox_sessions_ended_total{status=\"completed\"} 1",
        "signalbox_tasks_waiting 1",
        "signalbox_tasks_running 1",
        "signalbox_agents{state=\"active\"} 1",
        "signalbox_agents{state=\"other\"} 1",
        "signalbox_dead_letters_kept 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
    }
    assert!(!text.contains("making-coffee"), "labels are not made by agents");
    assert!(text.contains(&format!("signalbox_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    for name in ["resident_memory_bytes", "open_fds", "max_fds", "cpu_seconds", "start_time_seconds"] {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
        let value: f64 = line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap();
        assert!(value > 0.0 || name == "cpu_seconds", "{name} {value}");
    }
}

fn the_access_log_says_who_called(database: &Database) {
    let server = Setup::new(database)
        .env("SIGNALBOX_LOG", "info,access=debug")
        .env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY)
        .start();
    let id = server.register_at("logged", "http://127.0.0.1:9/run", &[]);
    server.report(&id, "idle", &Value::Null);
    let platform = server.with_key(PLATFORM_KEY);
    let made = platform.post("/api/v1/tenants", &json!({"name": "other"})).is(201);
    let tenant = made["tenant_id"].as_str().unwrap();
    let key = made["api_key"].as_str().unwrap();
    server.with_key(key).get("/v1/agents").is(200);
    server.with_key("nobody's key, but a long one").get("/v1/agents").problem(401);
    for (route, status, of) in [
        ("/v1/opscore/agent/{agentId}/state", 202, Some("default")),
        ("/v1/agents", 200, Some(tenant)),
        ("/v1/agents", 401, None),
    ] {
        eventually("a line of the access log", || {
            let log = server.stderr();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut lines = lines.filter(|line| line["target"] == "access");
            let is_it = |line: &Value| {
                line["route"] == route && line["status"] == status && line["tenant"].as_str() == of
            };
            let line = lines.find(is_it).ok_or_else(|| log.clone())?;
            let peer = line["peer"].as_str().unwrap_or_default();
            if peer.starts_with("127.0.0.1:") { Ok(()) } else { Err(line.to_string()) }
        });
    }
}

fn the_description_lists_every_route(database: &Database) {
    let server = Server::start(database);
    let description = server.without_key().get("/openapi.json").is(200);
    assert!(description["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    let mut known = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for method in operations.as_object().expect("operations").keys() {
            known.insert(format!("{} {}", method.to_uppercase(), without_names(path)));
        }
    }
    for route in ROUTES {
        assert!(known.contains(*route), "{route} is not described; these are: {known:#?}");
    }
}

/// The path with every `{name}` as `{}`.
fn without_names(path: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

const ROUTES: &[&str] = &[
    "POST /v1/agents/register",
    "POST /v1/agents",
    "GET /v1/agents",
    "GET /v1/agents/{}",
    "PATCH /v1/agents/{}",
    "DELETE /v1/agents/{}",
    "POST /v1/agents/{}/run",
    "GET /v1/messages/{}",
    "GET /v1/dead-letters",
    "GET /v1/dead-letters/{}",
    "DELETE /v1/dead-letters/{}",
    "POST /v1/dead-letters/{}/redrive",
    "POST /v1/dead-letters/redrive",
    "POST /v1/tools",
    "GET /v1/tools",
    "GET /v1/tools/{}",
    "DELETE /v1/tools/{}",
    "POST /v1/opscore/internal/agent/notify",
    "POST /v1/opscore/agent/{}/state",
    "GET /v1/opscore/agent/{}/state",
    "GET /v1/opscore/agent/{}/history",
    "POST /v1/opscore/agent/{}/workflow",
    "POST /v1/opscore/agent/{}/logs",
    "POST /v1/opscore/workflows",
    "GET /v1/opscore/workflows",
    "GET /v1/opscore/workflows/{}",
    "DELETE /v1/opscore/workflows/{}",
    "POST /v1/opscore/workflows/{}/trigger",
    "GET /v1/opscore/sessions",
    "GET /v1/opscore/sessions/{}",
    "POST /v1/opscore/sessions/{}/pause",
    "POST /v1/opscore/sessions/{}/resume",
    "POST /v1/opscore/sessions/{}/cancel",
    "POST /v1/opscore/sessions/{}/retry",
    "POST /v1/opscore/sessions/{}/signal",
    "GET /v1/opscore/sessions/{}/events",
    "GET /v1/opscore/sessions/{}/timeline",
    "POST /v1/opscore/sessions/{}/rerun",
    "DELETE /v1/opscore/sessions/{}",
    "POST /v1/opscore/sessions/pause",
    "POST /v1/opscore/sessions/resume",
    "POST /v1/opscore/sessions/cancel",
    "POST /v1/opscore/sessions/retry",
    "POST /v1/opscore/sessions/rerun",
    "POST /v1/opscore/sessions/purge",
    "GET /v1/opscore/retention",
    "PUT /v1/opscore/retention",
    "GET /v1/opscore/workflows/{}/versions",
    "GET /v1/opscore/workflows/{}/versions/{}",
    "DELETE /v1/opscore/workflows/{}/versions/{}",
    "GET /v1/opscore/workflows/{}/versions/{}/compare/{}",
    "POST /v1/opscore/workflows/{}/versions/{}/rollback",
    "GET /v1/opscore/logs",
    "POST /v1/opscore/hooks",
    "GET /v1/opscore/hooks",
    "GET /v1/opscore/hooks/{}",
    "DELETE /v1/opscore/hooks/{}",
    "POST /v1/opscore/hooks/{}/rotate",
    "POST /v1/opscore/hooks/{}/{}/receive",
    "POST /v1/opscore/schedules",
    "GET /v1/opscore/schedules",
    "GET /v1/opscore/schedules/{}",
    "PATCH /v1/opscore/schedules/{}",
    "DELETE /v1/opscore/schedules/{}",
    "POST /v1/opscore/schedules/{}/pause",
    "POST /v1/opscore/schedules/{}/resume",
    "POST /v1/opscore/schedules/{}/trigger",
    "POST /v1/opscore/schedules/{}/backfill",
    "GET /v1/opscore/schedules/{}/runs",
];

fn the_browsable_page_loads_nothing_foreign(database: &Database) {
    let server = Server::start(database);
    let api = server.without_key();
    let (mut path, mut page) = ("/docs".to_owned(), api.get("/docs"));
    while (300..400).contains(&page.status) {
        path = resolve(&path, page.header("location").expect("a redirect says where to"));
        page = api.get(&path);
    }
    assert_eq!(page.status, 200, "{}", page.shown());
    assert!(page.header("content-type").is_some_and(|kind| kind.contains("text/html")));
    assert!(page.text().contains("control plane for AI agents"), "it opens with what this is");
    let loaded = references(&page.text());
    assert!(!loaded.is_empty(), "a page that loads nothing shows nothing: {}", page.shown());
    for reference in loaded {
        let foreign = reference.starts_with("//") || reference.contains("://");
        assert!(!foreign, "{reference} is loaded from elsewhere");
        if !reference.starts_with("data:") && !reference.starts_with('#') {
            let part = api.get(&resolve(&path, &reference));
            assert_eq!(part.status, 200, "{}", part.request);
        }
    }
}

/// What a page's tags load or link to.
fn references(html: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["src=", "href="] {
        for rest in html.split(attribute).skip(1) {
            let quote = rest.chars().next().filter(|quote| ['"', '\''].contains(quote));
            let value = quote.and_then(|quote| rest[1..].split(quote).next());
            found.extend(value.map(str::to_owned));
        }
    }
    found
}

fn resolve(from: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{}", reference.trim_start_matches("./"))
}

/// Whoever reads a 404 learns from it where to look.
fn what_is_not_there_is_told_with_what_to_do(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("reader", "http://127.0.0.1:9/run", &[]);
    let definition = json!({"id": "report", "name": "Report", "tasks": []});
    server.post("/v1/opscore/workflows", &definition).succeeded();
    let tool =
        json!({"name": "fetch", "description": "", "parameters": {}, "endpoint": "http://127.0.0.1:9/"});
    server.post("/v1/tools", &tool).succeeded();
    let note = json!({"senderId": "t", "messageType": "text", "payload": {}});
    let state = |agent: &str| json!({"agentId": agent, "timestamp": "2024-01-01T12:00:00Z", "state": "idle"});
    let (post, get, delete) = ("POST", "GET", "DELETE");
    for (method, path, body) in [
        (get, "/v1/agents/none", json!({})),
        ("PATCH", "/v1/agents/none", json!({})),
        (delete, "/v1/agents/none", json!({})),
        (post, "/v1/agents/none/run", note.clone()),
        (get, "/v1/messages/none", json!({})),
        (get, "/v1/dead-letters/none", json!({})),
        (delete, "/v1/dead-letters/none", json!({})),
        (post, "/v1/dead-letters/none/redrive", json!({})),
        (get, "/v1/tools/none", json!({})),
        (delete, "/v1/tools/none", json!({})),
        (delete, "/v1/keys/none", json!({})),
        (post, "/v1/opscore/agent/none/state", state("none")),
        (get, "/v1/opscore/agent/none/state", json!({})),
        (get, "/v1/opscore/agent/none/history", json!({})),
        (post, "/v1/opscore/agent/none/drain", json!({})),
        (post, "/v1/opscore/agent/none/logs", json!({"level": "info", "message": "m"})),
        (post, "/v1/opscore/agent/none/workflow", json!({"workflowDefinitionId": "report"})),
        (post, &format!("/v1/opscore/agent/{id}/workflow"), json!({"workflowDefinitionId": "none"})),
        (get, "/v1/opscore/workflows/none", json!({})),
        (delete, "/v1/opscore/workflows/none", json!({})),
        (post, "/v1/opscore/workflows/none/trigger", json!({})),
        (get, "/v1/opscore/workflows/none/versions", json!({})),
        (get, "/v1/opscore/workflows/report/versions/9", json!({})),
        (get, "/v1/opscore/sessions/none", json!({})),
        (delete, "/v1/opscore/sessions/none", json!({})),
        (get, "/v1/opscore/sessions/none/events", json!({})),
        (get, "/v1/opscore/sessions/none/timeline", json!({})),
        (post, "/v1/opscore/sessions/none/pause", json!({})),
        (post, "/v1/opscore/sessions/none/rerun", json!({})),
        (post, "/v1/opscore/sessions/none/signal", json!({"name": "go"})),
        (get, "/v1/opscore/schedules/none", json!({})),
        (post, "/v1/opscore/schedules/none/pause", json!({})),
        (get, "/v1/opscore/hooks/none", json!({})),
        (get, "/v1/opscore/payloads/none", json!({})),
        (get, "/v1/nowhere", json!({})),
    ] {
        let problem = server.send(Request::new(method, path).json(&body)).problem(404);
        let says = |part: &str| problem.detail.contains(part);
        assert!(says("GET /"), "{method} {path}: {}", problem.detail);
    }
    let meant = |method: &str, path: &str, body: &Value| {
        server.send(Request::new(method, path).json(body)).problem(404).detail
    };
    let tells = |detail: String, part: &str| assert!(detail.contains(part), "{part}: {detail}");
    tells(meant(get, "/v1/agents/reader", &json!({})), &id);
    tells(meant(post, "/v1/agents/reader/run", &note), &id);
    tells(meant(post, "/v1/opscore/workflows/reprot/trigger", &json!({})), "did you mean 'report'?");
    tells(meant(get, "/v1/opscore/workflows/reports", &json!({})), "did you mean 'report'?");
    let call = |tool: &str| json!({"senderId": "t", "messageType": "tool_invocation", "payload": {"tool_name": tool, "arguments": {}}});
    tells(meant(post, &format!("/v1/agents/{id}/run"), &call("fetsh")), "did you mean 'fetch'?");
    tells(meant(post, &format!("/v1/agents/{id}/run"), &call("ecoh")), "did you mean 'echo'?");
    tells(meant(post, "/v1/agent/register", &json!({})), "did you mean /v1/agents/register?");
    tells(meant(get, "/v1/opscore/agents/x/state", &json!({})), "did you mean /v1/opscore/agent/x/state?");
}

fn an_unknown_route_is_a_problem(database: &Database) {
    let server = Server::start(database);
    for path in
        ["/nowhere", "/v1", "/v1/nowhere", "/v1/opscore/nowhere", "/v1/agents/x/y/z", "/api/v1/nowhere", "//"]
    {
        server.get(path).problem(404);
        server.post(path, &json!({})).problem(404);
    }
    server.get("/docs/nope.js").problem(404);
}

fn a_wrong_method_is_a_problem(database: &Database) {
    let server = Server::start(database);
    let wrong = [
        ("DELETE", "/v1/agents"),
        ("GET", "/v1/agents/register/"),
        ("PUT", "/v1/agents/x"),
        ("GET", "/v1/agents/x/run"),
        ("PATCH", "/v1/tools"),
        ("POST", "/v1/opscore/sessions"),
        ("PUT", "/v1/opscore/workflows"),
        ("POST", "/health"),
    ];
    for (method, path) in wrong {
        let response = server.send(Request::new(method, path));
        if path.ends_with('/') {
            response.problem(404);
        } else {
            response.problem(405);
            assert!(response.header("allow").is_some_and(|allow| !allow.is_empty()), "{}", response.shown());
        }
    }
}

fn a_surface_that_is_off_is_not_there(database: &Database) {
    let agentkit = Setup::new(database).arg("--surfaces").arg("agentkit").start();
    assert_eq!(items(&agentkit.get("/v1/agents").is(200)), [Value::Null; 0]);
    let told = agentkit.get("/v1/opscore/sessions").problem(404).detail;
    assert!(!told.contains("did you mean"), "a path that is not served is not named: {told}");
    agentkit.get("/health").is(200);
    drop(agentkit);
    let opscore = Setup::new(database).arg("--surfaces").arg("opscore").start();
    opscore.get("/v1/opscore/sessions").is(200);
    opscore.get("/v1/agents").problem(404);
    opscore.get("/health").is(200);
    drop(opscore);
    // The third surface is alike, with all that it has.
    let artcafe = ["/api/v1/agents", "/api/v1/channels", "/api/v1/ssh-keys", "/api/v1/usage-metrics"];
    let without = Setup::new(database).arg("--surfaces").arg("agentkit,opscore").start();
    for path in artcafe {
        without.get(path).problem(404);
    }
    without.get("/api/v1/ws/agent/a").problem(404);
    without.post("/api/v1/auth/challenge", &json!({"agent_id": "a"})).problem(404);
    without.get("/v1/agents").is(200);
    without.get("/v1/opscore/sessions").is(200);
    drop(without);
    let alone = Setup::new(database).arg("--surfaces").arg("artcafe").start();
    for path in artcafe {
        alone.get(path).is(200);
    }
    alone.get("/v1/agents").problem(404);
    alone.get("/v1/opscore/sessions").problem(404);
}

fn a_connection_serves_many_requests(database: &Database) {
    let server = Server::start(database);
    let mut connection = crate::support::Connection::open(&server.address()).unwrap();
    for n in 0..50 {
        let request = match n % 4 {
            0 => Request::get("/health"),
            1 => Request::get("/nowhere"),
            2 => Request::post("/v1/agents/register", &json!({"bad": n})),
            _ => Request::post("/v1/agents/register", &registration(&format!("agent {n}"))),
        };
        let status = connection.send(&request).expect("the connection stays").status;
        assert_eq!(status, [200, 404, 422, 201][n % 4]);
    }
}
