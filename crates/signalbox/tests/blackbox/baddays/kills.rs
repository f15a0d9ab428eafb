//! `kill -9` under load, twice: what was acknowledged is there, every session ends, each task is settled once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Agent, Api, Database, Request, Server, Worker, eventually, iso, items, on_each_database, within,
};

on_each_database![nothing_acknowledged_is_lost_under_load];

const CLIENTS: usize = 32;
/// Acknowledged requests between one kill and the next.
const BEFORE_KILL: usize = 1_000;
/// For all that was accepted to be carried out after the last start.
const CARRIED_OUT: Duration = Duration::from_secs(240);

/// What clients were promised.
#[derive(Default)]
struct Promises {
    count: AtomicUsize,
    agents: Mutex<BTreeMap<String, String>>,
    reports: Mutex<BTreeSet<usize>>,
    messages: Mutex<BTreeSet<String>>,
    sessions: Mutex<BTreeSet<String>>,
}

/// Who is called.
struct Cast {
    reporter: String,
    receiver: String,
    starter: String,
}

fn nothing_acknowledged_is_lost_under_load(database: &Database) {
    let mut server = Server::start(database);
    let receiving = Agent::start();
    let workers: Vec<_> =
        (0..8).map(|n| Worker::start(&server.api(), &format!("worker {n}"), &["load"])).collect();
    let cast = Cast {
        reporter: server.register_at("reporter", "http://127.0.0.1:9/run", &[]),
        receiver: server.register("receiver", &receiving, &[]),
        starter: workers[0].id.clone(),
    };
    let (promises, stop) = (Promises::default(), AtomicBool::new(false));
    let api = server.api();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (api, cast, promises, stop) = (&api, &cast, &promises, &stop);
            scope.spawn(move || be_a_client(client, api, cast, promises, stop));
        }
        // A failure here must let the clients go, or the scope would wait for them.
        let stopped = StopOnDrop(&stop);
        for _ in 0..2 {
            until_promised(&promises, BEFORE_KILL);
            server.kill();
            server.restart();
        }
        until_promised(&promises, BEFORE_KILL / 4);
        drop(stopped);
    });
    assert_kept(&server, &cast, &promises);
    assert_carried_out(&server, &receiving, &promises);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn until_promised(promises: &Promises, more: usize) {
    let from = promises.count.load(Ordering::SeqCst);
    within(Duration::from_secs(120), "enough acknowledged requests", || {
        let count = promises.count.load(Ordering::SeqCst) - from;
        if count >= more { Ok(()) } else { Err(format!("{count}")) }
    });
}

