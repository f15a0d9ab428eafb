//! Agents sign in with SSH keys, in every form in which other programs sign; what their tokens allow, and when they end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Api, Database, PLATFORM_KEY, Response, Server, Setup, SshKey, eventually, iso, on_each_database, within,
};

on_each_database![
    every_kind_of_key_signs_in_in_every_form,
    whatever_is_wrong_gets_the_same_answer,
    sha1_is_refused_with_the_cure,
    a_token_acts_for_its_own_agent_alone,
    a_token_speaks_as_its_own_agent_alone,
    tokens_end_with_the_key_the_agent_and_the_tenant,
    keys_are_kept_once_and_shown,
    a_key_of_no_agent_signs_in_any_where_it_is_named,
    tries_are_limited,
    tries_of_an_address_are_limited,
    a_challenge_counts_once_in_whichever_tenant,
    keys_of_tokens_rotate,
    a_token_is_in_no_log,
    a_token_commands_other_agents,
    tokens_and_challenges_survive_a_restart,
    nodes_share_keys_and_their_end,
];

/// paramiko's own form; one of each algorithm for an RSA key.
const PARAMIKO: &str = r#"
import base64, sys, paramiko
path, challenge = sys.argv[1], sys.argv[2].encode()
for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
    try:
        key = kind.from_private_key_file(path)
        break
    except paramiko.SSHException:
        pass
names = ["rsa-sha2-256", "rsa-sha2-512"] if isinstance(key, paramiko.RSAKey) else [None]
for name in names:
    print(base64.b64encode(key.sign_ssh_data(challenge, *([name] if name else [])).asbytes()).decode())
"#;

/// Checks a token with a key of the JWK set.
const CHECK_TOKEN: &str = r#"
import base64, json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
told = json.loads(sys.argv[2])
decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
signed, signature = told["token"].rsplit(".", 1)
Ed25519PublicKey.from_public_bytes(decode(told["key"]["x"])).verify(decode(signature), signed.encode())
print("good")
"#;

/// The raw signature of an Ed25519 key, which openssl cannot read.
const RAW_ED25519: &str = r#"
import base64, sys
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
key = load_ssh_private_key(open(sys.argv[1], "rb").read(), None)
print(base64.b64encode(key.sign(sys.argv[2].encode())).decode())
"#;

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

fn agent(api: &Api, name: &str) -> String {
    api.register_at(name, "http://127.0.0.1:9/run", &[])
}

fn body(key: &SshKey, agent: &str) -> Value {
    json!({"name": "a key", "public_key": key.public(), "key_type": "agent", "agent_id": agent})
}

#[track_caller]
pub(crate) fn add(api: &Api, key: &SshKey, agent: &str) -> String {
    text(&api.post("/api/v1/ssh-keys", &body(key, agent)).is(201)["key_id"])
}

#[track_caller]
fn challenge(api: &Api, agent: &str) -> String {
    let answer = api.post("/api/v1/auth/challenge", &json!({"agent_id": agent})).is(200);
    let challenge = text(&answer["challenge"]);
    assert!(challenge.len() == 64 && answer["expires_at"].is_string(), "{answer}");
    challenge
}

fn answer(api: &Api, agent: &str, challenge: &str, response: &str) -> Response {
    let body =
        json!({"tenant_id": "default", "agent_id": agent, "challenge": challenge, "response": response});
    api.post("/api/v1/auth/verify", &body)
}

#[track_caller]
fn token(answer: &Response) -> String {
    let answer = answer.is(200);
    assert_eq!(answer["valid"], true, "{answer}");
    text(&answer["token"])
}

/// A token by `ssh-keygen`.
#[track_caller]
pub(crate) fn sign_in(api: &Api, agent: &str, key: &SshKey) -> String {
    sign_in_at(api, agent, key, &json!({}))
}

/// A token by `ssh-keygen`, with more said than which agent it is for.
#[track_caller]
pub(crate) fn sign_in_at(api: &Api, agent: &str, key: &SshKey, more: &Value) -> String {
    token(&try_sign_in(api, agent, key, more))
}

#[track_caller]
pub(crate) fn try_sign_in(api: &Api, agent: &str, key: &SshKey, more: &Value) -> Response {
    let challenge = challenge(api, agent);
    let mut body = json!({"tenant_id": "default", "agent_id": agent, "challenge": challenge,
        "response": key.armoured(&challenge, "artcafe")});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.post("/api/v1/auth/verify", &body)
}

