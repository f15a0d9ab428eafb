//! An agent on the Rust runtime, connected by an SSH key: it does a task of a workflow, is commanded, gets publications, and
//! goes on over a server that is killed.

use std::time::Duration;

use serde_json::{Value, json};
use signalbox_client::Client;
use signalbox_client::agent::{Agent, Call, Credentials, Failure, Happening, Running, Subscription};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{Database, KEY, Server, Setup, SshKey, eventually, on_each_database};

on_each_database![
    an_agent_by_an_ssh_key_works_over_a_restart,
    two_agents_converse,
    an_agent_waits_for_its_server,
    a_message_without_a_handler_is_told_in_the_log,
];

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// What its handlers do: the work of the tests.
async fn work(call: Call) -> Result<Value, Failure> {
    match call.name.as_str() {
        "restart" if call.payload["how"] == "badly" => Err(Failure::new("no way").code("stuck")),
        "count" => {
            call.context.log(signalbox_client::LogLevel::Info, "counting", None);
            Ok(json!({"n": call.payload["n"].as_i64().unwrap_or_default() + 1}))
        }
        name => Ok(json!({"did": name})),
    }
}

struct Connected {
    running: Running,
    publications: UnboundedReceiver<Value>,
    happenings: UnboundedReceiver<Happening>,
}

async fn connect(agent: Agent, subject: Subscription) -> Connected {
    let (told, happenings) = unbounded_channel();
    let (published, publications) = unbounded_channel();
    let agent = agent.handler(work).observer(move |happening| drop(told.send(happening))).subscribe(
        subject,
        move |call: Call| {
            let sent = published.send(call.payload);
            async move { sent.map(|()| Value::Null).map_err(|_| Failure::new("nobody listens")) }
        },
    );
    let running = agent.start().await.expect("it starts");
    Connected { running, publications, happenings }
}

impl Connected {
    async fn published(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.publications.recv()).await.expect("in time").expect("one")
    }

    async fn until(&mut self, is_it: impl Fn(&Happening) -> bool) {
        let seen = async { while !is_it(&self.happenings.recv().await.expect("it runs")) {} };
        tokio::time::timeout(PATIENCE, seen).await.expect("in time");
    }
}

/// A port that stays the same when the server is started again.
fn port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

fn an_agent_by_an_ssh_key_works_over_a_restart(database: &Database) {
    let mut server = Setup::new(database).listen(Some(&port())).start();
    let registered = server.post(
        "/v1/agents/register",
        &json!({"agentName": "rust", "version": "1", "capabilities": ["count"]}),
    );
    let agent_id = registered.is(201)["data"]["agentId"].as_str().expect("an id").to_owned();
    let key = SshKey::make("ed25519");
    let body = json!({"name": "rust", "key_type": "agent", "agent_id": agent_id, "public_key": key.public()});
    server.post("/api/v1/ssh-keys", &body).is(201);
    let channel =
        server.post("/api/v1/channels", &json!({"name": "orders.eu"})).is(201)["channel_id"].clone();
    let messages = format!("/api/v1/channels/{}/messages", channel.as_str().expect("an id"));

    let runtime = runtime();
    let client = Client::new(&format!("http://{}", server.address()), None).expect("a client");
    let agent = Agent::new(client, "rust").registered(&agent_id).connect(Credentials::ssh_key(key.private()));
    let mut connected = runtime.block_on(connect(agent, Subscription::new("orders.eu").after(0)));

    let definition = json!({"id": "w", "name": "W", "tasks": [{"taskId": "count", "name": "count",
        "agentCapability": "count", "parameters": {"n": 41}}]});
    let session = server.trigger(&agent_id, &definition, &json!({}));
    let done = server.session_becomes(&session, "completed");
    assert_eq!(done["result"], json!({"n": 42}), "{done}");
    // The handler's line is in the log, with its session.
    eventually("the line in the log", || {
        let logs = server.get(&format!("/v1/opscore/logs?session={session}&text=counting")).is(200);
        let line = logs["data"][0].clone();
        if line["message"] == "counting" && line["sessionId"] == json!(session) {
            Ok(())
        } else {
            Err(logs.to_string())
        }
    });

    let commands = format!("/api/v1/agents/{agent_id}/commands?wait=true");
    let answer = server.post(&commands, &json!({"command": "restart", "args": {}})).is(200);
    assert_eq!((&answer["status"], &answer["result"]), (&json!("success"), &json!({"did": "restart"})));
    let answer = server.post(&commands, &json!({"command": "restart", "args": {"how": "badly"}})).is(200);
    assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!("error"), &json!("stuck")));

    server.post(&messages, &json!({"payload": 1})).is(202);
    assert_eq!(runtime.block_on(connected.published()), json!(1));
    server.kill();
    runtime.block_on(connected.until(|happening| matches!(happening, Happening::Disconnected { .. })));
    server.restart();
    server.post(&messages, &json!({"payload": 2})).is(202);
    assert_eq!(runtime.block_on(connected.published()), json!(2), "the first does not come again");
    let session = server.trigger(&agent_id, &definition, &json!({}));
    server.session_becomes_within(PATIENCE, &session, "completed");
    assert!(runtime.block_on(connected.running.stop(PATIENCE)), "it ends in order");
}

