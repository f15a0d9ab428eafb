//! API keys that end, get another secret, and tell when they were used.

use serde_json::{Value, json};

use super::text;
use crate::support::{Api, Database, Server, eventually, items, on_each_database};

on_each_database![
    a_key_ends_when_it_says,
    a_rotated_key_has_a_new_secret_and_the_old_one_for_a_while,
    an_expired_key_is_rotated_with_a_new_end,
    a_key_tells_when_it_was_used,
];

#[track_caller]
fn make(api: &Api, more: &Value) -> (String, String) {
    let mut body = json!({"name": "ci", "scope": "read"});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let made = api.post("/v1/keys", &body).is(201);
    (text(&made["keyId"]), text(&made["key"]))
}

#[track_caller]
fn listed(api: &Api, id: &str) -> Value {
    let keys = items(&api.get("/v1/keys").is(200));
    keys.into_iter().find(|key| key["keyId"] == id).expect("listed")
}

fn opens(server: &Server, key: &str) -> bool {
    server.with_key(key).get("/v1/agents").status == 200
}

fn a_key_ends_when_it_says(database: &Database) {
    let server = Server::start(database);
    let (id, key) = make(&server, &json!({"expiresIn": "700ms"}));
    assert!(listed(&server, &id)["expiresAt"].is_string());
    let refused = eventually("the key to end", || {
        let answer = server.with_key(&key).get("/v1/agents");
        if answer.status == 401 { Ok(answer.problem(401)) } else { Err(answer.shown()) }
    });
    assert!(refused.detail.contains("expired at"), "{refused:?}");
    let (id, key) = make(&server, &json!({"expiresAt": "2099-01-01T00:00:00Z"}));
    assert_eq!(listed(&server, &id)["expiresAt"], "2099-01-01T00:00:00.000000Z");
    assert!(opens(&server, &key));
    let (id, _) = make(&server, &json!({}));
    assert!(listed(&server, &id)["expiresAt"].is_null());
    for (body, pointer) in [
        (json!({"name": "n", "scope": "read", "expiresAt": "2001-01-01T00:00:00Z"}), "/expiresAt"),
        (
            json!({"name": "n", "scope": "read", "expiresAt": "2099-01-01T00:00:00Z", "expiresIn": "1h"}),
            "/expiresIn",
        ),
        (json!({"name": "n", "scope": "read", "expiresIn": 0}), "/expiresIn"),
    ] {
        assert_eq!(server.post("/v1/keys", &body).faults(), [pointer]);
    }
}

fn a_rotated_key_has_a_new_secret_and_the_old_one_for_a_while(database: &Database) {
    let mut server = Server::start(database);
    let (id, first) = make(&server, &json!({}));
    assert!(opens(&server, &first));
    let path = format!("/v1/keys/{id}/rotate");
    let rotated = server.post(&path, &json!({"keepEarlierFor": "1h"})).is(200);
    let second = text(&rotated["key"]);
    assert_eq!(rotated["keyId"], id.as_str());
    assert!(rotated["earlierUntil"].is_string() && rotated["rotatedAt"].is_string(), "{rotated}");
    assert!(opens(&server, &first) && opens(&server, &second));
    server.kill();
    server.restart();
    assert!(opens(&server, &first) && opens(&server, &second), "also after a crash");

    // Without a grace, and of three secrets only the newest two may be good.
    let third = text(&server.send(crate::support::Request::new("POST", &*path)).is(200)["key"]);
    assert!(opens(&server, &third));
    for gone in [&first, &second] {
        server.with_key(gone).get("/v1/agents").problem(401);
    }
    let fourth = text(&server.post(&path, &json!({"keepEarlierFor": "500ms"})).is(200)["key"]);
    let refused = eventually("the grace to end", || {
        let answer = server.with_key(&third).get("/v1/agents");
        if answer.status == 401 { Ok(answer.problem(401)) } else { Err(answer.shown()) }
    });
    assert!(refused.detail.contains("another secret"), "{refused:?}");
    assert!(opens(&server, &fourth));
    server.delete(&format!("/v1/keys/{id}")).is(200);
    server.with_key(&fourth).get("/v1/agents").problem(401);
    server.post(&path, &json!({})).absent();
    server.with_key(&third).post(&path, &json!({})).problem(401);
}

fn an_expired_key_is_rotated_with_a_new_end(database: &Database) {
    let server = Server::start(database);
    let (id, key) = make(&server, &json!({"expiresIn": "1ms"}));
    let path = format!("/v1/keys/{id}/rotate");
    let refused = eventually("the key to have ended", || {
        let answer = server.post(&path, &json!({}));
        if answer.status == 409 { Ok(answer.problem(409)) } else { Err(answer.shown()) }
    });
    assert_eq!(refused.kind, "/problems/key-expired");
    let rotated = server.post(&path, &json!({"expiresIn": "1h"})).is(200);
    assert!(opens(&server, &text(&rotated["key"])));
    assert!(!opens(&server, &key));
}

fn a_key_tells_when_it_was_used(database: &Database) {
    let mut server = Server::start(database);
    let (id, key) = make(&server, &json!({}));
    assert!(listed(&server, &id)["lastUsedAt"].is_null(), "not yet");
    assert!(opens(&server, &key));
    // It is written every minute, and when the server ends in order.
    server.stop_and_restart();
    let used = listed(&server, &id);
    assert!(used["lastUsedAt"].as_str() >= used["createdAt"].as_str(), "{used}");
}