fn report(api: &Api, agent: &str) -> Response {
    api.try_report(agent, "idle", &Value::Null, &iso())
}

/// A way in which another program signs.
enum Form {
    Keygen,
    Openssl(Vec<String>),
    /// A line of what a script prints.
    Python(&'static str, usize),
}

impl Form {
    /// Every form of a key of this kind.
    fn all(kind: &str) -> Vec<Self> {
        let openssl = |options: &str| Self::Openssl(options.split(' ').map(str::to_owned).collect());
        let mut forms = vec![Self::Keygen, Self::Python(PARAMIKO, 0)];
        if kind.starts_with("rsa") {
            forms.push(Self::Python(PARAMIKO, 1));
            for hash in ["-sha256", "-sha512"] {
                forms.push(openssl(hash));
                forms.extend(["max", "digest", "0", "21"].map(|salt| {
                    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:";
                    openssl(&format!("{hash} {pss}{salt}"))
                }));
            }
        } else if kind.starts_with("ecdsa") {
            forms.push(openssl("-sha256"));
            forms.extend(kind.ends_with("384").then(|| openssl("-sha384")));
        } else {
            forms.push(Self::Python(RAW_ED25519, 0));
        }
        forms
    }

    /// The response to a challenge; `None` where what signs so is not there.
    fn sign(&self, key: &SshKey, challenge: &str) -> Option<String> {
        match self {
            Self::Keygen => Some(key.armoured(challenge, "artcafe")),
            Self::Openssl(options) => {
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                Some(key.openssl(challenge, &options))
            }
            Self::Python(script, line) => {
                key.python(script, challenge)?.lines().nth(*line).map(str::to_owned)
            }
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Keygen => "ssh-keygen".to_owned(),
            Self::Openssl(options) => options.join(" "),
            Self::Python(script, line) => format!("line {line} of {script}"),
        }
    }
}

fn every_kind_of_key_signs_in_in_every_form(database: &Database) {
    let server = Server::start(database);
    let open = server.without_key();
    for kind in ["ed25519", "ecdsa -b 256", "ecdsa -b 384", "rsa -b 2048", "rsa -b 3072"] {
        let (id, key) = (agent(&server, kind), SshKey::make(kind));
        let made = server.post("/api/v1/ssh-keys", &body(&key, &id)).is(201);
        assert_eq!(made["fingerprint"], key.fingerprint(), "{kind}");
        assert_eq!((&made["status"], &made["key_type"]), (&json!("active"), &json!("agent")));
        for form in Form::all(kind) {
            let challenge = challenge(&open, &id);
            let Some(response) = form.sign(&key, &challenge) else { continue };
            let answer = answer(&open, &id, &challenge, &response);
            assert_eq!(answer.status, 200, "{kind} {}: {}", form.shown(), answer.shown());
            report(&server.with_key(&token(&answer)), &id).is(202);
        }
    }
    assert!(!server.stderr().contains("eyJ"), "a token is in the log: {}", server.stderr());
}

fn whatever_is_wrong_gets_the_same_answer(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let open = server.without_key();
    let (id, other) = (agent(&server, "one"), agent(&server, "other"));
    let (key, stranger) = (SshKey::make("ed25519"), SshKey::make("ed25519"));
    let key_id = add(&server, &key, &id);
    let others_key = add(&server, &stranger, &other);
    let of_nobody = challenge(&open, "nobody");
    let fresh = challenge(&open, &id);
    let good = key.armoured(&fresh, "artcafe");
    let mut changed = fresh.clone().into_bytes();
    changed[3] = if changed[3] == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).expect("ASCII");
    let mut wrong: Vec<(&str, Value)> = Vec::new();
    let mut add_wrong = |what, patch: Value| {
        let mut body = json!({"tenant_id": "default", "agent_id": id, "challenge": fresh, "response": good});
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        wrong.push((what, body));
    };
    add_wrong("another agent", json!({"agent_id": other}));
    add_wrong("no agent", json!({"agent_id": "nobody"}));
    add_wrong("a challenge of nobody", json!({"agent_id": "nobody", "challenge": of_nobody}));
    add_wrong("another tenant", json!({"tenant_id": "tnt_nowhere"}));
    add_wrong("another's key", json!({"key_id": others_key}));
    add_wrong("no key", json!({"key_id": "key_none"}));
    add_wrong("a stranger's signature", json!({"response": stranger.armoured(&fresh, "artcafe")}));
    add_wrong("another namespace", json!({"response": key.armoured(&fresh, "file")}));
    add_wrong("a signature of something else", json!({"response": key.armoured("other", "artcafe")}));
    add_wrong("garbage", json!({"response": "AAAA"}));
    add_wrong("no base64", json!({"response": "%%%"}));
    add_wrong(
        "a changed challenge",
        json!({"challenge": changed, "response": key.armoured(&changed, "artcafe")}),
    );
    add_wrong("a challenge in other letters", json!({"challenge": fresh.to_uppercase()}));
    add_wrong("a made-up challenge", json!({"challenge": "00".repeat(32)}));
    let denied = |body: &Value| {
        let response = open.post("/api/v1/auth/verify", body);
        response.problem(401);
        assert!(response.header("www-authenticate").is_some(), "{}", response.shown());
        let told: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(told["valid"], false, "{told}");
        told
    };
    let first = denied(&wrong[0].1);
    for (what, body) in &wrong {
        assert_eq!(denied(body), first, "{what}");
    }
    // None of it has used the challenge up; the right answer does, and it names its key.
    let right = json!({"tenant_id": "default", "agent_id": id, "challenge": fresh, "response": good, "key_id": key_id});
    token(&open.post("/api/v1/auth/verify", &right));
    assert_eq!(denied(&right), first, "a challenge counts once");
    assert_eq!(
        open.post("/api/v1/auth/verify", &json!({"agent_id": 5})).faults(),
        ["/agent_id", "/challenge", "/response"]
    );
    assert_eq!(open.post("/api/v1/auth/challenge", &json!({})).faults(), ["/agent_id"]);
    for bad in ["eyJ.eyJ.eyJ", "eyJhbGciOiJub25lIn0.e30."] {
        server.with_key(bad).get("/v1/agents").problem(401);
    }
}

