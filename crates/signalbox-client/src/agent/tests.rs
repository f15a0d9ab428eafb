//! The runtime against a tiny server that takes registrations and reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::retry::RetryPolicy;
use crate::test_server::{Asked, CannedResponse, TestServer};

const DEADLINE: Duration = Duration::from_secs(10);

/// A server that takes everything; each report is also sent to the receiver.
async fn server(
    refuse: impl Fn(&Value) -> Option<CannedResponse> + Send + Sync + 'static,
) -> (TestServer, Reports) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let respond = move |asked: &Asked| {
        if asked.target.starts_with("/v1/agents/register") {
            return CannedResponse::new(201)
                .json(&json!({"status": "success", "message": "m", "data": {"agentId": "agt_1"}}));
        }
        let report = asked.json();
        let answer = refuse(&report).unwrap_or_else(|| CannedResponse::new(202));
        sender.send(report).unwrap();
        answer
    };
    (TestServer::respond(respond).await, Reports(receiver))
}

struct Reports(mpsc::UnboundedReceiver<Value>);

impl Reports {
    async fn next(&mut self) -> Value {
        tokio::time::timeout(DEADLINE, self.0.recv()).await.expect("a report in time").expect("a report")
    }
}

fn agent(server: &TestServer) -> Agent {
    let policy = RetryPolicy { wait_first: Duration::from_millis(1), ..RetryPolicy::default() };
    let client = Client::new(&server.url(), Some("k")).unwrap().with_retry(policy);
    Agent::new(client, "reader").version("2").capability("read")
}

async fn post(endpoint: &str, message_id: &str, body: &Value) -> StatusCode {
    let client = HyperClient::builder(TokioExecutor::new()).build_http();
    let request = Request::post(endpoint)
        .header("x-message-id", message_id)
        .header("x-attempt", "3")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

/// A delivery whose answer is read, and that answer.
async fn post_for_answer(endpoint: &str, message_id: &str, body: &Value) -> (StatusCode, Value) {
    let client = HyperClient::builder(TokioExecutor::new()).build_http();
    let request = Request::post(endpoint)
        .header("x-message-id", message_id)
        .header("x-accepts-report", "true")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

fn task(id: &str, parameters: &Value) -> Value {
    json!({"senderId": "opscore", "messageType": "workflow_task", "payload": parameters, "task_name": "count",
        "opscore_session_id": "ses_1", "opscore_task_id": id})
}

fn failure(message: &str) -> Result<Value, String> {
    Err(message.to_owned())
}

#[tokio::test]
async fn a_task_is_reported_active_and_then_completed_with_its_result() {
    let (server, mut reports) = server(|_| None).await;
    let handler = |call: Call| async move {
        assert_eq!((call.attempt, call.session_id.as_deref()), (3, Some("ses_1")));
        Ok::<_, String>(json!({"twice": call.payload["n"].as_i64().unwrap() * 2}))
    };
    let running = agent(&server).handler(handler).start().await.unwrap();
    assert_eq!(running.agent_id(), "agt_1");
    let registration = &server.requests()[0];
    assert_eq!(registration.target, "/v1/agents/register?replace=true");
    assert_eq!(registration.json()["contactEndpoint"], running.endpoint().unwrap());
    assert_eq!(registration.json()["capabilities"], json!(["read"]));

    assert_eq!(post(running.endpoint().unwrap(), "m1", &task("t1", &json!({"n": 21}))).await, StatusCode::OK);
    let (active, completed) = (reports.next().await, reports.next().await);
    assert_eq!(active["state"], "active");
    assert_eq!(active["details"], json!({"opscore_task_id": "t1"}));
    assert_eq!(completed["state"], "completed");
    assert_eq!(completed["details"], json!({"opscore_task_id": "t1", "result": {"twice": 42}}));
    assert!(active["timestamp"].as_str() <= completed["timestamp"].as_str());
}

#[tokio::test]
async fn a_handler_that_ends_soon_answers_the_delivery_with_its_report() {
    let (server, mut reports) = server(|_| None).await;
    let go_on = Arc::new(Notify::new());
    let waits = Arc::clone(&go_on);
    let handler = move |call: Call| {
        let waits = Arc::clone(&waits);
        async move {
            if call.payload["wait"] == true {
                waits.notified().await;
            }
            if call.payload["fail"] == true { failure("no such file") } else { Ok(json!(7)) }
        }
    };
    let running = agent(&server).concurrency(4).handler(handler).start().await.unwrap();
    let completed = json!({"state": "completed", "details": {"opscore_task_id": "t1-1", "result": 7}});
    for _ in 0..2 {
        // The second is a repeat, whose first answer was lost.
        let (status, body) =
            post_for_answer(running.endpoint().unwrap(), "m1", &task("t1-1", &json!({}))).await;
        assert_eq!((status, body), (StatusCode::OK, completed.clone()));
    }
    let (_, body) =
        post_for_answer(running.endpoint().unwrap(), "m2", &task("t2-1", &json!({"fail": true}))).await;
    assert_eq!(
        body,
        json!({"state": "error", "details": {"opscore_task_id": "t2-1", "error": "no such file"}})
    );
    let (status, body) =
        post_for_answer(running.endpoint().unwrap(), "m3", &task("t3-1", &json!({"wait": true}))).await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &Value::Null), "it takes longer: {body}");
    assert_eq!(reports.next().await["state"], "active");
    go_on.notify_one();
    let report = reports.next().await;
    assert_eq!(
        (&report["state"], &report["details"]["opscore_task_id"]),
        (&json!("completed"), &json!("t3-1"))
    );
}

