//! The connection against a scripted server, in virtual time.

mod losses;
mod refusals;
mod stops;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_sink::Sink;
use serde_json::{Value, json};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use yawc::close::CloseCode;
use yawc::{Frame, OpCode, Options, Role, WebSocket};

use super::dial::Dialing;
use super::dial::Resume;
use super::socket::Socket;
use super::*;
use crate::agent::at_work::AtWork;
use crate::agent::call::{Call, Kind};
use crate::agent::failure::Failure;
use crate::agent::handlers::{Handler, Handlers};
use crate::agent::happening::Observer;
use crate::agent::inbox::Inbox;
use crate::agent::inbox::QUEUE_MAX;
use crate::agent::logs;
use crate::agent::reporter::{HttpReporter, Reporter};
use crate::agent::subscription::Subscription;
use crate::agent::worker::Worker;
use crate::client::Client;
use crate::error::Problem;

const DEADLINE: Duration = Duration::from_secs(1_000);

/// A dial that a test answers.
struct Dialed {
    resume: Option<Resume>,
    answer: oneshot::Sender<Result<Socket, Error>>,
    at: Instant,
}

struct Script {
    dials: mpsc::UnboundedSender<Dialed>,
    forgotten: AtomicUsize,
}

impl Dial for Script {
    fn dial<'a>(&'a self, resume: Option<&'a Resume>) -> Dialing<'a> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let dialed = Dialed { resume: resume.cloned(), answer, at: Instant::now() };
            if self.dials.send(dialed).is_err() {
                std::future::pending::<()>().await;
            }
            answered.await.unwrap_or_else(|_| Err(unreachable()))
        })
    }

    fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }

    fn url(&self) -> String {
        "http://127.0.0.1:9".to_owned()
    }
}

/// An agent under test.
struct Tested {
    script: Arc<Script>,
    dials: mpsc::UnboundedReceiver<Dialed>,
    link: Link,
    stop: watch::Sender<bool>,
    happenings: mpsc::UnboundedReceiver<Happening>,
    first: oneshot::Receiver<Result<(), Error>>,
    running: JoinHandle<()>,
}

fn start(handlers: Handlers, subscriptions: Vec<Subscription>) -> Tested {
    start_beating(handlers, subscriptions, Duration::from_secs(25))
}

fn start_beating(handlers: Handlers, subscriptions: Vec<Subscription>, heartbeat: Duration) -> Tested {
    let (told, happenings) = mpsc::unbounded_channel();
    let observer = Observer::new(move |happening| drop(told.send(happening)));
    let (dials, dialed) = mpsc::unbounded_channel();
    let script = Arc::new(Script { dials, forgotten: AtomicUsize::new(0) });
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let (log_sink, _) = logs::channel();
    let at_work = AtWork::default();
    let inbox = Arc::new(Inbox::new(sender, observer.clone(), at_work.clone(), log_sink));
    let (link, out) = Link::new(observer.clone());
    let (stop, stopping) = watch::channel(false);
    let (stop_worker, worker_stopping) = watch::channel(false);
    let connection = Connection::new(Parts {
        dial: Arc::clone(&script),
        in_hand: inbox.in_hand(),
        inbox,
        out,
        observer: observer.clone(),
        heartbeat,
        subscriptions,
        stopping,
    });
    let acting = Acting::new(Client::new("http://127.0.0.1:9", Some("k")).unwrap());
    let http = HttpReporter { acting, agent_id: "a".to_owned(), observer: observer.clone() };
    let worker = Worker::new(handlers, Reporter::Link(link.clone(), http), observer, at_work);
    let (sent, first) = oneshot::channel();
    let running = tokio::spawn(async move {
        let connected = async move {
            connection.run(sent).await;
            stop_worker.send_replace(true);
        };
        tokio::join!(connected, worker.run(receiver, 4, worker_stopping));
    });
    Tested { script, dials: dialed, link, stop, happenings, first, running }
}

/// The server's side of a connection.
struct Server(WebSocket<DuplexStream>);

impl Tested {
    async fn dialed(&mut self) -> Dialed {
        timeout(DEADLINE, self.dials.recv()).await.expect("a dial in time").expect("a dial")
    }

    async fn accept(&mut self) -> (Server, Option<Resume>) {
        let dialed = self.dialed().await;
        (accept(dialed.answer), dialed.resume)
    }

    async fn told(&mut self, is_it: impl Fn(&Happening) -> bool) -> Happening {
        loop {
            let happening = timeout(DEADLINE, self.happenings.recv()).await.expect("in time").expect("one");
            if is_it(&happening) {
                return happening;
            }
        }
    }