fn sha1_is_refused_with_the_cure(database: &Database) {
    let key = SshKey::make("rsa -b 2048");
    let signed = |server: &Server| {
        let id = agent(server, "old");
        add(server, &key, &id);
        let challenge = challenge(&server.without_key(), &id);
        answer(&server.without_key(), &id, &challenge, &key.openssl(&challenge, &["-sha1"]))
    };
    let server = Server::start(database);
    let refused = signed(&server).problem(401);
    assert!(refused.detail.contains("rsa-sha2-256"), "{}", refused.detail);
    drop(server);
    let lenient = Setup::new(&Database::sqlite()).env("SIGNALBOX_ALLOW_SHA1_SIGNATURES", "true").start();
    token(&signed(&lenient));
}

fn a_token_acts_for_its_own_agent_alone(database: &Database) {
    let server = Server::start(database);
    let (id, other) = (agent(&server, "one"), agent(&server, "other"));
    let key = SshKey::make("ed25519");
    add(&server, &key, &id);
    let own = server.with_key(&sign_in(&server.without_key(), &id, &key));
    report(&own, &id).is(202);
    report(&own, &other).problem(403);
    own.get(&format!("/v1/opscore/agent/{other}/history")).problem(403);
    own.get(&format!("/v1/opscore/agent/{other}/history?limit=5")).problem(403);
    own.delete(&format!("/v1/agents/{other}")).problem(403);
    own.patch(&format!("/v1/agents/{other}"), &json!({"version": "2"})).problem(403);
    own.patch(&format!("/v1/agents/{id}"), &json!({"version": "2"})).is(200);
    own.get(&format!("/v1/agents/{other}")).is(200);
    let more = json!({"agentName": "more", "version": "1", "capabilities": []});
    own.post("/v1/agents/register", &more).problem(403);
    own.post("/v1/keys", &json!({"name": "k", "scope": "read"})).problem(403);
    own.post("/api/v1/ssh-keys", &body(&SshKey::make("ed25519"), &id)).problem(403);
    own.post("/api/v1/tenants", &json!({"name": "more"})).problem(403);
    // What a channel keeps is changed by the agent that made it.
    for (by, expected) in [(&own, 200), (&server.api(), 403)] {
        let made = by.post("/api/v1/channels", &json!({"name": format!("made-{expected}")})).is(201);
        let path = format!("/api/v1/channels/{}", text(&made["channel_id"]));
        assert_eq!(own.patch(&path, &json!({"retention": {"max_messages": 0}})).status, expected);
    }
    let claims = claims(&sign_in(&server.without_key(), &id, &key));
    assert_eq!(
        (&claims["sub"], &claims["agent_id"], &claims["tenant_id"]),
        (&json!(id), &json!(id), &json!("default"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3_600);
    assert!(claims["jti"].is_string() && claims["key_type"] == "agent", "{claims}");
    let log = server.get("/v1/opscore/logs").is(200).to_string();
    assert!(log.contains("signed in with SSH key"), "{log}");
}

fn a_token_speaks_as_its_own_agent_alone(database: &Database) {
    let server = Server::start(database);
    let (id, other) = (agent(&server, "one"), agent(&server, "other"));
    let key = SshKey::make("ed25519");
    add(&server, &key, &id);
    let own = server.with_key(&sign_in(&server.without_key(), &id, &key));
    let run = |patch: Value| {
        let mut body = json!({"senderId": id, "messageType": "text", "payload": {"hello": 1}});
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        own.post(&format!("/v1/agents/{other}/run"), &body)
    };
    run(json!({})).is(202);
    for patch in [
        json!({"senderId": "opscore"}),
        json!({"senderId": other}),
        json!({"messageType": "workflow_task"}),
        json!({"messageType": "workflow_cancel"}),
        json!({"senderId": "opscore", "messageType": "workflow_task", "opscore_task_id": "tsk_1"}),
        json!({"senderId": other, "messageType": "tool_invocation", "payload": {"tool_name": "echo"}}),
    ] {
        run(patch).problem(403);
    }
    let task = json!({"task_name": "sum", "parameters": {}});
    own.post(&format!("/v1/agents/{other}/run"), &task).problem(403);
    server.post(&format!("/v1/agents/{other}/run"), &task).is(202);
    // Tools are called in its own name.
    let call = json!({"messageType": "tool_invocation",
        "payload": {"tool_name": "echo", "arguments": {"text": "from one"}}});
    let called = run(call);
    assert!(called.is(200).to_string().contains("from one"), "{}", called.shown());
}

fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(index).expect("three parts");
    let part = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&part).expect("JSON")
}