fn two_agents_converse(database: &Database) {
    let server = Server::start(database);
    let runtime = runtime();
    let agent = |name: &str| {
        let client = Client::new(&format!("http://{}", server.address()), Some(KEY)).expect("a client");
        Agent::new(client, name).connect(Credentials::ClientKey)
    };
    runtime.block_on(async {
        let mut alice = connect(agent("alice"), Subscription::new("chat.>")).await;
        let bob = connect(agent("bob"), Subscription::new("chat.>")).await;
        alice.until(|happening| matches!(happening, Happening::Connected { .. })).await;
        let answer = alice
            .running
            .request(bob.running.agent_id(), json!({"question": 1}), Duration::from_secs(20))
            .await;
        assert_eq!(answer.expect("an answer"), json!({"did": "request"}));
        bob.running.publish("chat.room", json!("hello")).await.expect("published");
        assert_eq!(alice.published().await, json!("hello"));
        bob.running.send(alice.running.agent_id(), "greeting", json!({"text": "hi"})).await.expect("sent");
        alice
            .until(|happening| matches!(happening, Happening::Done { name, .. } if name == "greeting"))
            .await;
    });
}

fn an_agent_waits_for_its_server(database: &Database) {
    let address = port();
    let client = Client::new(&format!("http://{address}"), Some(KEY)).expect("a client");
    let runtime = runtime();
    let start = |name: &str, connects: bool| {
        let (told, happenings) = unbounded_channel();
        let agent = Agent::new(client.clone(), name).heartbeat(Duration::from_millis(200)).handler(work);
        let agent = agent.observer(move |happening| drop(told.send(happening)));
        let agent = if connects { agent.connect(Credentials::ClientKey) } else { agent };
        (runtime.spawn(agent.start()), happenings)
    };
    let mut started = [start("listens", false), start("connects", true)];
    for (_, happenings) in &mut started {
        let told = runtime.block_on(next(happenings));
        let expected = format!("no server at http://{address} yet (");
        assert!(told.starts_with(&expected) && told.ends_with("); trying again"), "{told}");
    }
    let mut server = Setup::new(database).listen(Some(&address)).start();
    let mut running = Vec::new();
    for (starting, happenings) in started {
        let started = runtime.block_on(async { tokio::time::timeout(PATIENCE, starting).await });
        running.push((started.expect("in time").expect("no panic").expect("it starts"), happenings));
    }
    assert_eq!(runtime.block_on(next(&mut running[1].1)), "connected");
    server.kill();
    for (_, happenings) in &mut running {
        let told = runtime.block_on(next(happenings));
        assert!(told.starts_with("lost the server: "), "{told}");
    }
    server.restart();
    for (_, happenings) in &mut running {
        // A server that was killed does not know the connection that is gone on with.
        let told = runtime.block_on(async {
            loop {
                let told = next(happenings).await;
                if !told.starts_with("messages are missing") {
                    return told;
                }
            }
        });
        assert_eq!(told, "back: the server is there again");
    }
}

/// What happens next, in words.
async fn next(happenings: &mut UnboundedReceiver<Happening>) -> String {
    tokio::time::timeout(PATIENCE, happenings.recv()).await.expect("in time").expect("it runs").to_string()
}

fn a_message_without_a_handler_is_told_in_the_log(database: &Database) {
    let server = Server::start(database);
    let runtime = runtime();
    let client = Client::new(&format!("http://{}", server.address()), Some(KEY)).expect("a client");
    let (told, mut happenings) = unbounded_channel();
    let agent = Agent::new(client.clone(), "deaf").task("count", work);
    let agent = agent.observer(move |happening| drop(told.send(happening)));
    let running = runtime.block_on(agent.start()).expect("it starts");
    let message = json!({"senderId": running.agent_id(), "messageType": "gossip", "payload": {}});
    let message_id = runtime.block_on(client.send_message(running.agent_id(), &message)).expect("it is sent");
    runtime.block_on(async { while !next(&mut happenings).await.contains("failed") {} });
    eventually("the line in the log", || {
        let logs = server.get("/v1/opscore/logs?level=error&text=gossip").is(200);
        let line = logs["data"][0].clone();
        let is_whole = line["message"].as_str().is_some_and(|text| {
            text.contains("the message 'gossip'")
                && text.contains(&message_id)
                && text.contains("no handler for the message")
        });
        if is_whole { Ok(()) } else { Err(logs.to_string()) }
    });
}