    /// The next subscription that is refused, and whether that is final.
    async fn refused_subscription(&mut self) -> (String, bool) {
        match self.told(|happening| matches!(happening, Happening::Refused { .. })).await {
            Happening::Refused { subscription: Some(subject), is_final, .. } => (subject, is_final),
            other => panic!("no subscription was refused: {other:?}"),
        }
    }

    async fn ended(self) {
        timeout(DEADLINE, self.running).await.expect("it ends").unwrap();
    }
}

fn accept(answer: oneshot::Sender<Result<Socket, Error>>) -> Server {
    let (here, there) = duplex(256 << 10);
    drop(answer.send(Ok(Socket::new(Box::new(there)).unwrap())));
    Server(WebSocket::from_stream(here, Role::Server, Options::default().without_compression()).unwrap())
}

impl Server {
    /// The next envelope that is none of these types.
    async fn next_but(&mut self, types: &[&str]) -> Value {
        loop {
            let frame = timeout(DEADLINE, self.0.next_frame()).await.expect("in time").expect("a frame");
            if !matches!(frame.opcode(), OpCode::Text) {
                continue;
            }
            let envelope: Value = serde_json::from_slice(frame.payload()).unwrap();
            if !types.contains(&envelope["type"].as_str().unwrap()) {
                return envelope;
            }
        }
    }

    async fn next(&mut self) -> Value {
        self.next_but(&["heartbeat", "ack", "subscribe"]).await
    }

    async fn send(&mut self, envelope: Value) {
        self.frame(Frame::text(envelope.to_string())).await;
    }

    async fn close(mut self, code: u16) {
        self.frame(Frame::close(CloseCode::from(code), "on purpose")).await;
        while self.0.next_frame().await.is_ok() {}
    }

    async fn frame(&mut self, frame: Frame) {
        let mut socket = std::pin::Pin::new(&mut self.0);
        poll_fn(|cx| socket.as_mut().poll_ready(cx)).await.unwrap();
        socket.as_mut().start_send(frame).unwrap();
        poll_fn(|cx| socket.as_mut().poll_flush(cx)).await.unwrap();
    }

    async fn name(&mut self, connection_id: &str) {
        self.send(json!({"type": "heartbeat_ack", "id": "h", "data": {"connection_id": connection_id, "sequence": 0}}))
            .await;
    }

    async fn acknowledge(&mut self, envelope: &Value) {
        self.send(json!({"type": "ack", "id": "a", "data": {"message_id": envelope["id"]}})).await;
    }
}

fn unreachable() -> Error {
    Error::Unreachable { url: "x".to_owned(), reason: "refused".to_owned(), unsent: true }
}

fn answered(status: u16) -> Error {
    Error::Problem(Box::new(Problem { status, ..Problem::default() }))
}

fn command(id: &str, sequence: u64, command: &str, args: Value) -> Value {
    json!({"type": "command", "id": id, "sequence": sequence, "data": {"command": command, "args": args}})
}

fn task(id: &str, sequence: u64) -> Value {
    command(
        id,
        sequence,
        "execute_task",
        json!({"task_id": id, "parameters": {"n": 1}, "task_name": "count"}),
    )
}

/// Counts what it is given; fails where it is told to, and never ends where it is told to.
fn handlers(runs: &Arc<AtomicUsize>) -> Handlers {
    let runs = Arc::clone(runs);
    let mut handlers = Handlers::default();
    let work = Handler::new(move |call: Call| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move {
            if call.payload["hang"] == true {
                std::future::pending::<()>().await;
            }
            if call.payload["fail"] == true {
                return Err(Failure::new("no disk").code("disk"));
            }
            Ok(json!({"did": call.name}))
        }
    });
    for (kind, name) in [(Kind::Task, "count"), (Kind::Command, "restart"), (Kind::Request, "request")] {
        handlers.name(kind, name, work.clone());
    }
    handlers.subject("orders.>", work);
    handlers
}

fn some_handlers() -> (Handlers, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    (handlers(&runs), runs)
}

