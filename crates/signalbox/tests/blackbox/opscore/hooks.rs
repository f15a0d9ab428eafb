//! Hooks: signed webhooks that start sessions, each once, and what is said to whoever cannot sign.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{
    Database, PLATFORM_KEY, Request, Response, Server, Setup, hmac_base64, items, on_each_database,
    unix_seconds,
};

on_each_database![
    a_hook_is_made_shown_and_removed_and_its_secret_only_once,
    a_signed_webhook_starts_a_session_with_its_body,
    a_repeat_gets_the_first_answer_also_after_a_restart,
    many_at_once_make_one_session,
    who_cannot_sign_learns_nothing,
    a_rotated_secret_is_good_no_more_unless_kept,
    what_does_not_fit_is_refused,
    a_hook_of_another_tenant_is_another,
    the_log_tells_of_hooks_and_holds_no_secret,
];

const HOOKS: &str = "/v1/opscore/hooks";

fn keep_empty(server: &Server) {
    server.post("/v1/opscore/workflows", &json!({"id": "empty", "name": "Empty", "tasks": []})).succeeded();
}

/// Makes a hook and gives its secret.
fn make(server: &Server, id: &str) -> String {
    let made = server.post(HOOKS, &json!({"id": id, "workflowId": "empty", "note": "orders"})).is(201);
    made["secret"].as_str().expect("its secret").to_owned()
}

fn receive(id: &str) -> String {
    format!("{HOOKS}/default/{id}/receive")
}

/// The signature that the sender makes by the rules of Standard Webhooks.
fn sign(secret: &str, id: &str, stamp: i64, body: &str) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("its prefix")).expect("base64");
    format!("v1,{}", hmac_base64(&key, format!("{id}.{stamp}.{body}").as_bytes()))
}

/// A webhook to a path, signed as of `stamp`.
fn webhook(path: &str, secret: &str, id: &str, stamp: i64, body: &Value) -> Request {
    let signature = sign(secret, id, stamp, &body.to_string());
    Request::post(path.to_owned(), body)
        .header("webhook-id", id)
        .header("webhook-timestamp", stamp.to_string())
        .header("webhook-signature", signature)
}

fn send(server: &Server, secret: &str, id: &str, body: &Value) -> Response {
    server.without_key().send(webhook(&receive("orders"), secret, id, unix_seconds(), body))
}

fn sessions(server: &Server) -> usize {
    server.all_pages("/v1/opscore/sessions?workflow=empty", 100).len()
}

fn a_hook_is_made_shown_and_removed_and_its_secret_only_once(database: &Database) {
    let server = Server::start(database);
    server.post(HOOKS, &json!({"id": "orders", "workflowId": "empty"})).absent();
    keep_empty(&server);
    let body = json!({"id": "orders", "workflowId": "empty", "note": "orders"});
    let request = || Request::post(HOOKS, &body).header("idempotency-key", "k");
    let made = server.send(request()).is(201);
    let secret = made["secret"].as_str().expect("its secret");
    assert!(secret.starts_with("whsec_") && secret.len() > 40, "{secret}");
    assert_eq!(made["path"], receive("orders"));
    let again = server.send(request());
    assert!(again.status == 409 && !again.text().contains(secret), "{}", again.shown());
    server.post(HOOKS, &body).problem(409);
    let shown = server.get(&format!("{HOOKS}/orders"));
    assert!(!shown.text().contains("secret") && !shown.text().contains("whsec_"), "{}", shown.shown());
    let shown = shown.is(200);
    assert_eq!(
        (&shown["workflowId"], &shown["note"], &shown["rotatedAt"]),
        (&json!("empty"), &json!("orders"), &Value::Null)
    );
    assert_eq!(items(&server.get(HOOKS).is(200)), std::slice::from_ref(&shown));
    server.delete(&format!("{HOOKS}/orders")).is(200);
    server.get(&format!("{HOOKS}/orders")).absent();
    send(&server, secret, "msg_1", &json!({})).problem(401);
    assert_eq!(sessions(&server), 0);
}