#[tokio::test]
async fn a_task_that_is_no_longer_wanted_ends_its_handler() {
    let (server, mut reports) = server(|_| None).await;
    let begun = Arc::new(Notify::new());
    let handler = {
        let begun = Arc::clone(&begun);
        move |_| {
            let begun = Arc::clone(&begun);
            async move {
                begun.notify_one();
                std::future::pending::<Result<Value, String>>().await
            }
        }
    };
    let running = agent(&server).handler(handler).start().await.unwrap();
    post(running.endpoint().unwrap(), "m1", &task("t1-1", &json!({}))).await;
    assert_eq!(reports.next().await["state"], "active");
    tokio::time::timeout(DEADLINE, begun.notified()).await.expect("the handler begins");
    let cancel = json!({"senderId": "opscore", "messageType": "workflow_cancel", "payload": {"reason": "no need"},
        "opscore_session_id": "ses_1", "opscore_task_id": "t1-1"});
    assert_eq!(post(running.endpoint().unwrap(), "m2", &cancel).await, StatusCode::OK);
    let ended = reports.next().await;
    assert_eq!((&ended["state"], &ended["details"]["opscore_task_id"]), (&json!("error"), &json!("t1-1")));
}

#[tokio::test]
async fn a_repeated_message_is_handled_once() {
    let (server, mut reports) = server(|_| None).await;
    let running = agent(&server).handler(|_| async { Ok::<_, String>(Value::Null) }).start().await.unwrap();
    for _ in 0..3 {
        assert_eq!(post(running.endpoint().unwrap(), "m1", &task("t1", &json!({}))).await, StatusCode::OK);
    }
    post(running.endpoint().unwrap(), "m2", &task("t2", &json!({}))).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let report = reports.next().await;
        seen.push((report["details"]["opscore_task_id"].clone(), report["state"].clone()));
    }
    let expected = [("t1", "active"), ("t1", "completed"), ("t2", "active"), ("t2", "completed")];
    assert_eq!(seen, expected.map(|(task, state)| (json!(task), json!(state))));
}

