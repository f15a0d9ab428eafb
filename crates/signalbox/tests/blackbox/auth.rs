//! Who may call: keys, their scopes, tenants, and what one tenant sees of another.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{
    Agent, AgentReply, Api, Connection, Database, KEY, PATIENCE, PLATFORM_KEY, Request, Server, Setup,
    Worker, eventually, iso, items, on_each_database,
};

on_each_database![
    agentkit_is_keyless_on_loopback_and_opscore_is_not,
    a_first_start_makes_a_key_and_keeps_it_private,
    a_key_does_what_its_scope_allows,
    a_revoked_key_ends_at_once,
    only_the_platform_key_makes_tenants,
    nothing_of_a_tenant_is_visible_to_another,
    names_and_ids_are_unique_within_a_tenant_only,
    an_address_beyond_loopback_needs_keys,
    secrets_stay_out_of_the_log,
    a_kept_answer_is_only_for_who_got_it,
    a_lost_answer_is_told_of_what_was_made,
    a_key_is_shown_once_and_kept_nowhere,
    a_server_can_ask_everybody_for_a_key,
    a_proxy_s_callers_need_a_key,
    a_page_of_another_origin_needs_a_key,
    a_removed_tenant_is_gone_with_everything,
];

fn agentkit_is_keyless_on_loopback_and_opscore_is_not(database: &Database) {
    let server = Server::start(database);
    let open = server.without_key();
    let id = open.register_at("open", "http://127.0.0.1:9/run", &[]);
    open.get(&format!("/v1/agents/{id}")).is(200);
    assert_eq!(items(&server.get("/v1/agents").is(200)).len(), 1, "without a key it is the tenant `default`");
    for path in
        ["sessions", "workflows", "logs", &format!("agent/{id}/state"), &format!("agent/{id}/history")]
    {
        let refused = open.get(&format!("/v1/opscore/{path}"));
        refused.problem(401);
        assert!(refused.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
    }
    open.post("/v1/opscore/workflows", &json!({"id": "w", "name": "W", "tasks": []})).problem(401);
    open.get("/v1/keys").problem(401);
    server.with_key("no such key").get("/v1/agents").problem(401);
}

fn a_first_start_makes_a_key_and_keeps_it_private(database: &Database) {
    let mut server = Setup::new(database).without_key().start();
    let file = server.data_dir().join("admin.key");
    let told = format!("made the admin key; it is kept in {}", file.display());
    eventually("the file of the key to be named", || {
        let printed = output(&server);
        if printed.contains(&told) { Ok(()) } else { Err(printed) }
    });
    assert!(!output(&server).contains("sbk_"), "no key is printed: {}", output(&server));
    let key = fs::read_to_string(&file).expect("a file with the key").trim().to_owned();
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{}", file.display());
    server.with_key(&key).get("/v1/opscore/sessions").is(200);
    server.with_key(&key).get("/v1/keys").is(200);
    server.without_key().get("/v1/opscore/sessions").problem(401);

    server.kill();
    server.restart();
    assert!(!output(&server).contains("sbk_"), "a second start shows none: {}", output(&server));
    server.with_key(&key).get("/v1/opscore/sessions").is(200);
}

fn output(server: &Server) -> String {
    format!("{}{}", server.stdout(), server.stderr())
}

fn make_key(api: &Api, scope: &str) -> (String, String) {
    let answer = api.post("/v1/keys", &json!({"name": format!("a key to {scope}"), "scope": scope})).is(201);
    let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned();
    (text("keyId"), text("key"))
}

fn a_key_does_what_its_scope_allows(database: &Database) {
    let server = Server::start(database);
    let id = server.register_at("agent", "http://127.0.0.1:9/run", &[]);
    let [read, agent, admin] =
        ["read", "agent", "admin"].map(|scope| server.with_key(&make_key(&server, scope).1));
    let definition = json!({"id": "w", "name": "W", "tasks": []});
    for api in [&read, &agent, &admin] {
        api.get("/v1/opscore/sessions").is(200);
        api.get(&format!("/v1/agents/{id}")).is(200);
    }
    read.try_report(&id, "idle", &Value::Null, &iso()).problem(403);
    read.post("/v1/opscore/workflows", &definition).problem(403);
    read.delete(&format!("/v1/agents/{id}")).problem(403);
    read.post("/v1/agents/register", &json!({"agentName": "x", "version": "1", "capabilities": []}))
        .problem(403);
    agent.report(&id, "idle", &Value::Null);
    for api in [&read, &agent] {
        api.post("/v1/keys", &json!({"name": "more", "scope": "admin"})).problem(403);
        api.post("/api/v1/tenants", &json!({"name": "more"})).problem(403);
    }
    admin.post("/v1/opscore/workflows", &definition).succeeded();
    admin.delete(&format!("/v1/agents/{id}")).succeeded();
    let faults = server.post("/v1/keys", &json!({"name": 5, "scope": "god"})).faults();
    assert_eq!(faults, ["/name", "/scope"]);
}

fn a_revoked_key_ends_at_once(database: &Database) {
    let mut server = Server::start(database);
    let (key_id, key) = make_key(&server, "read");
    let api = server.with_key(&key);
    api.get("/v1/opscore/sessions").is(200);
    let list = server.get("/v1/keys").is(200);
    assert!(items(&list).iter().any(|known| known["keyId"] == key_id.as_str()), "{list}");
    assert!(!list.to_string().contains(&key), "a key is shown once");

    server.delete(&format!("/v1/keys/{key_id}")).succeeded();
    api.get("/v1/opscore/sessions").problem(401);
    api.get("/v1/agents").problem(401);
    server.kill();
    server.restart();
    api.get("/v1/opscore/sessions").problem(401);
    server.delete("/v1/keys/key_unknown").absent();
}

fn with_platform_key(database: &Database) -> Server {
    Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start()
}

fn make_tenant(server: &Server, name: &str) -> (String, Api) {
    let platform = server.with_key(PLATFORM_KEY);
    let answer =
        platform.post("/api/v1/tenants", &json!({"name": name, "admin_email": "a@b.example"})).succeeded();
    assert_eq!(answer["success"], true, "{answer}");
    let key = answer["api_key"].as_str().expect("a key");
    (answer["tenant_id"].as_str().expect("an id").to_owned(), server.with_key(key))
}

fn only_the_platform_key_makes_tenants(database: &Database) {
    let server = with_platform_key(database);
    let body = json!({"name": "acme"});
    server.without_key().post("/api/v1/tenants", &body).problem(401);
    server.with_key("wrong").post("/api/v1/tenants", &body).problem(401);
    server.post("/api/v1/tenants", &body).problem(403);
    let (tenant, api) = make_tenant(&server, "acme");
    api.post("/api/v1/tenants", &body).problem(403);
    api.register_at("of acme", "http://127.0.0.1:9/run", &[]);
    assert!(!server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": 7})).faults().is_empty());

    // The platform key acts in a tenant by naming it; no other key does.
    let in_tenant = || Request::get("/v1/agents").header("x-tenant-id", &*tenant);
    assert_eq!(items(&server.with_key(PLATFORM_KEY).send(in_tenant()).is(200)).len(), 1);
    let other = server.send(in_tenant());
    assert!(other.status == 403 || items(&other.is(200)).is_empty(), "{}", other.shown());
}

/// A tenant with something of every kind.
struct Estate {
    agent: String,
    dead: String,
    session: String,
    key: String,
}

fn furnish(api: &Api) -> Estate {
    let refusing = Agent::answering(|_, _| AgentReply::Status(422));
    let agent = api.register("secret agent", &refusing, &["secret"]);
    let dead = api.run(&agent, &json!({"secret": 1}));
    api.message_becomes(&dead, "dead", PATIENCE);
    api.report(&agent, "idle", &json!({"secret": 2}));
    let worker = Worker::start(api, "secret worker", &[]);
    let definition = json!({"id": "secret", "name": "Secret", "tasks": [{"taskId": "t"}]});
    let session = api.trigger(&worker.id, &definition, &json!({}));
    api.session_becomes(&session, "completed");
    let log = json!({"level": "info", "message": "a secret log"});
    api.post(&format!("/v1/opscore/agent/{agent}/logs"), &log).succeeded();
    let tool =
        json!({"name": "secret", "description": "", "parameters": {}, "endpoint": "http://127.0.0.1:9/x"});
    api.post("/v1/tools", &tool).is(201);
    let key = make_key(api, "read").0;
    Estate { agent, dead, session, key }
}

fn nothing_of_a_tenant_is_visible_to_another(database: &Database) {
    let server = with_platform_key(database);
    let (_, owner) = make_tenant(&server, "owner");
    let (_, stranger) = make_tenant(&server, "stranger");
    let Estate { agent, dead, session, key } = furnish(&owner);
    for other in [stranger, server.api(), server.without_key()] {
        let is_keyless = other.get("/v1/opscore/sessions").status == 401;
        let agentkit = [
            format!("/v1/agents/{agent}"),
            format!("/v1/messages/{dead}"),
            format!("/v1/dead-letters/{dead}"),
            "/v1/tools/secret".to_owned(),
        ];
        let opscore = [
            format!("/v1/opscore/agent/{agent}/state"),
            format!("/v1/opscore/agent/{agent}/history"),
            "/v1/opscore/workflows/secret".to_owned(),
            format!("/v1/opscore/sessions/{session}"),
            format!("/v1/opscore/sessions/{session}/events"),
        ];
        let closed: &[String] = if is_keyless { &[] } else { &opscore };
        for path in agentkit.iter().chain(closed) {
            other.get(path).absent();
        }
        let lists = [
            "/v1/agents",
            "/v1/agents?name=secret%20agent",
            "/v1/agents?capability=secret",
            "/v1/dead-letters",
            "/v1/tools",
        ];
        let closed: &[&str] = if is_keyless {
            &[]
        } else {
            &["/v1/opscore/workflows", "/v1/opscore/sessions", "/v1/opscore/logs", "/v1/keys"]
        };
        for path in lists.iter().chain(closed) {
            let list = other.get(path).is(200);
            assert!(!list.to_string().contains("secret"), "{path} shows {list}");
        }
        other.post(&format!("/v1/agents/{agent}/run"), &json!({"task_name": "x", "parameters": {}})).absent();
        other.post(&format!("/v1/dead-letters/{dead}/redrive"), &json!({})).absent();
        other.delete(&format!("/v1/dead-letters/{dead}")).absent();
        other.delete(&format!("/v1/agents/{agent}")).absent();
        other.delete("/v1/tools/secret").absent();
        other.post("/v1/dead-letters/redrive", &json!({})).succeeded();
        if !is_keyless {
            other.try_report(&agent, "idle", &Value::Null, &iso()).absent();
            for verb in ["pause", "resume", "cancel", "retry"] {
                other.post(&format!("/v1/opscore/sessions/{session}/{verb}"), &json!({})).absent();
            }
            other.delete("/v1/opscore/workflows/secret").absent();
            other.delete(&format!("/v1/keys/{key}")).absent();
        }
    }
    assert_eq!(owner.message(&dead)["status"], "dead", "nothing happened to it");
    assert_eq!(
        owner.get(&format!("/v1/opscore/agent/{agent}/history")).is(200)["data"][0]["details"]["secret"],
        2
    );
}

fn names_and_ids_are_unique_within_a_tenant_only(database: &Database) {
    let server = with_platform_key(database);
    let (_, a) = make_tenant(&server, "a");
    let (_, b) = make_tenant(&server, "b");
    let same = |version: &str| {
        json!({"agentId": "agent-1", "agentName": "same", "version": version, "capabilities": [],
               "contactEndpoint": "http://127.0.0.1:9/run"})
    };
    for (api, version) in [(&a, "of a"), (&b, "of b")] {
        let once = Request::post("/v1/agents", &same(version)).header("idempotency-key", "same key");
        api.send(once).is(201);
    }
    for (api, version) in [(&a, "of a"), (&b, "of b")] {
        assert_eq!(api.get("/v1/agents/agent-1").is(200)["data"]["version"], version);
        api.post("/v1/opscore/workflows", &json!({"id": "w", "name": version, "tasks": []})).succeeded();
        api.report("agent-1", version.split(' ').next_back().unwrap(), &Value::Null);
    }
    let first = a.get("/v1/opscore/agent/agent-1/state").is(200);
    assert_eq!(first["state"], "a");
    a.delete("/v1/agents/agent-1").succeeded();
    b.get("/v1/agents/agent-1").is(200);
}

fn an_address_beyond_loopback_needs_keys(database: &Database) {
    let everywhere = || Setup::new(database).without_key().listen(Some("0.0.0.0:0"));
    let Err(refused) = everywhere().try_start() else { panic!("it serves everybody without a key") };
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("--insecure"), "it says the cure: {}", refused.stderr);

    let server = everywhere().arg("--insecure").start();
    eventually("the warning in its log", || {
        let log = server.stderr();
        if log.to_lowercase().contains("insecure") { Ok(()) } else { Err(log) }
    });
    drop(server);

    let server = Setup::new(database).listen(Some("0.0.0.0:0")).start();
    server.without_key().get("/v1/agents").problem(401);
    server.get("/v1/agents").is(200);
    server.without_key().get("/health").is(200);
    let notify = json!({"event_type": "DEREGISTER", "agent_details": {"agentId": "x"}});
    server.without_key().post("/v1/opscore/internal/agent/notify", &notify).problem(401);
}

fn secrets_stay_out_of_the_log(database: &Database) {
    let server = Setup::new(database)
        .env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY)
        .env("OPSCORE_WEBHOOK_SECRET", "a-webhook-secret")
        .env("RUST_LOG", "trace")
        .env("SIGNALBOX_LOG", "trace")
        .start();
    let (_, made) = make_key(&server, "agent");
    let (_, tenant) = make_tenant(&server, "acme");
    tenant.get("/v1/agents").is(200);
    server.with_key(&made).get("/v1/opscore/sessions").is(200);
    server.with_key("an-attempted-key").get("/v1/opscore/sessions").problem(401);
    server.get("/v1/agents?token=in-a-query").problem(422);
    // Each step of a request is logged before the line that says that it was answered.
    eventually("the access log", || {
        let log = server.stderr();
        let is_whole = log.contains("serving") && log.contains("answered") && log.contains("/v1/agents");
        if is_whole { Ok(()) } else { Err(log) }
    });
    let log = format!("{}{}", server.stderr(), server.stdout());
    for secret in [KEY, PLATFORM_KEY, "a-webhook-secret", &made, "an-attempted-key", "in-a-query"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

fn once(path: &str, body: &Value, key: &str) -> Request {
    Request::post(path, body).header("idempotency-key", key)
}

fn a_lost_answer_is_told_of_what_was_made(database: &Database) {
    let mut server = with_platform_key(database);
    for (path, ids, id) in [("/api/v1/tenants", "tenants", "tenant_id"), ("/v1/keys", "data", "keyId")] {
        for round in 0..3 {
            let name = format!("lost-{round}");
            let platform = server.with_key(PLATFORM_KEY);
            let request = once(path, &json!({"name": name, "scope": "read"}), &name);
            let mut connection = Connection::open(&server.address()).unwrap();
            connection.write(&platform.authorized(request.clone())).unwrap();
            let made = |platform: &Api| {
                let list = platform.get(path).is(200);
                let made = list[ids].as_array().expect("a list").iter().filter(|made| made["name"] == name);
                made.map(|made| made[id].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
            };
            // As soon as it is there, whatever else was to become of the request.
            let first = eventually("what was asked for", || made(&platform).pop().ok_or(name.clone()));
            server.kill();
            server.restart();
            let repeated = platform.send(request).problem(409);
            assert!(repeated.detail.contains(&first), "{repeated:?}");
            assert_eq!(made(&platform), [first]);
        }
    }
}

fn a_kept_answer_is_only_for_who_got_it(database: &Database) {
    let server = with_platform_key(database);
    let read = server.with_key(&make_key(&server, "read").1);
    let other = server.with_key(&make_key(&server, "admin").1);
    let key = json!({"name": "x", "scope": "admin"});
    server.send(once("/v1/keys", &key, "k")).is(201);
    read.send(once("/v1/keys", &key, "k")).problem(403);
    read.post("/v1/keys", &key).problem(403);
    let tenant = json!({"name": "acme"});
    server.with_key(PLATFORM_KEY).send(once("/api/v1/tenants", &tenant, "t")).is(201);
    read.send(once("/api/v1/tenants", &tenant, "t")).problem(403);

    // A name that another caller happens to choose as well is no claim to that caller's answer.
    let agent = json!({"agentName": "a", "version": "1", "capabilities": []});
    let registered = server.send(once("/v1/agents", &agent, "a")).is(201);
    assert_eq!(server.send(once("/v1/agents", &agent, "a")).is(201), registered);
    read.send(once("/v1/agents", &agent, "a")).problem(403);
    other.send(once("/v1/agents", &agent, "a")).problem(409);
    server.without_key().send(once("/v1/agents", &agent, "a")).problem(409);
}

fn a_key_is_shown_once_and_kept_nowhere(database: &Database) {
    let server = with_platform_key(database);
    let platform = server.with_key(PLATFORM_KEY);
    let (key, tenant) = (json!({"name": "x", "scope": "read"}), json!({"name": "acme"}));
    let made = server.send(once("/v1/keys", &key, "k")).is(201);
    let founded = platform.send(once("/api/v1/tenants", &tenant, "t")).is(201);
    let repeat = server.send(once("/v1/keys", &key, "k")).problem(409);
    assert!(repeat.detail.contains(made["keyId"].as_str().unwrap()), "{}", repeat.detail);
    let repeat = platform.send(once("/api/v1/tenants", &tenant, "t")).problem(409);
    assert!(repeat.detail.contains(founded["tenant_id"].as_str().unwrap()), "{}", repeat.detail);
    assert_eq!(server.send(once("/v1/keys", &json!({"name": "y", "scope": "read"}), "k")).status, 422);
    let list = server.get("/v1/keys").is(200);
    assert_eq!(items(&list).len(), 1, "one key was made: {list}");
    for secret in [&made["key"], &founded["api_key"]] {
        let secret = secret.as_str().unwrap();
        server.with_key(secret).get("/v1/agents").is(200);
        for entry in fs::read_dir(server.data_dir()).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap_or_default();
            let is_held = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_held, "{} holds the key", path.display());
        }
    }
}

fn a_server_can_ask_everybody_for_a_key(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_REQUIRE_KEYS", "1").start();
    server.without_key().get("/v1/agents").problem(401);
    server.get("/v1/agents").is(200);
    server.without_key().get("/health").is(200);
    let notify = json!({"event_type": "DEREGISTER", "agent_details": {"agentId": "x"}});
    server.without_key().post("/v1/opscore/internal/agent/notify", &notify).problem(401);
    let Err(refused) = Setup::new(database).arg("--require-keys").arg("--insecure").try_start() else {
        panic!("it asks for keys and does not")
    };
    assert!(refused.stderr.contains("require_keys"), "{}", refused.stderr);
}

fn a_proxy_s_callers_need_a_key(database: &Database) {
    let server = Server::start(database);
    for (name, value) in
        [("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "203.0.113.7")]
    {
        let call = || Request::get("/v1/agents").header(name, value);
        let refused = server.without_key().send(call()).problem(401);
        assert!(refused.detail.contains("Bearer"), "{}", refused.detail);
        server.send(call()).is(200);
        server.without_key().send(Request::get("/health").header(name, value)).is(200);
    }
}

fn a_page_of_another_origin_needs_a_key(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PUBLIC_URL", "https://signalbox.example").start();
    let agent = json!({"agentName": "a", "version": "1", "capabilities": []});
    let open = server.without_key();
    let foreign = || Request::post("/v1/agents", &agent).header("origin", "https://evil.example");
    open.send(foreign()).problem(403);
    let notify = json!({"event_type": "DEREGISTER", "agent_details": {"agentId": "x"}});
    let path = "/v1/opscore/internal/agent/notify";
    open.send(Request::post(path, &notify).header("origin", "null")).problem(403);
    assert!(items(&server.get("/v1/agents").is(200)).is_empty(), "nothing came of it");
    server.send(foreign()).is(201);
    let own = format!("http://{}", server.address());
    open.send(Request::get("/v1/agents").header("origin", own)).is(200);

    for (host, expected) in [("evil.example", 403), ("localhost:1", 200), ("signalbox.example", 200)] {
        let mut connection = Connection::open(&server.address()).expect("a connection");
        let request = format!("GET /v1/agents HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        connection.write_raw(request.as_bytes()).expect("written");
        assert_eq!(connection.read().expect("answered").status, expected, "{host}");
    }
}

fn a_removed_tenant_is_gone_with_everything(database: &Database) {
    let server = with_platform_key(database);
    let platform = server.with_key(PLATFORM_KEY);
    let (tenant, owner) = make_tenant(&server, "owner");
    let (other, neighbour) = make_tenant(&server, "neighbour");
    let Estate { agent, session, .. } = furnish(&owner);
    let second = server.with_key(&make_key(&owner, "admin").1);
    let kept = neighbour.register_at("secret agent", "http://127.0.0.1:9/run", &[]);
    let path = format!("/api/v1/tenants/{tenant}");

    for api in [&owner, &server.api()] {
        api.get("/api/v1/tenants").problem(403);
        api.delete(&path).problem(403);
    }
    server.without_key().delete(&path).problem(401);
    let listed = platform.get("/api/v1/tenants").is(200);
    let ids: Vec<&Value> = listed["tenants"].as_array().unwrap().iter().map(|t| &t["tenant_id"]).collect();
    assert_eq!(ids, [&json!(tenant), &json!(other)], "{listed}");
    let first = platform.get("/api/v1/tenants?limit=1").is(200);
    let next = first["next_token"].as_str().expect("there is more");
    let rest = platform.get(&format!("/api/v1/tenants?limit=1&next_token={next}")).is(200);
    assert_eq!((&rest["tenants"][0]["name"], &rest["next_token"]), (&json!("neighbour"), &Value::Null));
    assert_eq!(platform.get("/api/v1/tenants?limit=0&next_token=x").faults(), ["/limit", "/next_token"]);

    assert_eq!(platform.delete(&path).status, 204);
    for ended in [&owner, &second] {
        ended.get("/v1/agents").problem(401);
        ended.get(&format!("/v1/opscore/sessions/{session}")).problem(401);
    }
    let in_it = |path: &str| platform.send(Request::get(path).header("x-tenant-id", &*tenant));
    in_it("/v1/agents").problem(404);
    in_it(&format!("/v1/agents/{agent}")).problem(404);
    platform.delete(&path).problem(404);
    platform.delete("/api/v1/tenants/nobody").problem(404);
    platform.delete("/api/v1/tenants/default").problem(409);
    neighbour.get(&format!("/v1/agents/{kept}")).is(200);
    server.get("/v1/agents").is(200);
}