fn a_signed_webhook_starts_a_session_with_its_body(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let secret = make(&server, "orders");
    let body = json!({"order": {"id": 7, "lines": ["é", null]}});
    let answer = send(&server, &secret, "msg_1", &body).is(202);
    let session = server.session(answer["sessionId"].as_str().expect("a session"));
    assert_eq!((&session["input"], &session["workflowId"]), (&body, &json!("empty")));
    // Of several signatures one is enough.
    let stamp = unix_seconds();
    let several = format!("v1,AAAA v2,x {}", sign(&secret, "msg_2", stamp, "{}"));
    let request = Request::post(receive("orders"), &json!({}))
        .header("webhook-id", "msg_2")
        .header("webhook-timestamp", stamp.to_string())
        .header("webhook-signature", several);
    server.without_key().send(request).is(202);
    assert_eq!(sessions(&server), 2);
}

fn a_repeat_gets_the_first_answer_also_after_a_restart(database: &Database) {
    let mut server = Server::start(database);
    keep_empty(&server);
    let secret = make(&server, "orders");
    let first = send(&server, &secret, "msg_1", &json!({"n": 1})).is(202);
    assert_eq!(send(&server, &secret, "msg_1", &json!({"n": 1})).is(202), first);
    server.kill();
    server.restart();
    // Signed anew, and with another body: the id says that it is the same.
    let repeat = webhook(&receive("orders"), &secret, "msg_1", unix_seconds() + 5, &json!({"n": 2}));
    assert_eq!(server.without_key().send(repeat).is(202), first);
    assert_eq!(sessions(&server), 1);
    make(&server, "other");
}

fn many_at_once_make_one_session(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let secret = make(&server, "orders");
    let api = server.without_key();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let run =
            || api.send(webhook(&receive("orders"), &secret, "msg_1", unix_seconds(), &json!({}))).is(202);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(sessions(&server), 1);
}

fn who_cannot_sign_learns_nothing(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let secret = make(&server, "orders");
    let (api, now) = (server.without_key(), unix_seconds());
    let foreign = format!("whsec_{}", STANDARD.encode(b"somebody else's secret"));
    let body = json!({});
    let mut details = Vec::new();
    for path in [receive("orders"), receive("none"), format!("{HOOKS}/nobody/orders/receive"), receive("%20")]
    {
        details.push(api.send(webhook(&path, &foreign, "msg_1", now, &body)).problem(401).detail);
    }
    assert!(details.iter().all(|detail| *detail == details[0]), "{details:?}");
    let stale: Vec<String> = [receive("orders"), receive("none")]
        .into_iter()
        .map(|path| api.send(webhook(&path, &secret, "msg_1", now - 400, &body)).problem(401).detail)
        .collect();
    assert_eq!(stale[0], stale[1]);
    api.send(webhook(&receive("orders"), &secret, "msg_1", now + 400, &body)).problem(401);
    let tampered = webhook(&receive("orders"), &secret, "msg_1", now, &body).json(&json!({"more": 1}));
    api.send(tampered).problem(401);
    api.post(&receive("orders"), &body).problem(401);
    // A key is nothing that a webhook is believed by.
    server.post(&receive("orders"), &body).problem(401);
    assert_eq!(sessions(&server), 0);
}

fn a_rotated_secret_is_good_no_more_unless_kept(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let first = make(&server, "orders");
    let rotate = |body: Value| server.post(&format!("{HOOKS}/orders/rotate"), &body).is(200);
    let rotated = rotate(json!({"keepEarlierFor": "1h"}));
    let second = rotated["secret"].as_str().expect("the new one").to_owned();
    assert!(second != first && rotated["earlierUntil"].is_string(), "{rotated}");
    send(&server, &first, "msg_1", &json!({})).is(202);
    send(&server, &second, "msg_2", &json!({})).is(202);
    let third = rotate(json!({}))["secret"].as_str().expect("the new one").to_owned();
    send(&server, &first, "msg_3", &json!({})).problem(401);
    send(&server, &second, "msg_3", &json!({})).problem(401);
    send(&server, &third, "msg_3", &json!({})).is(202);
    server.post(&format!("{HOOKS}/none/rotate"), &json!({})).absent();
    assert_eq!(
        server.post(&format!("{HOOKS}/orders/rotate"), &json!({"keepEarlierFor": 0})).faults(),
        ["/keepEarlierFor"]
    );
}