/// Registers, reports, sends and triggers until told to stop. A request without an answer promised nothing.
fn be_a_client(client: usize, api: &Api, cast: &Cast, promises: &Promises, stop: &AtomicBool) {
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let number = client * 1_000_000 + n;
        // Sessions take the longest to carry out, so there are fewer of them.
        let kept = match (client + n) % 16 {
            0..4 => register(api, number, promises),
            4..10 => report(api, cast, number, promises),
            10..15 => run(api, cast, number, promises),
            _ => trigger(api, cast, number, promises),
        };
        if kept.is_some() {
            promises.count.fetch_add(1, Ordering::SeqCst);
        } else {
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// The answer where there is one: nothing but the expected status and refusals for the time being may come.
fn ask(api: &Api, request: Request, expected: u16) -> Option<Value> {
    let answer = api.try_send(request).ok()?;
    match answer.status {
        429 | 503 => None,
        _ => Some(answer.is(expected)),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

fn register(api: &Api, number: usize, promises: &Promises) -> Option<()> {
    let name = format!("agent {number}");
    let body = json!({"agentName": name, "version": "1", "contactEndpoint": "http://127.0.0.1:9/run",
                      "capabilities": ["idle"]});
    let answer = ask(api, Request::post("/v1/agents/register", &body), 201)?;
    promises.agents.lock().unwrap().insert(text(&answer["data"]["agentId"]), name);
    Some(())
}

fn report(api: &Api, cast: &Cast, number: usize, promises: &Promises) -> Option<()> {
    let id = &cast.reporter;
    let body = json!({"agentId": id, "timestamp": iso(), "state": "offline", "details": {"n": number}});
    ask(api, Request::post(format!("/v1/opscore/agent/{id}/state"), &body), 202)?;
    promises.reports.lock().unwrap().insert(number);
    Some(())
}

fn run(api: &Api, cast: &Cast, number: usize, promises: &Promises) -> Option<()> {
    let body = json!({"senderId": "load", "messageType": "text", "payload": {"n": number}});
    let answer = ask(api, Request::post(format!("/v1/agents/{}/run", cast.receiver), &body), 202)?;
    promises.messages.lock().unwrap().insert(text(&answer["data"]["messageId"]));
    Some(())
}

fn trigger(api: &Api, cast: &Cast, number: usize, promises: &Promises) -> Option<()> {
    let definition = json!({"id": "load", "name": "Load", "tasks": [
        {"taskId": "a", "agentCapability": "load"},
        {"taskId": "b", "agentCapability": "load", "parameters": {"n": "${tasks.a.result.n}"}},
    ]});
    let body = json!({"workflowDefinition": definition, "initialPayload": {"n": number}});
    let answer = ask(api, Request::post(format!("/v1/opscore/agent/{}/workflow", cast.starter), &body), 202)?;
    promises.sessions.lock().unwrap().insert(text(&answer["sessionId"]));
    Some(())
}

fn assert_kept(server: &Server, cast: &Cast, promises: &Promises) {
    let counts = [
        promises.agents.lock().unwrap().len(),
        promises.reports.lock().unwrap().len(),
        promises.messages.lock().unwrap().len(),
        promises.sessions.lock().unwrap().len(),
    ];
    assert!(counts.iter().all(|count| *count > 50), "something of everything was promised: {counts:?}");
    for (id, name) in promises.agents.lock().unwrap().iter() {
        assert_eq!(server.get(&format!("/v1/agents/{id}")).is(200)["data"]["agentName"], name.as_str());
    }
    let history = server.all_pages(&format!("/v1/opscore/agent/{}/history", cast.reporter), 1000);
    let number =
        |entry: &Value| entry["details"]["n"].as_u64().and_then(|number| usize::try_from(number).ok());
    let kept: BTreeSet<usize> = history.iter().filter_map(number).collect();
    for number in promises.reports.lock().unwrap().iter() {
        assert!(kept.contains(number), "report {number} of {} was acknowledged and is lost", kept.len());
    }
    for session in promises.sessions.lock().unwrap().iter() {
        server.session(session);
    }
}

fn assert_carried_out(server: &Server, receiving: &Agent, promises: &Promises) {
    for message in promises.messages.lock().unwrap().iter() {
        server.message_becomes(message, "delivered", CARRIED_OUT);
    }
    let arrived: BTreeSet<_> =
        receiving.all().iter().map(|delivery| delivery.header("x-message-id").to_owned()).collect();
    assert!(promises.messages.lock().unwrap().is_subset(&arrived));
    for session in promises.sessions.lock().unwrap().iter() {
        let done = server.session_becomes_within(CARRIED_OUT, session, "completed");
        assert_eq!(done["tasks"][1]["parameters"]["n"], done["input"]["n"], "{done}");
        assert_settled_once(server, session);
    }
    eventually("no work to be left", || {
        let open: Vec<_> = server
            .all_pages("/v1/opscore/sessions", 1000)
            .into_iter()
            .filter(|session| session["status"] != "completed")
            .collect();
        if open.is_empty() { Ok(()) } else { Err(json!(open).to_string()) }
    });
    assert_eq!(items(&server.get("/v1/dead-letters").is(200)), [Value::Null; 0]);
}

fn assert_settled_once(server: &Server, session: &str) {
    let events = server.all_pages(&format!("/v1/opscore/sessions/{session}/events"), 1000);
    let sequences: Vec<_> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences, (1..).take(events.len()).collect::<Vec<u64>>(), "without a gap");
    let mut settled = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "task.completed") {
        *settled.entry(event["taskId"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(settled.values().copied().collect::<Vec<_>>(), [1, 1], "{session}: {settled:?}");
}
