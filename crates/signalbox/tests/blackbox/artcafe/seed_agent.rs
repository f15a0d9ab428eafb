//! An agent that was written from nothing but the guide for agents (`tests/python/seed_agent.py`): it signs in with its SSH
//! key, connects, is commanded, does a workflow's task, and shows on every surface. Its libraries are foreign ones.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::support::{Api, Database, PATIENCE, PLATFORM_KEY, Server, Setup, eventually, on_each_database};

/// The agent as a process, and what it tells.
pub(crate) struct SeedAgent {
    child: Child,
    told: Receiver<Value>,
}

impl SeedAgent {
    fn start(python: &Path, api: &Api, (tenant, agent): (&str, &str), key: &Path, algorithm: &str) -> Self {
        Self::start_at(python, &api.url(""), (tenant, agent), key, algorithm, None)
    }

    /// Starts it against a URL; what it trusts is this certificate, where one is given.
    pub(crate) fn start_at(
        python: &Path,
        url: &str,
        (tenant, agent): (&str, &str),
        key: &Path,
        algorithm: &str,
        trusted: Option<&Path>,
    ) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/seed_agent.py");
        let mut command = Command::new(python);
        if let Some(trusted) = trusted {
            command.env("SSL_CERT_FILE", trusted);
        }
        let mut child = command
            .arg(script)
            .args([url, tenant, agent])
            .arg(key)
            .arg(algorithm)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, told) = channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Self { child, told }
    }

    /// The next of this kind that it tells.
    #[track_caller]
    pub(crate) fn tells(&self, event: &str) -> Value {
        loop {
            let told = self.next();
            if told["event"] == event {
                return told;
            }
        }
    }

    /// Whatever it tells next.
    #[track_caller]
    fn next(&self) -> Value {
        self.told.recv_timeout(PATIENCE).expect("the agent tells something in time")
    }
}

impl Drop for SeedAgent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Python with `paramiko` and `websockets`, where the tests were given one.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SIGNALBOX_TEST_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("passed over: SIGNALBOX_TEST_PYTHON names no Python with paramiko and websockets");
    }
    python
}

/// A key pair in a folder, as the guide has the tenant make it; the public half.
pub(crate) fn key_pair(folder: &Path, name: &str, kind: &[&str]) -> (PathBuf, String) {
    let path = folder.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-m", "PEM", "-C", "agent@test", "-f"])
        .arg(&path)
        .args(kind)
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
    let public = std::fs::read_to_string(path.with_extension("pub")).expect("the public half");
    (path, public)
}

/// A tenant with an agent that has registered its key.
pub(super) struct Tenant {
    pub(super) api: Api,
    pub(super) id: String,
    pub(super) agent: String,
}

impl Tenant {
    #[track_caller]
    pub(super) fn with_agent(server: &Server, public_key: &str) -> Self {
        let made = server.with_key(PLATFORM_KEY).post("/api/v1/tenants", &json!({"name": "guide"}));
        let made = made.is(201);
        let api = server.with_key(made["api_key"].as_str().expect("a key"));
        let body = json!({"name": "reader", "type": "worker",
            "capabilities": [{"name": "read", "description": "Reads", "parameters": {}, "version": "1"}]});
        let agent = api.post("/api/v1/agents", &body).is(201)["agent_id"].as_str().expect("an id").to_owned();
        let body = json!({"name": "key", "public_key": public_key, "key_type": "agent", "agent_id": agent});
        api.post("/api/v1/ssh-keys", &body).is(201);
        Self { api, id: made["tenant_id"].as_str().expect("an id").to_owned(), agent }
    }

    fn has_status(&self, expected: &str) -> Result<(), String> {
        let agent = self.api.get(&format!("/api/v1/agents/{}", self.agent)).is(200);
        if agent["status"] == expected { Ok(()) } else { Err(agent.to_string()) }
    }
}

fn started(database: &Database) -> Server {
    Setup::new(database).env("SIGNALBOX_PLATFORM_KEY", PLATFORM_KEY).start()
}

on_each_database![
    an_agent_from_the_guide_connects_is_commanded_and_does_a_task,
    a_signature_as_the_guide_writes_it_signs_in_or_is_refused_with_the_cure,
];

fn an_agent_from_the_guide_connects_is_commanded_and_does_a_task(database: &Database) {
    let Some(python) = python() else { return };
    let server = started(database);
    let (key, public) = key_pair(server.setup().dir(), "ed25519", &["-t", "ed25519"]);
    let tenant = Tenant::with_agent(&server, &public);
    assert_eq!(tenant.has_status("offline"), Ok(()));
    let agent = SeedAgent::start(&python, &tenant.api, (&tenant.id, &tenant.agent), &key, "ed25519");
    agent.tells("connected");
    eventually("the agent is online", || tenant.has_status("online"));
    let heard = agent.tells("received");
    assert_eq!(heard["type"], "heartbeat_ack", "{heard}");

    let path = format!("/api/v1/agents/{}/commands?wait=true", tenant.agent);
    let answer = tenant.api.post(&path, &json!({"command": "look", "args": {"at": "this"}, "timeout": 30}));
    let answer = answer.is(200);
    assert_eq!((&answer["status"], &answer["result"]["echo"]["at"]), (&json!("success"), &json!("this")));
    let failed = tenant.api.post(&path, &json!({"command": "fail", "args": {}, "timeout": 30}));
    let failed = failed.is(200);
    assert_eq!((&failed["status"], &failed["error"]), (&json!("error"), &json!("it was told to")));

    let workflow = json!({"workflowDefinition": {"id": "w", "name": "w",
            "tasks": [{"taskId": "read", "agentCapability": "read", "parameters": {"file": "a"}}]},
            "initialPayload": {"page": 7}});
    let path = format!("/v1/opscore/agent/{}/workflow", tenant.agent);
    let session = tenant.api.post(&path, &workflow).is(202)["sessionId"].as_str().expect("an id").to_owned();
    let session = eventually("the session ends", || {
        let read = tenant.api.get(&format!("/v1/opscore/sessions/{session}")).is(200);
        if read["status"] == "completed" { Ok(read) } else { Err(read.to_string()) }
    });
    assert_eq!(session["tasks"][0]["result"]["done"], json!({"file": "a", "page": 7}), "{session}");
    let task = agent.tells("command");
    assert!(task["command"] != "execute_task" || task["args"]["parameters"]["page"] == 7, "{task}");

    // It is the same agent on the other surfaces.
    let listed = tenant.api.get("/v1/agents").is(200)["data"].clone();
    assert_eq!(listed[0]["agentId"], json!(tenant.agent), "{listed}");
    drop(agent);
    eventually("the agent is offline again", || tenant.has_status("offline"));
}

/// What paramiko signs with unless it is told otherwise follows from its version: older ones use SHA-1.
fn a_signature_as_the_guide_writes_it_signs_in_or_is_refused_with_the_cure(database: &Database) {
    let Some(python) = python() else { return };
    let server = started(database);
    let (key, public) = key_pair(server.setup().dir(), "rsa", &["-t", "rsa", "-b", "2048"]);
    let tenant = Tenant::with_agent(&server, &public);
    let run = |algorithm: &str| {
        SeedAgent::start(&python, &tenant.api, (&tenant.id, &tenant.agent), &key, algorithm)
    };
    let first = run("default").next();
    if first["event"] != "authenticated" {
        assert_eq!((&first["status"], &first["answer"]["valid"]), (&json!(401), &json!(false)), "{first}");
        assert!(first.to_string().contains("rsa-sha2-256"), "it names the cure: {first}");
    }
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        run(algorithm).tells("connected");
    }
}
