//! Connections and what they rest on: whose token opens which, and how one ends with its key, its agent and its tenant.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Socket;
use crate::sign_in::{add, sign_in, sign_in_at, text};
use crate::support::{
    Api, Database, Deployment, KEY, PLATFORM_KEY, Server, Setup, SshKey, on_each_database, within,
};

on_each_database![
    a_token_connects_its_own_agent_alone,
    a_connection_ends_with_the_key_of_its_token,
    what_takes_the_id_of_a_removed_agent_is_another_agent,
    a_connection_ends_with_the_secret_of_its_key,
    a_connection_of_the_platform_key_ends_with_its_tenant,
    nodes_without_a_bus_end_connections_too,
];

/// How soon a connection has to have ended; what is expected is a second, and machines that test are busy.
const SOON: Duration = Duration::from_secs(10);

#[track_caller]
fn register(api: &Api, id: &str) -> String {
    text(&api.post("/api/v1/agents", &json!({"name": id, "agent_id": id})).is(201)["agent_id"])
}

/// An agent that signs in with a key of its own: its key's id, the key, and a token.
#[track_caller]
fn signed_in(server: &Server, id: &str) -> (String, SshKey, String) {
    register(server, id);
    let key = SshKey::make("ed25519");
    let key_id = add(server, &key, id);
    let token = sign_in(&server.without_key(), id, &key);
    (key_id, key, token)
}

#[track_caller]
fn connected(api: &Api, agent: &str, key: &str) -> Socket {
    let mut socket = Socket::connect_by(api, agent, key);
    socket.done("status", &json!({"status": "online"}));
    socket
}

/// That a connection ends so, and soon.
#[track_caller]
fn ends(socket: &mut Socket, code: u16) {
    socket.set_patience(SOON);
    assert_eq!(socket.end(), Some(code));
}

fn a_token_connects_its_own_agent_alone(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let ((_, _, of_one), (_, _, of_two)) = (signed_in(&server, "one"), signed_in(&server, "two"));
    let mut one = connected(&server, "one", &of_one);
    ends(&mut Socket::connect_by(&server, "one", &of_two), 4403);
    let by_query = format!("/api/v1/ws/agent/two?token={of_one}");
    ends(&mut Socket::try_upgrade(&server, &by_query, "").expect("an upgrade"), 4403);
    ends(&mut Socket::connect_by(&server, "nobody", &of_two), 4403);
    // Another tenant's agent is another agent, also under the same id.
    let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "acme"})).succeeded();
    let (tenant, admin) = (text(&made["tenant_id"]), server.with_key(&text(&made["api_key"])));
    let key = SshKey::make("ed25519");
    for id in ["one", "theirs"] {
        register(&admin, id);
    }
    let body = json!({"name": "all", "public_key": key.public(), "key_type": "access"});
    let key_id = text(&admin.post("/api/v1/ssh-keys", &body).is(201)["key_id"]);
    let named = json!({"tenant_id": tenant, "key_id": key_id});
    let of_theirs = sign_in_at(&server.without_key(), "theirs", &key, &named);
    ends(&mut Socket::connect_by(&server, "one", &of_theirs), 4403);
    let of_their_one = sign_in_at(&server.without_key(), "one", &key, &named);
    let _theirs = connected(&server, "one", &of_their_one);
    one.done("status", &json!({"status": "busy"}));
    let mut again = connected(&server, "one", &of_one);
    assert_eq!(one.end(), Some(4001), "it was not taken over before");
    again.done("status", &json!({"status": "online"}));
}

fn a_connection_ends_with_the_key_of_its_token(database: &Database) {
    let server = Server::start(database);
    let ((key_id, _, of_one), (_, _, of_two)) = (signed_in(&server, "one"), signed_in(&server, "two"));
    let (mut one, mut two) = (connected(&server, "one", &of_one), connected(&server, "two", &of_two));
    server.post(&format!("/api/v1/ssh-keys/{key_id}/revoke"), &json!({})).is(200);
    let told = one.raw(8);
    assert_eq!(told.first_chunk::<2>(), Some(&4401_u16.to_be_bytes()));
    let reason = String::from_utf8_lossy(&told[2..]);
    assert!(reason.contains("revoked") && reason.contains("another key"), "{reason}");
    ends(&mut Socket::connect_by(&server, "one", &of_one), 4401);
    // One key of all agents ends what it has opened for any of them.
    let fleet = SshKey::make("ed25519");
    let body = json!({"name": "fleet", "public_key": fleet.public(), "key_type": "access"});
    let key_id = text(&server.post("/api/v1/ssh-keys", &body).is(201)["key_id"]);
    let mut opened = ["three", "four"].map(|id| {
        register(&server, id);
        let token = sign_in_at(&server.without_key(), id, &fleet, &json!({"key_id": key_id}));
        connected(&server, id, &token)
    });
    assert_eq!(server.delete(&format!("/api/v1/ssh-keys/{key_id}")).status, 204);
    opened.iter_mut().for_each(|socket| ends(socket, 4401));
    two.done("status", &json!({"status": "busy"}));
}

