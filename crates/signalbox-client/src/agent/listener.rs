//! The HTTP side of an agent: takes POSTs on any path, puts them into the inbox, and answers at once. The
//! invariant: connections, head and body are bounded in number, size and time, so that nobody who can reach
//! the port can hold the agent up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use signalbox_wire::opscore::ACCEPTS_REPORT;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};

use super::call::Kind;
use super::inbox::{Arrival, Inbox, Receipt};

/// The largest message, in bytes: what the server accepts, and room for what it adds.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Connections open at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long a head, and then a body, may take to arrive; also how long a connection may idle.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a delivery is left open for a handler that ends soon: its answer is the report then.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long to leave accepting alone when the operating system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until told to stop.
pub(super) async fn serve(listener: TcpListener, inbox: Arc<Inbox>, mut stopping: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (inbox, stopping) = (Arc::clone(&inbox), stopping.clone());
        tokio::spawn(async move {
            connection(stream, &inbox, stopping).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, inbox: &Arc<Inbox>, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request, inbox).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARRIVAL_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A connection that breaks concerns only its peer, who will try again.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(ARRIVAL_TIMEOUT, connection).await;
}

async fn answer(request: Request<Incoming>, inbox: &Arc<Inbox>) -> Response<Full<Bytes>> {
    match *request.method() {
        Method::POST => {}
        Method::GET | Method::HEAD => return respond(StatusCode::OK, r#"{"status":"ok"}"#),
        _ => return problem(StatusCode::METHOD_NOT_ALLOWED, "POST the message."),
    }
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MESSAGE_BYTES_MAX).collect();
    let body = match tokio::time::timeout(ARRIVAL_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "The message is larger than 4 MiB.");
        }
        Ok(Err(_)) => return problem(StatusCode::BAD_REQUEST, "The message broke off."),
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "The message took too long to arrive."),
    };
    match Arrival::read(&body) {
        Ok(incoming) => take(with_headers(incoming, &head.headers), inbox).await,
        Err(error) => problem(StatusCode::BAD_REQUEST, &format!("The message is not to be read: {error}.")),
    }
}

fn with_headers(mut incoming: Arrival, headers: &HeaderMap) -> Arrival {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    incoming.accepts_report = text(ACCEPTS_REPORT).as_deref() == Some("true");
    let call = &mut incoming.call;
    call.attempt = text("x-attempt").and_then(|value| value.parse().ok()).unwrap_or(1);
    (call.id, call.traceparent) = (text("x-message-id"), text("traceparent"));
    incoming
}

/// Takes a message, and answers with the report of it where that comes soon enough and is asked for.
async fn take(incoming: Arrival, inbox: &Arc<Inbox>) -> Response<Full<Bytes>> {
    let is_task = incoming.call.kind == Kind::Task && incoming.call.task_id.is_some();
    let message_id = incoming.call.id.clone().filter(|_| incoming.accepts_report && is_task);
    let Some(message_id) = message_id else { return receipt(inbox.put(incoming, None)) };
    let (answer, answered) = oneshot::channel();
    let taken = inbox.put(incoming, Some(answer));
    if taken != Receipt::Taken {
        return receipt(taken);
    }
    // In a task of its own: where the connection breaks, the next try of the delivery gets the report.
    let waiting = tokio::spawn(wait_for_report(answered, message_id, Arc::clone(inbox)));
    match waiting.await {
        Ok(Some(report)) => respond_with(StatusCode::OK, report),
        _ => receipt(Receipt::Taken),
    }
}

async fn wait_for_report(
    mut answered: oneshot::Receiver<Bytes>,
    message_id: String,
    inbox: Arc<Inbox>,
) -> Option<Bytes> {
    let report = match tokio::time::timeout(ANSWER_WITHIN, &mut answered).await {
        Ok(report) => report.ok(),
        Err(_) => {
            // From here on the worker reports by itself; what it said just before counts.
            answered.close();
            answered.try_recv().ok()
        }
    };
    if let Some(report) = &report {
        inbox.answered(message_id, report.clone());
    }
    report
}

fn receipt(receipt: Receipt) -> Response<Full<Bytes>> {
    match receipt {
        Receipt::Taken => respond(StatusCode::OK, r#"{"status":"accepted"}"#),
        Receipt::Repeated(Some(report)) => respond_with(StatusCode::OK, report),
        Receipt::Repeated(None) => respond(StatusCode::OK, r#"{"status":"accepted","repeated":true}"#),
        Receipt::Full => {
            let mut response =
                problem(StatusCode::SERVICE_UNAVAILABLE, "The agent's queue is full; try later.");
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
            response
        }
    }
}

fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({"title": title, "status": status.as_u16(), "detail": detail});
    let mut response = respond(status, &body.to_string());
    let kind = http::HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert("content-type", kind);
    response
}

fn respond(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    respond_with(status, Bytes::from(body.to_owned()))
}

fn respond_with(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert("content-type", kind);
    response
}
