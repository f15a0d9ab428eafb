//! What the agent's side hands to its connection: [`Link`] is held by whoever tells or asks something, [`Out`] is what it
//! gives. The invariant: what waits is bounded, and whoever asks is answered or told that it is not, within its time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::envelope::{failure_data, response, write};
use crate::agent::about::About;
use crate::agent::call::Kind;
use crate::agent::context::Progress;
use crate::agent::failure::Failure;
use crate::agent::handlers::Outcome;
use crate::agent::happening::{Happening, Observer};
use crate::agent::subscription::Subscription;
use crate::edge;
use crate::error::{Error, Problem};

/// What may wait for the connection to take it.
pub(in crate::agent) const OUT_MAX: usize = 256;
/// The largest `response` that goes over the connection, in bytes; the server takes messages of 1 MiB unless it is told
/// otherwise.
const RESPONSE_BYTES_MAX: usize = 768 << 10;
/// The largest `publish` or `request`, in bytes.
const ASKED_BYTES_MAX: usize = 512 << 10;
/// How long what is published waits for its acknowledgement, over reconnections.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(60);
/// How much longer than the other agent the server may take with a request.
const REQUEST_SLACK: Duration = Duration::from_secs(5);
/// The longest that a request may wait for its reply.
const REQUEST_WITHIN_MAX: Duration = Duration::from_secs(300);

/// The agent's end of its connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Link {
    out: mpsc::Sender<Out>,
    observer: Observer,
}

/// Something for the connection.
#[derive(Debug)]
pub(in crate::agent) enum Out {
    /// Sent once; when there is no connection, it is dropped.
    Once(String),
    /// Sent on each connection until it is acknowledged.
    Settle(Settling),
    /// What came of this task was told in another way.
    Settled(String),
    /// Sent, and whoever asks waits for what comes back.
    Ask(Asked),
    /// From now on, on this connection and each one after it.
    Subscribe(Subscription),
    /// The end of that.
    Unsubscribe(String),
}

/// What came of a task or command, on its way.
#[derive(Debug)]
pub(in crate::agent) struct Settling {
    pub(super) id: String,
    pub(super) text: String,
    /// The task or command.
    pub(super) answers: String,
    pub(super) is_success: bool,
}

/// A question to the server, or to another agent.
#[derive(Debug)]
pub(in crate::agent) struct Asked {
    pub(super) id: String,
    pub(super) text: String,
    /// Whether it is sent again over the next connection: the same id and payload are the same message.
    pub(super) is_repeatable: bool,
    /// Whether `ack` is the answer; else it is a `reply`.
    pub(super) is_acked: bool,
    pub(super) answer: oneshot::Sender<Result<Value, Error>>,
}

impl Settling {
    fn of(work_id: &str, outcome: &Outcome) -> Self {
        let id = edge::unique_key();
        let text = write("response", &id, response(work_id, outcome), edge::now());
        Self { id, text, answers: work_id.to_owned(), is_success: outcome.is_ok() }
    }

    /// What takes the place of a result that was refused.
    pub(super) fn refused(work_id: &str, reason: &str) -> Self {
        let failure = Failure::new(format!("the result was refused: {reason}"));
        Self::of(work_id, &Err(failure.code("result-refused")))
    }
}

impl Link {
    pub(in crate::agent) fn new(observer: Observer) -> (Self, mpsc::Receiver<Out>) {
        let (out, taken) = mpsc::channel(OUT_MAX);
        (Self { out, observer }, taken)
    }

    /// Tells that work is being done, and how far it is. What does not get through is no loss.
    pub(in crate::agent) fn active(&self, about: &About, progress: Option<&Progress>) {
        let Some(id) = work_id(about) else { return };
        let mut data = json!({ "status": "busy", "current_task": id });
        if let Some(Progress { percent, note }) = progress {
            data["progress"] = Value::from(*percent);
            if let Some(note) = note {
                data["note"] = Value::from(note.as_str());
            }
        }
        drop(self.out.try_send(Out::Once(write("status", &edge::unique_key(), data, edge::now()))));
    }

    /// Hands over what came of work; `false` where it is too large for the connection.
    pub(in crate::agent) async fn settle(&self, outcome: &Outcome, about: &About) -> bool {
        let (out, bytes) = match (work_id(about), &about.reply_to) {
            (Some(id), _) => {
                let settling = Settling::of(id, outcome);
                let bytes = settling.text.len();
                (Out::Settle(settling), bytes)
            }
            (None, Some(reply_to)) => {
                let payload = match outcome {
                    Ok(result) => result.clone(),
                    Err(failure) => json!({ "error": failure_data(failure) }),
                };
                let data = json!({ "reply_to": reply_to, "payload": payload });
                let text = write("reply", &edge::unique_key(), data, edge::now());
                let bytes = text.len();
                // A reply is live: the one who asked has gone with the connection.
                (Out::Once(text), bytes)
            }
            (None, None) => return true,
        };
        if bytes > RESPONSE_BYTES_MAX {
            return false;
        }
        let state = if matches!(out, Out::Settle(_)) { "response" } else { "reply" };
        if self.out.send(out).await.is_err() {
            let reason = "the agent's connection has ended for good".to_owned();
            self.observer.tell(Happening::Unreported { state: state.to_owned(), reason });
        }
        true
    }

