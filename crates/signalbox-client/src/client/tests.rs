//! The client against a tiny server: what is sent, what is repeated, and how failures are told.

use serde_json::{Value, json};
use signalbox_wire::agentkit::{DeliveryStatus, MessageBody, RegisterBody};
use signalbox_wire::opscore::{ApprovalView, SessionStatus, WorkflowBody};

use super::*;
use crate::state_report::StateReport;
use crate::test_server::{Asked, CannedResponse, TestServer};

fn client(server: &TestServer) -> Client {
    let policy = RetryPolicy { wait_first: Duration::from_millis(1), ..RetryPolicy::default() };
    Client::new(&server.url(), Some("sbk_secret")).unwrap().with_retry(policy)
}

fn registered() -> CannedResponse {
    CannedResponse::new(201).json(&json!({"status": "success", "message": "m", "data": {"agentId": "agt_1"}}))
}

fn session(status: &str) -> Value {
    json!({"sessionId": "s", "workflowId": "w", "status": status, "createdAt": "2026-01-31T12:00:00Z",
        "updatedAt": "2026-01-31T12:00:00Z", "endedAt": null, "input": {}, "invented": {"later": true}})
}

fn keys(requests: &[Asked]) -> Vec<&str> {
    requests.iter().map(|request| request.header("idempotency-key")).collect()
}

#[tokio::test]
async fn a_post_is_repeated_under_one_key_and_another_call_has_another() {
    let busy = CannedResponse::new(503).header("retry-after", "0");
    let server = TestServer::start(vec![busy, CannedResponse::hang_up(), registered(), registered()]).await;
    let agent: RegisterBody =
        serde_json::from_value(json!({"agentName": "a", "version": "1", "capabilities": []})).unwrap();
    let client = client(&server);
    assert_eq!(client.register_agent(&agent, true).await.unwrap(), "agt_1");
    client.register_agent(&agent, false).await.unwrap();

    let requests = server.requests();
    let keys = keys(&requests);
    assert_eq!((keys[0], keys[0]), (keys[1], keys[2]));
    assert_ne!(keys[0], keys[3]);
    assert_eq!(keys[0].len(), 32);
    assert_eq!(requests[0].target, "/v1/agents/register?replace=true");
    assert_eq!(requests[3].target, "/v1/agents/register");
    assert_eq!(requests[0].header("authorization"), "Bearer sbk_secret");
    assert_eq!(requests[0].header("content-type"), "application/json");
}

#[tokio::test]
async fn what_a_repeat_may_harm_is_sent_once() {
    let server =
        TestServer::start(vec![CannedResponse::new(503), CannedResponse::new(503), CannedResponse::new(503)])
            .await;
    let client = client(&server);
    client.deregister_agent("agt_1").await.unwrap_err();
    client.invoke_tool("agt_1", &json!({})).await.unwrap_err();
    client.ready().await.unwrap_err();
    let methods: Vec<_> = server.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["DELETE", "POST", "GET"]);
}