fn claims(token: &str) -> Value {
    part(token, 1)
}

/// Far longer than a second only because machines that test are busy.
const SOON: Duration = Duration::from_secs(10);

fn ends(api: &Api) {
    within(SOON, "the token to end", || {
        let response = api.get("/v1/agents");
        if response.status == 401 { Ok(()) } else { Err(response.shown()) }
    });
}

fn tokens_end_with_the_key_the_agent_and_the_tenant(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let open = server.without_key();
    let (first, second) = (SshKey::make("ed25519"), SshKey::make("ecdsa -b 256"));
    let id = agent(&server, "one");
    let (first_id, second_id) = (add(&server, &first, &id), add(&server, &second, &id));
    let of_first = server.with_key(&sign_in(&open, &id, &first));
    let of_second = server.with_key(&sign_in(&open, &id, &second));
    for own in [&of_first, &of_second] {
        own.get("/v1/agents").is(200);
    }
    let path = format!("/api/v1/ssh-keys/{first_id}/revoke");
    let revoked = server.post(&path, &json!({"reason": "lost"})).is(200);
    assert_eq!((&revoked["status"], &revoked["revoked_reason"]), (&json!("revoked"), &json!("lost")));
    of_first.get("/v1/agents").problem(401);
    assert_eq!(server.post(&path, &json!({"reason": "again"})).is(200), revoked, "once is enough");
    of_second.get("/v1/agents").is(200);
    let challenge_now = challenge(&open, &id);
    answer(&open, &id, &challenge_now, &first.armoured(&challenge_now, "artcafe")).problem(401);
    let refused = server.post("/api/v1/ssh-keys", &body(&first, &id)).problem(409);
    assert!(refused.detail.contains("revoked: delete it first"), "{}", refused.detail);
    eventually("the log to tell why", || {
        let log = format!("{}{}", server.stdout(), server.stderr());
        if log.contains("the key is revoked") { Ok(()) } else { Err("no such line".to_owned()) }
    });

    assert_eq!(server.delete(&format!("/api/v1/ssh-keys/{second_id}")).status, 204);
    of_second.get("/v1/agents").problem(401);
    server.get(&format!("/api/v1/ssh-keys/{second_id}")).absent();
    add(&server, &second, &id);
    let again = server.with_key(&sign_in(&open, &id, &second));
    again.get("/v1/agents").is(200);
    server.delete(&format!("/v1/agents/{id}")).succeeded();
    ends(&again);
    // Its key is nobody's, and is the next one's where it is added again.
    let orphans = server.get("/api/v1/ssh-keys").is(200);
    let status = |listed: &Value, key: &SshKey| {
        let keys = listed["ssh_keys"].as_array().expect("a list").clone();
        let found = keys.iter().find(|shown| shown["fingerprint"] == key.fingerprint());
        found.map(|shown| shown["status"].clone()).unwrap_or_default()
    };
    assert_eq!((status(&orphans, &first), status(&orphans, &second)), (json!("revoked"), json!("orphaned")));
    let next = agent(&server, "next");
    add(&server, &second, &next);
    server.with_key(&sign_in(&open, &next, &second)).get("/v1/agents").is(200);
    let listed = server.get("/api/v1/ssh-keys").is(200);
    assert_eq!(
        (listed["ssh_keys"].as_array().map(Vec::len), status(&listed, &second)),
        (Some(2), json!("active"))
    );

    let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "acme"})).succeeded();
    let (tenant, admin) = (text(&made["tenant_id"]), server.with_key(&text(&made["api_key"])));
    let id = agent(&admin, "theirs");
    add(&admin, &first, &id);
    let challenge_now = challenge(&open, &id);
    let verify = json!({"tenant_id": tenant, "agent_id": id, "challenge": challenge_now,
        "response": first.armoured(&challenge_now, "artcafe")});
    let theirs = server.with_key(&token(&open.post("/api/v1/auth/verify", &verify)));
    assert_eq!(theirs.get("/v1/agents").is(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(server.with_key(PLATFORM_KEY).delete(&format!("/api/v1/tenants/{tenant}")).status, 204);
    ends(&theirs);
}

fn keys_are_kept_once_and_shown(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let id = agent(&server, "one");
    let key = SshKey::make("rsa -b 2048");
    let key_id = add(&server, &key, &id);
    let taken = server.post("/api/v1/ssh-keys", &body(&key, &id)).problem(409);
    assert!(taken.detail.contains(&key_id), "{}", taken.detail);
    let shown = server.get(&format!("/api/v1/ssh-keys/{key_id}")).is(200);
    assert!(key.public().starts_with(&text(&shown["public_key"])), "{shown}");
    assert_eq!((&shown["agent_id"], &shown["fingerprint"]), (&json!(id), &json!(key.fingerprint())));
    add(&server, &SshKey::make("ed25519"), &id);
    let first = server.get("/api/v1/ssh-keys?limit=1").is(200);
    assert_eq!(first["ssh_keys"][0]["key_id"], key_id);
    let next = text(&first["next_token"]);
    let rest = server.get(&format!("/api/v1/ssh-keys?next_token={next}")).is(200);
    assert_eq!((rest["ssh_keys"].as_array().unwrap().len(), &rest["next_token"]), (1, &Value::Null));

    let refused = |patch: Value| {
        let mut body = body(&SshKey::make("ed25519"), &id);
        body.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        server.post("/api/v1/ssh-keys", &body)
    };
    refused(json!({"agent_id": "nobody"})).absent();
    assert_eq!(refused(json!({"agent_id": null})).faults(), ["/agent_id"]);
    for (kind, reason) in [("rsa -b 1024", "1024 bits"), ("ecdsa -b 521", "a curve that is not taken")] {
        let key = SshKey::make(kind);
        let problem = refused(json!({"public_key": key.public()})).problem(422);
        assert!(problem.detail.contains(reason), "{}", problem.detail);
    }
    for path in ["/api/v1/ssh-keys/key_none", "/api/v1/ssh-keys/%00"] {
        server.get(path).absent();
        server.delete(path).absent();
        server.post(&format!("{path}/revoke"), &json!({})).absent();
    }
    let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "acme"})).succeeded();
    let other = server.with_key(&text(&made["api_key"]));
    let path = format!("/api/v1/ssh-keys/{key_id}");
    other.get(&path).absent();
    other.delete(&path).absent();
    other.post(&format!("{path}/revoke"), &json!({})).absent();
    assert_eq!(other.get("/api/v1/ssh-keys").is(200)["ssh_keys"], json!([]));
    let theirs = agent(&other, "one");
    add(&other, &key, &theirs);
}