fn what_does_not_fit_is_refused(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let secret = make(&server, "orders");
    assert_eq!(
        server.post(HOOKS, &json!({"id": "a/b", "note": 5})).faults(),
        ["/id", "/note", "/workflowId"]
    );
    send(&server, &secret, "msg_1", &json!([1])).problem(422);
    let held = server.delete("/v1/opscore/workflows/empty").problem(409);
    assert!(held.detail.contains("webhook orders") && held.kind.ends_with("workflow-in-use"), "{held:?}");
    for number in 0..6 {
        make(&server, &format!("a{number}"));
    }
    let held = server.delete("/v1/opscore/workflows/empty").problem(409);
    assert!(held.detail.contains("webhook a4 and more; delete"), "{held:?}");
    server.delete("/v1/opscore/workflows/empty?force=true").is(200);
    let problem = send(&server, &secret, "msg_2", &json!({})).absent();
    assert!(problem.detail.contains("empty"), "{}", problem.detail);
    // It was not taken, so the sender's next attempt is.
    keep_empty(&server);
    send(&server, &secret, "msg_2", &json!({})).is(202);
}

fn a_hook_of_another_tenant_is_another(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    keep_empty(&server);
    let secret = make(&server, "orders");
    let platform = server.with_key(PLATFORM_KEY);
    let tenant = platform.post("/api/v1/tenants", &json!({"name": "other"})).succeeded();
    let (id, key) = (tenant["tenant_id"].as_str().unwrap(), tenant["api_key"].as_str().unwrap());
    let other = server.with_key(key);
    other.get(&format!("{HOOKS}/orders")).absent();
    other.post("/v1/opscore/workflows", &json!({"id": "empty", "name": "Empty", "tasks": []})).succeeded();
    let made = other.post(HOOKS, &json!({"id": "orders", "workflowId": "empty"})).is(201);
    let path = format!("{HOOKS}/{id}/orders/receive");
    assert_eq!(made["path"], path);
    let own = made["secret"].as_str().unwrap();
    server.without_key().send(webhook(&path, &secret, "m", unix_seconds(), &json!({}))).problem(401);
    server.without_key().send(webhook(&path, own, "m", unix_seconds(), &json!({}))).is(202);
    assert_eq!(sessions(&server), 0);
    assert_eq!(items(&other.get("/v1/opscore/sessions").is(200)).len(), 1);
}

fn the_log_tells_of_hooks_and_holds_no_secret(database: &Database) {
    let server = Server::start(database);
    keep_empty(&server);
    let secret = make(&server, "orders");
    let started = send(&server, &secret, "msg_1", &json!({})).is(202);
    let rotated = server.post(&format!("{HOOKS}/orders/rotate"), &json!({"keepEarlierFor": "1h"})).is(200);
    server.delete(&format!("{HOOKS}/orders")).is(200);
    let logged = server.get("/v1/opscore/logs?limit=1000").text();
    for text in ["Hook orders made", "Hook orders has another secret", "Hook orders deleted"] {
        assert!(logged.contains(text), "{text}: {logged}");
    }
    let session = started["sessionId"].as_str().unwrap();
    assert!(logged.contains(&format!("Hook orders started session {session} for webhook msg_1")), "{logged}");
    for text in [logged, server.stderr(), server.stdout()] {
        assert!(!text.contains("whsec_") && !text.contains(rotated["secret"].as_str().unwrap()), "{text}");
    }
}