fn what_takes_the_id_of_a_removed_agent_is_another_agent(database: &Database) {
    let server = Server::start(database);
    let (key_id, key, token) = signed_in(&server, "one");
    let mut socket = connected(&server, "one", &token);
    let fleet = SshKey::make("ed25519");
    let body = json!({"name": "fleet", "public_key": fleet.public(), "key_type": "access"});
    let fleet_id = text(&server.post("/api/v1/ssh-keys", &body).is(201)["key_id"]);
    let named = json!({"key_id": fleet_id});
    let of_fleet = sign_in_at(&server.without_key(), "one", &fleet, &named);
    assert_eq!(server.delete("/api/v1/agents/one").status, 204);
    ends(&mut socket, 4404);
    register(&server, "one");
    for token in [&token, &of_fleet] {
        ends(&mut Socket::connect_by(&server, "one", token), 4401);
        within(SOON, "the token to end", || {
            let answer = server.with_key(token).get("/v1/agents");
            if answer.status == 401 { Ok(()) } else { Err(answer.shown()) }
        });
    }
    // Its key is not the other one's, until it is added for that.
    let open = server.without_key();
    let answer = crate::sign_in::try_sign_in(&open, "one", &key, &json!({}));
    answer.problem(401);
    assert_eq!(server.delete(&format!("/api/v1/ssh-keys/{key_id}")).status, 204);
    add(&server, &key, "one");
    connected(&server, "one", &sign_in(&open, "one", &key));
    // One of all agents is.
    connected(&server, "one", &sign_in_at(&open, "one", &fleet, &named));
}

fn a_connection_ends_with_the_secret_of_its_key(database: &Database) {
    let server = Server::start(database);
    let agents = ["a", "b", "c"].map(|id| register(&server, id));
    let make = |body: Value| {
        let mut key = json!({"name": "agents", "scope": "agent"});
        key.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let made = server.post("/v1/keys", &key).is(201);
        (format!("/v1/keys/{}/rotate", text(&made["keyId"])), text(&made["key"]))
    };
    let rotate = |path: &str, body: Value| text(&server.post(path, &body).is(200)["key"]);
    let (path, first) = make(json!({}));
    let mut of_first = connected(&server, &agents[0], &first);
    let second = rotate(&path, json!({}));
    ends(&mut of_first, 4401);
    let mut of_second = connected(&server, &agents[0], &second);
    let third = rotate(&path, json!({"keepEarlierFor": "2s"}));
    let mut of_third = connected(&server, &agents[1], &third);
    of_second.done("status", &json!({"status": "busy"}));
    ends(&mut of_second, 4401);
    of_third.done("status", &json!({"status": "busy"}));
    let (_, short) = make(json!({"expiresIn": "2s"}));
    let mut of_short = connected(&server, &agents[2], &short);
    ends(&mut of_short, 4401);
    of_third.done("status", &json!({"status": "online"}));
}

fn a_connection_of_the_platform_key_ends_with_its_tenant(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let platform = server.with_key(PLATFORM_KEY);
    let made = platform.post("/api/v1/tenants", &json!({"name": "acme"})).succeeded();
    let (tenant, key) = (text(&made["tenant_id"]), text(&made["api_key"]));
    let admin = server.with_key(&key);
    let agents = ["a", "b"].map(|id| register(&admin, id));
    let headers = format!("authorization: Bearer {PLATFORM_KEY}\r\nx-tenant-id: {tenant}\r\n");
    let path = format!("/api/v1/ws/agent/{}", agents[0]);
    let mut by_platform = Socket::try_upgrade(&server, &path, &headers).expect("an upgrade");
    by_platform.done("status", &json!({"status": "online"}));
    let mut by_its_own = connected(&server, &agents[1], &key);
    assert_eq!(platform.delete(&format!("/api/v1/tenants/{tenant}")).status, 204);
    ends(&mut by_its_own, 4401);
    by_platform.set_patience(SOON);
    assert!(matches!(by_platform.end(), Some(4401 | 4404)), "the tenant and the agent are gone");
}

/// What one node ends, and the connections that end with it on the other.
#[track_caller]
fn end_on_the_other(here: &Server, there: &Server) {
    let ((key_id, _, of_one), (_, _, of_two)) = (signed_in(here, "one"), signed_in(here, "two"));
    let made = here.post("/v1/keys", &json!({"name": "agents", "scope": "agent"})).is(201);
    let agents = ["three", "four"].map(|id| register(here, id));
    let (mut one, mut two) = (connected(there, "one", &of_one), connected(there, "two", &of_two));
    let mut three = connected(there, &agents[0], &text(&made["key"]));
    let mut four = connected(there, &agents[1], KEY);
    here.post(&format!("/api/v1/ssh-keys/{key_id}/revoke"), &json!({})).is(200);
    ends(&mut one, 4401);
    assert_eq!(here.delete("/api/v1/agents/two").status, 204);
    ends(&mut two, 4404);
    here.delete(&format!("/v1/keys/{}", text(&made["keyId"]))).is(200);
    ends(&mut three, 4401);
    four.done("status", &json!({"status": "busy"}));
}

#[test]
fn what_one_node_ends_is_closed_on_another() {
    let Some(deployment) = Deployment::new("ended connections across nodes") else { return };
    let [one, two] = [deployment.node(), deployment.node()];
    end_on_the_other(&one, &two);
}

fn nodes_without_a_bus_end_connections_too(database: &Database) {
    if database.url().is_none() {
        return;
    }
    let (one, two) = (Server::start(database), Server::start(database));
    end_on_the_other(&one, &two);
}