#[tokio::test]
async fn a_rejection_carries_all_its_faults_and_is_not_repeated() {
    let body = json!({"title": "Unprocessable", "status": 422, "detail": "Mend it.",
        "errors": [{"pointer": "/a", "message": "is missing"}]});
    let server = TestServer::start(vec![CannedResponse::new(422).json(&body)]).await;
    let error = client(&server).apply_workflow(&json!({})).await.unwrap_err();
    let Error::Problem(problem) = error else { panic!("{error}") };
    assert_eq!((problem.status, problem.errors.len()), (422, 1));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn repeats_end_and_the_last_error_is_told() {
    let server = TestServer::start((0..9).map(|_| CannedResponse::new(503)).collect()).await;
    let error = client(&server).session("ses_1").await.unwrap_err();
    assert_eq!(error.status(), Some(503));
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{free}"), None).unwrap().with_retry(RetryPolicy::never());
    let error = client.health().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { unsent: true, .. }), "{error}");
    assert!(error.to_string().contains("check the address"), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::new(&base, None).unwrap().with_timeout(Duration::from_millis(50));
    let error = client.with_retry(RetryPolicy::never()).session("s").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_report_is_sent_as_the_surface_has_it() {
    let server = TestServer::start(vec![CannedResponse::new(202).json(&json!({}))]).await;
    let mut report = StateReport::new("completed").detail("opscore_task_id", "t");
    report.timestamp = Some(signalbox_wire::time::Timestamp::from_seconds(1_704_110_400));
    client(&server).report_state("agt_1", &report).await.unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.target, "/v1/opscore/agent/agt_1/state");
    let expected = json!({"agentId": "agt_1", "timestamp": "2024-01-01T12:00:00.000000Z",
        "state": "completed", "details": {"opscore_task_id": "t"}});
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn pages_and_filters_reach_the_query() {
    let page = json!({"data": [session("running"), session("hibernating")], "next_cursor": "n"});
    let answer = || CannedResponse::new(200).json(&page);
    let server = TestServer::start(vec![answer(), answer()]).await;
    let query = ListQuery::new().limit(5).cursor("a b").filter("status", "running");
    let read = client(&server).sessions(&query).await.unwrap();
    assert_eq!((read.data[0].session_id.as_str(), read.next_cursor.as_deref()), ("s", Some("n")));
    let statuses = [read.data[0].status, read.data[1].status];
    assert_eq!(statuses, [SessionStatus::Running, SessionStatus::Unknown], "a later server's status is read");
    let all: Value = client(&server).read(&["v1", "opscore", "sessions"], &query).await.unwrap();
    assert_eq!(all, page, "all that the server said");
    let target = "/v1/opscore/sessions?limit=5&cursor=a+b&status=running";
    assert!(server.requests().iter().all(|asked| asked.target == target));
}

#[test]
fn paths_keep_the_prefix_and_encode_ids() {
    let client = Client::new("https://example.org/below/", None).unwrap();
    assert_eq!(client.base(), "https://example.org/below");
    let url = client.url(&["v1", "agents", "a/b c?"]).unwrap();
    assert_eq!(url.as_str(), "https://example.org/below/v1/agents/a%2Fb%20c%3F");
    for id in ["", ".", ".."] {
        assert!(client.url(&["v1", "agents", id]).is_err(), "'{id}'");
    }
}

#[test]
fn addresses_that_cannot_work_are_refused_with_the_reason() {
    for base in ["", "localhost:8000", "ftp://x", "http://u:p@x", "http://x?q", "http://"] {
        let error = Client::new(base, None).unwrap_err();
        assert!(error.to_string().contains("server address"), "{base}: {error}");
    }
    assert!(Client::new("http://x", Some("a\nb")).is_err());
}

#[test]
fn a_printed_client_does_not_show_its_key() {
    let client = Client::new("http://x", Some("sbk_secret")).unwrap();
    assert!(!format!("{client:?}").contains("sbk_secret"));
}

#[tokio::test]
async fn what_is_done_to_a_session_reaches_its_path() {
    let started = json!({"sessionId": "ses_2", "workflowId": "w", "message": "m"});
    let server = TestServer::respond(move |asked| {
        let shows = asked.method == "GET" && asked.target.contains("/sessions/");
        CannedResponse::new(200).json(&if shows { session("completed") } else { started.clone() })
    })
    .await;
    let client = client(&server);
    let seen = ApprovalView { who: None, what: None, parameters: Value::Null, digest: "d".into() };
    client.approve_task("ses_1", "ask", &seen, Some("as seen")).await.unwrap();
    client.refuse_task("ses_1", "ask", None).await.unwrap();
    client.signal_session("ses_1", "go", &json!({"n": 1})).await.unwrap();
    assert_eq!(client.rerun_session("ses_1").await.unwrap().session_id.as_str(), "ses_2");
    assert_eq!(client.start_workflow("w", &json!({"n": 1})).await.unwrap().session_id.as_str(), "ses_2");
    client.start_workflow("w", &Value::Null).await.unwrap();
    client.trigger("agt_1", "w", &json!({"n": 1})).await.unwrap();
    let inline = WorkflowBody { id: "w".into(), name: "W".into(), ..WorkflowBody::default() };
    client.trigger_inline("agt_1", inline, &Value::Null).await.unwrap();
    let error = client.start_workflow("w", &json!([1])).await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "an input that is no object: {error}");
    client.whole_session("ses_1").await.unwrap();
    client.payload("9f86").await.unwrap();
    let requests = server.requests();
    let sent: Vec<_> = requests.iter().map(|asked| (asked.target.as_str(), asked.body.as_str())).collect();
    assert_eq!(
        sent,
        [
            ("/v1/opscore/sessions/ses_1/tasks/ask/approve", r#"{"digest":"d","comment":"as seen"}"#),
            ("/v1/opscore/sessions/ses_1/tasks/ask/refuse", "{}"),
            ("/v1/opscore/sessions/ses_1/signal", r#"{"signal":"go","payload":{"n":1}}"#),
            ("/v1/opscore/sessions/ses_1/rerun", "{}"),
            ("/v1/opscore/workflows/w/trigger", r#"{"initialPayload":{"n":1}}"#),
            ("/v1/opscore/workflows/w/trigger", "{}"),
            ("/v1/opscore/agent/agt_1/workflow", r#"{"workflowDefinitionId":"w","initialPayload":{"n":1}}"#),
            (
                "/v1/opscore/agent/agt_1/workflow",
                r#"{"workflowDefinition":{"id":"w","name":"W","tasks":[]}}"#
            ),
            ("/v1/opscore/sessions/ses_1?whole=true", ""),
            ("/v1/opscore/payloads/9f86", ""),
        ]
    );
}

#[tokio::test]
async fn messages_and_dead_letters_are_read_as_the_surface_has_them() {
    let accepted = json!({"agentId": "a", "dispatch_status": "queued", "messageId": "msg_1"});
    let message = json!({"messageId": "msg_1", "kind": "message", "agentId": "a", "status": "postponed", "attempts": 2,
        "nextAttemptAt": null, "lastError": "e", "createdAt": "2026-01-31T12:00:00Z", "deliveredAt": null});
    let letter = json!({"messageId": "msg_2", "kind": "webhook", "agentId": null, "status": "dead", "attempts": 9,
        "lastError": "e", "lastStatus": 500, "createdAt": "2026-01-31T12:00:00Z",
        "deadAt": "2026-01-31T13:00:00Z", "body": {"a": 1.0}, "invented": 1});
    let success = |data: &Value| {
        CannedResponse::new(200).json(&json!({"status": "success", "message": "m", "data": data}))
    };
    let answers = vec![success(&accepted), success(&message), success(&json!([letter]))];
    let server = TestServer::start(answers).await;
    let client = client(&server);
    let greeting =
        MessageBody { sender_id: "b".into(), message_type: "greeting".into(), ..MessageBody::default() };
    assert_eq!(client.send_message("a", &greeting).await.unwrap(), "msg_1");
    assert_eq!(server.requests()[0].body, r#"{"senderId":"b","messageType":"greeting","payload":{}}"#);
    let read = client.message("msg_1").await.unwrap();
    assert_eq!((read.status, read.attempts), (DeliveryStatus::Unknown, 2));
    let page = client.dead_letters(&ListQuery::new()).await.unwrap();
    assert_eq!((page.data[0].last_status, page.data[0].body.get()), (Some(500), r#"{"a":1.0}"#));
}