fn a_key_of_no_agent_signs_in_any_where_it_is_named(database: &Database) {
    let server = Server::start(database);
    let open = server.without_key();
    let (id, key) = (agent(&server, "one"), SshKey::make("ed25519"));
    let body = json!({"name": "fleet", "public_key": key.public(), "key_type": "deployment"});
    let key_id = text(&server.post("/api/v1/ssh-keys", &body).is(201)["key_id"]);
    let challenge = challenge(&open, &id);
    let response = key.armoured(&challenge, "artcafe");
    answer(&open, &id, &challenge, &response).problem(401);
    let named = json!({"tenant_id": "default", "agent_id": id, "challenge": challenge, "response": response, "key_id": key_id});
    let token = token(&open.post("/api/v1/auth/verify", &named));
    assert_eq!(claims(&token)["key_type"], "deployment");
    report(&server.with_key(&token), &id).is(202);
}

fn tries_are_limited(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_SIGN_IN_TRIES_PER_AGENT", "3").start();
    let open = server.without_key();
    for _ in 0..3 {
        challenge(&open, "one");
    }
    let refused = open.post("/api/v1/auth/challenge", &json!({"agent_id": "one"}));
    assert!(refused.problem(429).kind.ends_with("/too-many-tries"));
    assert!(refused.header("retry-after").is_some(), "{}", refused.shown());
    answer(&open, "one", "00", "AAAA").problem(429);
    challenge(&open, "two");
}