#[tokio::test]
async fn a_failure_and_a_panic_are_reported_as_errors() {
    let (server, mut reports) = server(|_| None).await;
    let handler = |call: Call| async move {
        assert!(call.payload["panic"] != true, "on purpose");
        failure("no such file")
    };
    let running = agent(&server).handler(handler).start().await.unwrap();
    for (parameters, reason) in [(json!({}), "no such file"), (json!({"panic": true}), "panicked")] {
        post(running.endpoint().unwrap(), reason, &task("t1", &parameters)).await;
        assert_eq!(reports.next().await["state"], "active");
        let report = reports.next().await;
        assert_eq!(report["state"], "error");
        let told = report["details"]["error"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
    }
}

#[tokio::test]
async fn a_result_that_is_refused_becomes_an_error() {
    let refuse = |report: &Value| (report["state"] == "completed").then(|| CannedResponse::new(413));
    let (server, mut reports) = server(refuse).await;
    let running =
        agent(&server).handler(|_| async { Ok::<_, String>(json!("large")) }).start().await.unwrap();
    post(running.endpoint().unwrap(), "m1", &task("t1", &json!({}))).await;
    let states = [reports.next().await, reports.next().await, reports.next().await];
    assert_eq!(
        states.each_ref().map(|report| report["state"].as_str().unwrap()),
        ["active", "completed", "error"]
    );
    assert!(states[2]["details"]["error"].as_str().unwrap().contains("413"));
}

#[tokio::test]
async fn a_message_that_is_no_task_is_handled_and_not_reported() {
    let (server, _reports) = server(|_| None).await;
    let handled = Arc::new(Notify::new());
    let tell = Arc::clone(&handled);
    let handler = move |call: Call| {
        assert_eq!(call.name, "greeting");
        tell.notify_one();
        async { Ok::<_, String>(Value::Null) }
    };
    let running = agent(&server).handler(handler).start().await.unwrap();
    let body = json!({"senderId": "x", "messageType": "greeting", "payload": {}});
    assert_eq!(post(running.endpoint().unwrap(), "m1", &body).await, StatusCode::OK);
    tokio::time::timeout(DEADLINE, handled.notified()).await.unwrap();
    assert!(running.stop(DEADLINE).await);
    assert_eq!(server.requests().len(), 1, "the registration alone");
}

#[tokio::test]
async fn what_waits_is_bounded_and_finished_before_the_stop() {
    let (server, mut reports) = server(|_| None).await;
    let group = Arc::new(Notify::new());
    let wait = Arc::clone(&group);
    let handler = move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            wait.notify_one();
            Ok::<_, String>(Value::Null)
        }
    };
    let running = agent(&server).handler(handler).start().await.unwrap();
    post(running.endpoint().unwrap(), "first", &task("t", &json!({}))).await;
    assert_eq!(reports.next().await["state"], "active");
    for number in 0..inbox::QUEUE_MAX {
        let status = post(running.endpoint().unwrap(), &format!("m{number}"), &task("t", &json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{number}");
    }
    assert_eq!(
        post(running.endpoint().unwrap(), "over", &task("t", &json!({}))).await,
        StatusCode::SERVICE_UNAVAILABLE
    );

    group.notify_one();
    assert!(running.stop(DEADLINE).await);
    let completed = server.requests().iter().filter(|asked| asked.body.contains("completed")).count();
    assert_eq!(completed, inbox::QUEUE_MAX + 1);
}

#[tokio::test]
async fn a_handler_begins_while_it_cannot_be_told_that_the_agent_is_at_it() {
    let (server, mut reports) = server(|report| {
        let busy = CannedResponse::new(503).header("retry-after", "2");
        (report["state"] == "active").then_some(busy)
    })
    .await;
    let (begun, mut begins) = mpsc::unbounded_channel();
    let handler = move |_| {
        begun.send(()).unwrap();
        async { Ok::<_, String>(Value::Null) }
    };
    let running = agent(&server).handler(handler).start().await.unwrap();
    post(running.endpoint().unwrap(), "m1", &task("t1", &json!({}))).await;
    tokio::time::timeout(Duration::from_millis(1_500), begins.recv()).await.expect("it begins at once");
    assert_eq!(reports.next().await["state"], "active");
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let (server, _reports) = server(|_| None).await;
    let running = agent(&server).handler(|_| async { failure("never called") }).start().await.unwrap();
    assert_eq!(post(running.endpoint().unwrap(), "m1", &json!([])).await, StatusCode::BAD_REQUEST);
    let large = json!({"payload": "x".repeat(5 << 20)});
    assert_eq!(post(running.endpoint().unwrap(), "m2", &large).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_name_that_cannot_be_registered_is_an_error_of_the_start() {
    let server = TestServer::start(vec![CannedResponse::new(422).json(&json!({"detail": "no"}))]).await;
    let error = agent(&server).handler(|_| async { failure("never called") }).start().await.unwrap_err();
    assert_eq!(error.status(), Some(422));
}

/// What the server shows of the agent, at an endpoint that is never its own.
fn shown(generation: u64) -> CannedResponse {
    CannedResponse::new(200).json(&json!({"status": "success", "message": "m", "data": {
        "agentId": "agt_1", "agentName": "reader", "version": "2", "capabilities": ["read"], "metadata": {},
        "contactEndpoint": "http://127.0.0.1:1/", "registrationTime": "2026-01-31T12:00:00Z",
        "generation": generation}}))
}

/// A server that registers the third generation, takes all reports, and shows the agent as is asked for.
async fn showing(look: impl Fn() -> CannedResponse + Send + Sync + 'static) -> TestServer {
    TestServer::respond(move |asked| match asked.method.as_str() {
        "GET" => look(),
        _ => CannedResponse::new(201).json(
            &json!({"status": "success", "message": "m", "data": {"agentId": "agt_1", "generation": 3}}),
        ),
    })
    .await
}

#[tokio::test]
async fn an_agent_that_was_replaced_or_removed_ends_and_says_what_to_do() {
    let removed = CannedResponse::new(404).json(&json!({"type": "/problems/unknown-agent", "status": 404}));
    for (answer, expected) in [(shown(4), "a name of its own"), (removed, "start it again")] {
        // Until it has work in hand, all is well.
        let is_at_work = Arc::new(AtomicBool::new(false));
        let is_asked = Arc::clone(&is_at_work);
        let server =
            showing(move || if is_asked.load(Ordering::SeqCst) { answer.clone() } else { shown(3) }).await;
        let (told, mut happenings) = mpsc::unbounded_channel();
        let handler = move |_| {
            is_at_work.store(true, Ordering::SeqCst);
            async {
                std::future::pending::<()>().await;
                failure("never reached")
            }
        };
        let mut running = agent(&server)
            .handler(handler)
            .heartbeat(Duration::from_millis(20))
            .observer(move |happening| drop(told.send(happening)))
            .start()
            .await
            .unwrap();
        post(running.endpoint().unwrap(), "m1", &task("t1", &json!({}))).await;
        tokio::time::timeout(DEADLINE, running.ended()).await.expect("it ends, and so does its work");
        let mut seen = Vec::new();
        while let Ok(happening) = happenings.try_recv() {
            seen.push(happening.to_string());
        }
        assert!(seen.iter().any(|line| line.contains(expected)), "{seen:?}");
        assert!(seen.iter().any(|line| line.contains("cancelled")), "{seen:?}");
    }
}

#[tokio::test]
async fn an_agent_whose_endpoint_an_operator_changes_goes_on() {
    let (looked, mut looks) = mpsc::unbounded_channel();
    // The second is what a node shows that does not know the registration yet.
    let generations = [3, 2, 3];
    let next = AtomicUsize::new(0);
    let server = showing(move || {
        let _ = looked.send(());
        shown(generations[next.fetch_add(1, Ordering::SeqCst) % generations.len()])
    })
    .await;
    let running = agent(&server)
        .handler(|_| async { Ok::<_, String>(Value::Null) })
        .heartbeat(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    for _ in 0..4 {
        // A look shows what came of the one before.
        tokio::time::timeout(DEADLINE, looks.recv()).await.expect("it looks").unwrap();
    }
    assert_eq!(post(running.endpoint().unwrap(), "m1", &task("t1", &json!({}))).await, StatusCode::OK);
}

#[tokio::test]
async fn a_task_without_a_handler_is_told_which_there_are() {
    let (server, mut reports) = server(|_| None).await;
    let done = |_| async { Ok::<_, String>(Value::Null) };
    let running = agent(&server).task("read", done).task("cut", done).start().await.unwrap();
    post(running.endpoint().unwrap(), "m1", &task("t1", &json!({}))).await;
    assert_eq!(reports.next().await["state"], "active");
    let details = &reports.next().await["details"];
    assert_eq!(details["code"], "no-handler");
    let error = details["error"].as_str().unwrap();
    assert!(error.starts_with("no handler for the task 'count'; this agent has: 'cut', 'read'"), "{error}");
    let cure = "add `name: cut` (or another of these) to the task in the workflow, or a handler 'count' or '*' to the agent";
    assert!(error.ends_with(cure), "{error}");
}

#[tokio::test]
async fn a_key_that_is_refused_is_named_with_its_server() {
    let work = |_| async { failure("never called") };
    for (source, expected) in [
        (None, "does not take the key that the program gave"),
        (Some("SIGNALBOX_API_KEY"), "does not take the key of SIGNALBOX_API_KEY"),
    ] {
        let server = TestServer::start(vec![CannedResponse::new(401).json(&json!({"detail": "no"}))]).await;
        let client = Client::new(&server.url(), Some("k")).unwrap();
        let client = source.map_or(client.clone(), |source| client.key_from(source));
        let error = Agent::new(client, "reader").handler(work).start().await.unwrap_err();
        assert_eq!(error.status(), Some(401));
        let told = error.to_string();
        assert!(told.contains(&server.url()) && told.contains(expected), "{told}");
    }
}

#[test]
fn the_name_of_a_failure_is_told_once() {
    let told = |message: &str| Failure::new(message).code("ValueError").to_string();
    assert_eq!(told("ValueError: boom"), "ValueError: boom");
    assert_eq!(told("boom"), "ValueError: boom");
}

/// What `tracing` writes, for a test to read.
#[derive(Clone, Default)]
struct Written(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_an_agent_does_is_traced_without_secrets() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber, what another test's thread tells first counts as unwanted for all threads.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);

    let (sender, reports) = mpsc::unbounded_channel();
    let refused = std::sync::atomic::AtomicBool::new(false);
    let server = TestServer::respond(move |asked| {
        if !refused.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return CannedResponse::new(503);
        }
        if asked.target.starts_with("/v1/agents/register") {
            return CannedResponse::new(201)
                .json(&json!({"status": "success", "message": "m", "data": {"agentId": "agt_1"}}));
        }
        sender.send(asked.json()).unwrap();
        CannedResponse::new(202)
    })
    .await;
    let mut reports = Reports(reports);
    let policy = RetryPolicy { wait_first: Duration::from_millis(1), ..RetryPolicy::default() };
    let client = Client::new(&server.url(), Some("the-secret-key")).unwrap().with_retry(policy);
    let handler = |_| async {
        tracing::info!("half way");
        Err::<Value, _>(Failure::new("no ink").code("ink"))
    };
    let running = Agent::new(client, "writer").task("count", handler).start().await.unwrap();
    post(running.endpoint().unwrap(), "m1", &task("t1-1", &json!({"text": "the secret text"}))).await;
    while reports.next().await["state"] != "error" {}
    assert!(running.stop(DEADLINE).await);

    let text = String::from_utf8(written.0.lock().clone()).unwrap();
    let has = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let agent = r#"agent{agent="writer" agent_id="agt_1"}"#;
    let work = r#"work{kind="task" name="count" task_id="t1-1" session_id="ses_1" attempt=3"#;
    for parts in [
        &["signalbox_client::request", "tried again", "path=\"/v1/agents/register\"", "status=503"][..],
        &["INFO", "registered", agent],
        &["took the task 'count', attempt 3", agent],
        &["half way", agent, work],
        &["WARN", "failed: ink: no ink", "code=\"ink\"", agent, work],
        &["signalbox_client::request", "answered", "/v1/opscore/agent/agt_1/state", agent, work],
    ] {
        assert!(has(parts), "no line with {parts:?}:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}
