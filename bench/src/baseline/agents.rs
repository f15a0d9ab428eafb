//! Agents that are done at once. Those that call back take a task's POST with 202 and report it `completed` over a
//! connection that stays open; once the report that ends a session was acknowledged, its number goes to whoever follows
//! the ends. Those that answer give the report as the answer to the POST, and tell of the end when they give it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::load::Connection;
use crate::server::KEY;
use crate::{clock, printer};

/// Ends that may wait to be told.
const ENDS_MAX: usize = 10_000;

/// Arguments of `bench baseline agents`.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The server whose agents these are; given several times, its nodes, to which connections are dealt out in turn.
    #[arg(long)]
    report_to: Vec<SocketAddr>,
    /// Who is told of the ends of sessions.
    #[arg(long)]
    tell: Option<SocketAddr>,
    /// Answer each task's POST with its report, and report nothing by themselves.
    #[arg(long)]
    answer: bool,
}

/// What a task's message has of use here.
#[derive(Deserialize)]
struct Task {
    opscore_task_id: String,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    /// The session's number.
    n: String,
    /// Whether the session ends with this task.
    last: bool,
}

struct Agents {
    nodes: Vec<SocketAddr>,
    /// Connections that were opened.
    opened: AtomicUsize,
    /// Whether the answer to a task is its report.
    is_answering: bool,
    /// Connections to the server that nobody uses; as many as there ever were reports at once.
    idle: Mutex<Vec<Connection>>,
    ends: mpsc::Sender<String>,
}

/// `POST /agents/{agent}` is a task for that agent.
pub(crate) async fn routes(options: &Options) -> anyhow::Result<Router> {
    let nodes = options.report_to.clone();
    anyhow::ensure!(!nodes.is_empty(), "--report-to is the address of the server");
    let tell = options.tell.context("--tell is the address of who follows the ends")?;
    let stream = TcpStream::connect(tell).await.with_context(|| format!("nobody listens at {tell}"))?;
    stream.set_nodelay(true)?;
    let (ends, told) = mpsc::channel(ENDS_MAX);
    tokio::spawn(tell_all(stream, told));
    let (opened, idle) = (AtomicUsize::new(0), Mutex::default());
    let agents = Arc::new(Agents { nodes, opened, is_answering: options.answer, idle, ends });
    Ok(Router::new().route("/agents/{agent}", post(take)).with_state(agents))
}

async fn take(
    State(agents): State<Arc<Agents>>,
    Path(agent): Path<String>,
    Json(task): Json<Task>,
) -> Response {
    if agents.is_answering {
        return agents.answer(&task).await;
    }
    tokio::spawn(async move {
        if let Err(error) = agents.report(&agent, &task).await {
            printer::error(&format!("{agent} could not report {}: {error:#}", task.opscore_task_id));
        }
    });
    StatusCode::ACCEPTED.into_response()
}

impl Agents {
    async fn answer(&self, task: &Task) -> Response {
        if task.payload.last {
            // Nobody follows the ends any more where this fails.
            let _ = self.ends.send(format!("{}\n", task.payload.n)).await;
        }
        let report = serde_json::json!({"state": "completed", "details": {"result": {"n": task.payload.n}}});
        Json(report).into_response()
    }

    async fn report(&self, agent: &str, task: &Task) -> anyhow::Result<()> {
        let request = report(agent, task);
        let idle = self.idle.lock().pop();
        let mut answered = None;
        if let Some(mut connection) = idle
            && let Ok(head) = connection.exchange(request.as_bytes()).await
        {
            answered = Some((connection, head));
        }
        // The server closes connections that nobody used for a while, and a report that comes again is heard once.
        let (connection, head) = match answered {
            Some(answered) => answered,
            None => {
                let node = self.opened.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
                let mut connection = Connection::open(self.nodes[node]).await?;
                let head = connection.exchange(request.as_bytes()).await.map_err(anyhow::Error::msg)?;
                (connection, head)
            }
        };
        anyhow::ensure!(head.is_success(), "status {}", head.status);
        self.idle.lock().push(connection);
        if task.payload.last {
            self.ends.send(format!("{}\n", task.payload.n)).await?;
        }
        Ok(())
    }
}

fn report(agent: &str, task: &Task) -> String {
    let unix_us = clock::unix_micros();
    let body = format!(
        concat!(
            r#"{{"agentId":"{}","timestamp":"{}.{:06}Z","state":"completed","#,
            r#""details":{{"opscore_task_id":"{}","result":{{"n":"{}"}}}}}}"#
        ),
        agent,
        clock::rfc3339_second(unix_us / 1_000_000),
        unix_us % 1_000_000,
        task.opscore_task_id,
        task.payload.n
    );
    format!(
        "POST /v1/opscore/agent/{agent}/state HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn tell_all(mut stream: TcpStream, mut ends: mpsc::Receiver<String>) {
    let mut batch = Vec::new();
    while ends.recv_many(&mut batch, ENDS_MAX).await > 0 {
        if stream.write_all(batch.concat().as_bytes()).await.is_err() {
            return;
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_task_and_its_length() {
        let payload = Payload { n: "00000007".to_owned(), last: true };
        let request = report("agt_1", &Task { opscore_task_id: "tsk_1-1".to_owned(), payload });
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{request}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["agentId"], &body["details"]["opscore_task_id"]),
            (&"agt_1".into(), &"tsk_1-1".into())
        );
    }
}
