//! The Rust SDK's examples, each as a program of its own against a real server.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};

use serde_json::json;

use crate::support::{AFTER_A_CRASH, Database, KEY, Server, SshKey, on_each_database};

on_each_database![hello_http, hello_websocket, hello_websocket_by_an_ssh_key, conversation];

const EXAMPLES: [&str; 3] = ["conversation", "hello_http", "hello_websocket"];

/// A running example, which ends with the test.
struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    fn start(name: &str, server: &Server, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(folder().join(name));
        command.env("SIGNALBOX_URL", format!("http://{}", server.address())).env("SIGNALBOX_API_KEY", KEY);
        command.envs(env.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the example starts");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(AFTER_A_CRASH).expect("a line of the example's")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where the examples are. Cargo has them built already where all tests of the workspace are built; else this builds them.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        build.args(EXAMPLES.iter().flat_map(|name| ["--example", name]));
        let built = build.output().expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_signalbox"));
        binary.parent().expect("the folder of what is built").join("examples")
    })
}

/// Has the agent do its task, well and badly.
fn greets(server: &Server, agent_id: &str) {
    let definition = json!({"id": "hello", "name": "Hello", "tasks": [
        {"taskId": "hello", "agentCapability": "hello", "maxRetries": 0, "parameters": {"name": "${input.name}"}}]});
    let session = server.trigger(agent_id, &definition, &json!({"name": "Ada"}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["result"], json!({"text": "Hello, Ada!"}), "{done}");
    let session = server.trigger(agent_id, &definition, &json!({"name": 7}));
    let failed = server.session_becomes(&session, "failed");
    assert!(failed["error"].to_string().contains("there is no name"), "{failed}");
}

fn hello_http(database: &Database) {
    let server = Server::start(database);
    let example = Example::start("hello_http", &server, &[]);
    let line = example.line();
    let (agent_id, endpoint) = line.split_once(" is reached at ").expect("where it is reached");
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{line}");
    greets(&server, agent_id);
}

fn hello_websocket(database: &Database) {
    let server = Server::start(database);
    let example = Example::start("hello_websocket", &server, &[]);
    let line = example.line();
    greets_and_answers(&server, line.strip_suffix(" is connected").expect("that it is connected"));
}

fn hello_websocket_by_an_ssh_key(database: &Database) {
    let server = Server::start(database);
    let body = json!({"agentName": "vault", "version": "1", "capabilities": ["hello"]});
    let registered = server.post("/v1/agents/register", &body).is(201);
    let agent_id = registered["data"]["agentId"].as_str().expect("an id");
    let key = SshKey::make("ed25519");
    let body =
        json!({"name": "vault", "key_type": "agent", "agent_id": agent_id, "public_key": key.public()});
    server.post("/api/v1/ssh-keys", &body).is(201);
    let env = [("AGENT_ID", agent_id), ("AGENT_KEY", &key.private()), ("SIGNALBOX_API_KEY", "")];
    let example = Example::start("hello_websocket", &server, &env);
    assert_eq!(example.line(), format!("{agent_id} is connected"));
    greets_and_answers(&server, agent_id);
}

/// One that is connected also takes a command.
fn greets_and_answers(server: &Server, agent_id: &str) {
    greets(server, agent_id);
    let commands = format!("/api/v1/agents/{agent_id}/commands?wait=true");
    let answer = server.post(&commands, &json!({"command": "status", "args": {}})).is(200);
    assert_eq!((&answer["status"], &answer["result"]), (&json!("success"), &json!({"ok": true})));
}

fn conversation(database: &Database) {
    let server = Server::start(database);
    let mut example = Example::start("conversation", &server, &[]);
    assert_eq!(example.line(), r#"the counter says: {"words":5}"#);
    assert_eq!(example.line(), r#"the asker hears: {"counted":{"words":5}}"#);
    assert!(example.child.wait().expect("its end").success());
}