fn tries_of_an_address_are_limited(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_SIGN_IN_TRIES_PER_ADDRESS", "3").start();
    let open = server.without_key();
    for name in ["one", "two", "three"] {
        challenge(&open, name);
    }
    let refused = open.post("/api/v1/auth/challenge", &json!({"agent_id": "four"}));
    assert!(refused.problem(429).kind.ends_with("/too-many-tries"));
    answer(&open, "five", "00", "AAAA").problem(429);
}

fn a_challenge_counts_once_in_whichever_tenant(database: &Database) {
    let server = Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start();
    let open = server.without_key();
    let key = SshKey::make("ed25519");
    // The same agent with the same key in three tenants.
    let mut tenants = vec!["default".to_owned()];
    let in_tenant = |api: &Api| {
        api.post("/api/v1/agents", &json!({"name": "one", "agent_id": "one"})).is(201);
        add(api, &key, "one");
    };
    in_tenant(&server);
    for name in ["acme", "other"] {
        let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": name})).succeeded();
        in_tenant(&server.with_key(&text(&made["api_key"])));
        tenants.push(text(&made["tenant_id"]));
    }
    let verify = |tenant: &str, challenge: &str| {
        let body = json!({"tenant_id": tenant, "agent_id": "one", "challenge": challenge,
            "response": key.armoured(challenge, "artcafe")});
        open.post("/api/v1/auth/verify", &body)
    };
    for first in &tenants {
        let of_any = challenge(&open, "one");
        token(&verify(first, &of_any));
        for tenant in &tenants {
            verify(tenant, &of_any).problem(401);
        }
        let asked = json!({"agent_id": "one", "tenant_id": first});
        let of_one = text(&open.post("/api/v1/auth/challenge", &asked).is(200)["challenge"]);
        for other in tenants.iter().filter(|tenant| *tenant != first) {
            verify(other, &of_one).problem(401);
        }
        token(&verify(first, &of_one));
        verify(first, &of_one).problem(401);
    }
}

fn keys_of_tokens_rotate(database: &Database) {
    let server = Setup::new(database).arg("--token-key-rotation").arg("500ms").start();
    let open = server.without_key();
    let (id, key) = (agent(&server, "one"), SshKey::make("ed25519"));
    add(&server, &key, &id);
    let old = sign_in(&open, &id, &key);
    let new = eventually("another key to sign", || {
        let new = sign_in(&open, &id, &key);
        if part(&new, 0)["kid"] == part(&old, 0)["kid"] { Err("the same".to_owned()) } else { Ok(new) }
    });
    let keys = open.get("/.well-known/jwks.json").is(200);
    let known: Vec<&Value> = keys["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    for token in [&old, &new] {
        assert!(known.contains(&&part(token, 0)["kid"]), "{keys}");
        report(&server.with_key(token), &id).is(202);
    }
}