    /// What came of a task was told in another way.
    pub(in crate::agent) async fn settled(&self, task_id: &str) {
        // Where the connection has ended, nobody counts any more.
        drop(self.out.send(Out::Settled(task_id.to_owned())).await);
    }

    /// Publishes, and waits until the server has it; answers its place in its channel.
    pub(in crate::agent) async fn publish(
        &self,
        subject: &str,
        payload: Value,
        message_id: Option<&str>,
    ) -> Result<Option<u64>, Error> {
        let id = message_id.map_or_else(edge::unique_key, str::to_owned);
        let data = json!({ "subject": subject, "payload": payload });
        let text = write("publish", &id, data, edge::now());
        fits(&text, || format!("publishing to '{subject}'"))?;
        let place = self.ask((id, text), (true, true), PUBLISHED_WITHIN).await?;
        Ok(place.as_u64())
    }

    /// Asks an agent or the subscribers of a subject, and waits for the first reply.
    pub(in crate::agent) async fn request(
        &self,
        (field, to): (&str, &str),
        payload: Value,
        within: Duration,
    ) -> Result<Value, Error> {
        let within = within.min(REQUEST_WITHIN_MAX);
        let id = edge::unique_key();
        let data = json!({ field: to, "payload": payload, "timeout": within.as_secs_f64() });
        let text = write("request", &id, data, edge::now());
        fits(&text, || format!("asking '{to}'"))?;
        self.ask((id, text), (false, false), within.saturating_add(REQUEST_SLACK)).await
    }

    pub(in crate::agent) async fn subscribe(&self, subscription: Subscription) -> Result<(), Error> {
        self.out.send(Out::Subscribe(subscription)).await.map_err(|_| over())
    }

    pub(in crate::agent) async fn unsubscribe(&self, subject: String) -> Result<(), Error> {
        self.out.send(Out::Unsubscribe(subject)).await.map_err(|_| over())
    }

    async fn ask(
        &self,
        (id, text): (String, String),
        (is_repeatable, is_acked): (bool, bool),
        within: Duration,
    ) -> Result<Value, Error> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            let asked = Asked { id, text, is_repeatable, is_acked, answer };
            self.out.send(Out::Ask(asked)).await.map_err(|_| over())?;
            answered.await.unwrap_or_else(|_| Err(over()))
        };
        let late = |_| Err(Error::Timeout { url: "the agent's connection".to_owned(), after: within });
        timeout(within, asking).await.unwrap_or_else(late)
    }
}

fn work_id(about: &About) -> Option<&str> {
    match about.kind {
        Kind::Task => about.task_id.as_deref(),
        Kind::Command => about.id.as_deref(),
        Kind::Message | Kind::Publication | Kind::Request => None,
    }
}

/// Whether a message is not too large for a connection.
fn fits(text: &str, what: impl FnOnce() -> String) -> Result<(), Error> {
    if text.len() <= ASKED_BYTES_MAX {
        return Ok(());
    }
    let reason = format!(
        "the message has {} bytes and a connection takes {ASKED_BYTES_MAX}; give a reference to the data",
        text.len()
    );
    Err(Error::unusable(what(), reason))
}

/// The connection is over, and no other will be made.
pub(super) fn over() -> Error {
    Error::Unreachable {
        url: "the agent's connection".to_owned(),
        reason: "it has ended for good".to_owned(),
        unsent: true,
    }
}

/// The connection broke before an answer came, to what must not be asked twice.
pub(super) fn broken() -> Error {
    Error::Unreachable {
        url: "the agent's connection".to_owned(),
        reason: "it broke before the answer came".to_owned(),
        unsent: false,
    }
}

/// The error that the data of an `error` tells.
pub(super) fn problem(data: &Value) -> Error {
    let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind: signalbox_wire::problem_kind::ProblemType =
        serde_json::from_value(Value::from(format!("/problems/{}", text("code")))).unwrap_or_default();
    let known = kind.known();
    Error::Problem(Box::new(Problem {
        status: known.map_or(400, |kind| kind.status()),
        title: known.map_or_else(|| text("code").to_owned(), |kind| kind.title()),
        kind,
        detail: text("message").to_owned(),
        retry_after: data.get("retry_after").and_then(Value::as_u64).map(Duration::from_secs),
        ..Problem::default()
    }))
}