/// That a wait is no less than the rule says, and at most a quarter more.
fn assert_wait(since: Instant, until: Instant, seconds: u64) {
    let waited = until.duration_since(since).as_secs_f64();
    let rule = seconds as f64;
    assert!((rule..=rule * 1.25 + 0.01).contains(&waited), "{waited} s where the rule says {seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_waits_as_the_rules_on_failures_say() {
    let mut tested = start(some_handlers().0, Vec::new());
    let mut last = tested.dialed().await;
    for (error, seconds) in [
        (unreachable(), 1),
        (unreachable(), 2),
        (unreachable(), 4),
        (answered(401), 5),
        (answered(503), 10),
        (unreachable(), 8),
        (unreachable(), 16),
        (unreachable(), 32),
        (unreachable(), 64),
        (unreachable(), 120),
        (unreachable(), 120),
    ] {
        drop(last.answer.send(Err(error)));
        let since = last.at;
        last = tested.dialed().await;
        assert_wait(since, last.at, seconds);
    }
    assert_eq!(tested.script.forgotten.load(Ordering::Relaxed), 1, "a refused token is not used again");
    for (code, seconds) in [(1012, 1), (4401, 5), (4429, 1), (1013, 1)] {
        let mut server = accept(last.answer);
        server.name("con_1").await;
        assert_eq!(server.next_but(&[]).await["type"], "heartbeat");
        let since = Instant::now();
        server.close(code).await;
        last = tested.dialed().await;
        assert_wait(since, last.at, seconds);
    }
    assert_eq!(tested.script.forgotten.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_let_in_is_told_at_its_start() {
    for status in [401, 403, 404] {
        let mut tested = start(some_handlers().0, Vec::new());
        drop(tested.dialed().await.answer.send(Err(answered(status))));
        let first = timeout(DEADLINE, &mut tested.first).await.unwrap().unwrap();
        assert_eq!(first.unwrap_err().status(), Some(status));
        tested.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_for_good_is_told_and_not_tried_again() {
    for code in [4001, 4403, 4404] {
        let mut tested = start(some_handlers().0, Vec::new());
        let (server, _) = tested.accept().await;
        server.close(code).await;
        let ended = tested.told(|happening| matches!(happening, Happening::Ended { .. })).await;
        assert!(format!("{ended:?}").contains(&code.to_string()), "{ended:?}");
        tested.ended().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_done_once_and_answered_until_the_server_has_it() {
    let (handlers, runs) = some_handlers();
    let mut tested = start(handlers, Vec::new());
    let (mut server, resume) = tested.accept().await;
    assert_eq!(resume, None);
    server.name("con_1").await;
    server.send(task("tsk_a-1", 5)).await;
    let response = server.next().await;
    assert_eq!(
        response["data"],
        json!({"command_id": "tsk_a-1", "status": "success", "result": {"did": "count"}})
    );
    server.close(1012).await;

    let (mut server, resume) = tested.accept().await;
    assert_eq!(resume, Some(Resume { connection_id: "con_1".to_owned(), after: 5 }));
    let again = server.next().await;
    assert_eq!(again, response, "it is not known to have arrived");
    server.acknowledge(&again).await;
    server.send(task("tsk_a-1", 5)).await;
    server.send(command("cmd_1", 6, "restart", json!({}))).await;
    let mut acknowledged = 0;
    let next = loop {
        let envelope = server.next_but(&["heartbeat"]).await;
        match envelope["data"]["sequence"].as_u64() {
            Some(sequence) => acknowledged = sequence,
            None => break envelope,
        }
    };
    assert_eq!(next["data"]["command_id"], "cmd_1", "what came again is not done again");
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert!(acknowledged >= 5, "{acknowledged}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_and_an_unknown_command_are_answered_with_an_error() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    server.send(command("cmd_1", 1, "restart", json!({"fail": true}))).await;
    let failed = server.next().await["data"].clone();
    assert_eq!((&failed["command_id"], &failed["status"]), (&json!("cmd_1"), &json!("error")));
    assert_eq!(failed["error"], json!({"message": "no disk", "code": "disk"}));
    server.send(command("cmd_2", 2, "dance", json!({}))).await;
    let unknown = server.next().await["data"].clone();
    assert_eq!((&unknown["command_id"], &unknown["status"]), (&json!("cmd_2"), &json!("error")));
    assert_eq!(unknown["error"]["code"], "no-handler");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_ends_its_handler() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    for (id, given, end, argument) in [
        ("tsk_a-1", "execute_task", "cancel_task", "task_id"),
        ("cmd_1", "restart", "cancel_command", "command_id"),
    ] {
        let args = if given == "restart" {
            json!({"hang": true})
        } else {
            json!({"task_id": id, "task_name": "count", "parameters": {"hang": true}})
        };
        server.send(command(id, 1, given, args)).await;
        let active = server.next().await;
        assert_eq!(
            (&active["type"], &active["data"]),
            (&json!("status"), &json!({"status": "busy", "current_task": id}))
        );
        server.send(command("end", 2, end, json!({argument: id}))).await;
        let ended = server.next().await["data"].clone();
        assert_eq!((&ended["command_id"], &ended["error"]["code"]), (&json!(id), &json!("cancelled")));
    }
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_made_again_and_what_was_seen_is_dropped() {
    let (handlers, runs) = some_handlers();
    let mut tested = start(handlers, vec![Subscription::new("orders.eu").after(0)]);
    let (mut server, _) = tested.accept().await;
    let subscribe = server.next_but(&["heartbeat"]).await;
    assert_eq!(subscribe["data"], json!({"subject": "orders.eu", "after": 0}));
    let publication = |sequence: u64| {
        json!({"type": "message", "id": format!("m{sequence}"),
            "data": {"subject": "orders.eu", "channel_id": "chn_1", "from": "b", "payload": {}, "sequence": sequence}})
    };
    for sequence in [1, 2] {
        server.send(publication(sequence)).await;
    }
    for _ in 0..2 {
        tested.told(|happening| matches!(happening, Happening::Done { kind: Kind::Publication, .. })).await;
    }
    tested.link.subscribe(Subscription::new("news")).await.unwrap();
    assert_eq!(server.next_but(&["heartbeat", "ack"]).await["data"], json!({"subject": "news"}));
    drop(server);

    let (mut server, _) = tested.accept().await;
    let again = server.next_but(&["heartbeat"]).await;
    assert_eq!(again["data"], json!({"subject": "orders.eu", "after": 2}));
    assert_eq!(server.next_but(&["heartbeat"]).await["data"], json!({"subject": "news"}));
    for sequence in [2, 3] {
        server.send(publication(sequence)).await;
    }
    tested.told(|happening| matches!(happening, Happening::Done { .. })).await;
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    server.send(json!({"type": "gap", "data": {"subject": "orders.eu", "reason": "gone"}})).await;
    let gap = tested.told(|happening| matches!(happening, Happening::Gap { .. })).await;
    assert!(format!("{gap:?}").contains("gone"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_gives_signs_of_life_and_leaves_a_server_that_gives_none() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    let begun = Instant::now();
    for beat in 0..4 {
        let heartbeat = server.next_but(&[]).await;
        let expected = if beat == 0 { json!({"status": "online"}) } else { json!({}) };
        assert_eq!((&heartbeat["type"], &heartbeat["data"]), (&json!("heartbeat"), &expected));
        assert_eq!(begun.elapsed().as_secs(), beat * 25);
        server.name("con_1").await;
    }
    let silent_since = Instant::now();
    let dialed = tested.dialed().await;
    let left_after = dialed.at.duration_since(silent_since).as_secs();
    assert!((62..=105).contains(&left_after), "{left_after} s");
}

#[tokio::test(start_paused = true)]
async fn what_is_published_is_acknowledged_over_a_reconnection_and_a_request_is_not() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    let link = tested.link.clone();
    let publishing = tokio::spawn(async move { link.publish("orders.eu", json!(1), None).await });
    let published = server.next().await;
    let link = tested.link.clone();
    let asking =
        tokio::spawn(async move { link.request(("to", "b"), json!("?"), Duration::from_secs(30)).await });
    let request = server.next().await;
    assert_eq!(request["data"], json!({"to": "b", "payload": "?", "timeout": 30.0}));
    drop(server);
    assert!(matches!(asking.await.unwrap(), Err(Error::Unreachable { unsent: false, .. })));

    let (mut server, _) = tested.accept().await;
    assert_eq!(server.next().await, published);
    server.send(json!({"type": "ack", "data": {"message_id": published["id"], "sequence": 9}})).await;
    assert_eq!(publishing.await.unwrap().unwrap(), Some(9));

    let link = tested.link.clone();
    let asking =
        tokio::spawn(async move { link.request(("to", "b"), json!("?"), Duration::from_secs(30)).await });
    let request = server.next().await;
    server.send(json!({"type": "ack", "data": {"message_id": request["id"]}})).await;
    server
        .send(json!({"type": "reply", "data": {"request_id": request["id"], "from": "b", "payload": 42}}))
        .await;
    assert_eq!(asking.await.unwrap().unwrap(), json!(42));

    let link = tested.link.clone();
    let asking =
        tokio::spawn(async move { link.request(("to", "c"), json!("?"), Duration::from_secs(30)).await });
    let request = server.next().await;
    let data = json!({"code": "no-responders", "message": "nobody is there", "id": request["id"]});
    server.send(json!({"type": "error", "data": data})).await;
    let error = asking.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("nobody is there"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_replied_to() {
    let mut tested = start(some_handlers().0, Vec::new());
    let (mut server, _) = tested.accept().await;
    server
        .send(
            json!({"type": "request", "id": "r", "data": {"from": "b", "payload": {}, "reply_to": "rep_1"}}),
        )
        .await;
    let reply = server.next().await;
    assert_eq!(
        (&reply["type"], &reply["data"]),
        (&json!("reply"), &json!({"reply_to": "rep_1", "payload": {"did": "request"}}))
    );
}