fn a_token_is_in_no_log(database: &Database) {
    let server = Setup::new(database).arg("--log").arg("trace").start();
    let open = server.without_key();
    let (id, key) = (agent(&server, "one"), SshKey::make("ed25519"));
    add(&server, &key, &id);
    let token = sign_in(&open, &id, &key);
    let own = server.with_key(&token);
    report(&own, &id).is(202);
    own.get(&format!("/v1/agents?token={token}"));
    own.get(&format!("/v1/agents/{token}")).absent();
    let spoilt = format!("{token}x");
    server.with_key(&spoilt).get("/v1/agents").problem(401);
    open.post("/api/v1/auth/verify", &json!({"agent_id": id, "challenge": token, "response": token}))
        .problem(401);
    let told = json!({"senderId": id, "messageType": "text", "payload": {"token": token}});
    own.post(&format!("/v1/agents/{id}/run"), &told).is(202);
    let log = || format!("{}{}", server.stdout(), server.stderr());
    eventually("the access log", || {
        if log().contains("/v1/agents/{agentId}/run") { Ok(()) } else { Err("no line".to_owned()) }
    });
    let signature = token.rsplit('.').next().expect("a signature");
    let log = log();
    let line = log.lines().find(|line| line.contains(signature));
    assert!(line.is_none(), "the log holds a token: {line:?}");
}

fn a_token_commands_other_agents(database: &Database) {
    let server = Server::start(database);
    let id = agent(&server, "one");
    let other = text(&server.post("/api/v1/agents", &json!({"name": "other"})).is(201)["agent_id"]);
    let key = SshKey::make("ed25519");
    add(&server, &key, &id);
    let own = server.with_key(&sign_in(&server.without_key(), &id, &key));
    let commands = format!("/api/v1/agents/{other}/commands");
    let made = text(&own.post(&commands, &json!({"command": "look"})).is(202)["command_id"]);
    let shown = own.get(&format!("{commands}/{made}")).is(200);
    assert_eq!(shown["command"], "look", "{shown}");
    own.get(&commands).problem(403);
    own.post(&format!("{commands}/{made}/cancel"), &json!({})).problem(403);
}

fn tokens_and_challenges_survive_a_restart(database: &Database) {
    let mut server = Server::start(database);
    let (id, key) = (agent(&server, "one"), SshKey::make("ed25519"));
    add(&server, &key, &id);
    let old = sign_in(&server.without_key(), &id, &key);
    let own = server.with_key(&old);
    let open = server.without_key();
    let (answered, waits) = (challenge(&open, &id), challenge(&open, &id));
    let response = key.armoured(&answered, "artcafe");
    token(&answer(&open, &id, &answered, &response));
    let keys = open.get("/.well-known/jwks.json").is(200);
    server.kill();
    server.restart();
    own.get("/v1/agents").is(200);
    assert_eq!(open.get("/.well-known/jwks.json").is(200), keys);
    assert_eq!(part(&old, 0)["kid"], keys["keys"][0]["kid"]);
    assert_eq!(part(&old, 0)["alg"], "EdDSA");
    let told = json!({"token": old, "key": keys["keys"][0]}).to_string();
    assert!(key.python(CHECK_TOKEN, &told).is_none_or(|printed| printed == "good"));
    answer(&open, &id, &answered, &response).problem(401);
    token(&answer(&open, &id, &waits, &key.armoured(&waits, "artcafe")));
}

/// Two processes over one database, without a bus between them: what the one revokes ends on the other within the second
/// for which a token is believed.
fn nodes_share_keys_and_their_end(database: &Database) {
    if database.url().is_none() {
        return;
    }
    let (one, other) = (Server::start(database), Server::start(database));
    let (id, key) = (agent(&one, "one"), SshKey::make("ed25519"));
    let key_id = add(&one, &key, &id);
    // What one node asked is answered at the other.
    let asked = challenge(&one.without_key(), &id);
    let token = token(&answer(&other.without_key(), &id, &asked, &key.armoured(&asked, "artcafe")));
    for node in [&one, &other] {
        report(&node.with_key(&token), &id).is(202);
    }
    let keys = |node: &Server| node.without_key().get("/.well-known/jwks.json").is(200);
    assert_eq!(keys(&one), keys(&other));
    answer(&one.without_key(), &id, &asked, &key.armoured(&asked, "artcafe")).problem(401);
    one.post(&format!("/api/v1/ssh-keys/{key_id}/revoke"), &json!({})).is(200);
    one.with_key(&token).get("/v1/agents").problem(401);
    ends(&other.with_key(&token));
}
