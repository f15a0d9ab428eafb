//! Long polls: a connection for places where WebSockets are blocked.
//!
//! The connection outlives each poll: a task tends it, answers polls with what waits, and ends it when none has come for as
//! long as three heartbeats. What is durable comes with each answer until a later poll says that the agent has it (`after`).
//! Sequences begin with the time of the connection, so that an `after` of an earlier one acknowledges nothing of this.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use signalbox_wire::id::{AgentId, ConnectionId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::admission::Admitted;
use super::opened::{self, Opened};
use super::session::{Handled, Session};
use super::shared::Shared;
use crate::clock;
use crate::http::problem::Refusal;
use crate::telemetry::live::ConnectionKind;
use crate::transport::outbox::{CloseReason, Frame, OutboxReader};

/// Polls and signs of life that may wait for the task of one connection.
const REQUESTS_MAX: usize = 16;

/// Seconds after which to try again what cannot be done now.
const RETRY_AFTER_S: u32 = 5;

/// What a poll asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PollRequest {
    /// How long it waits for something.
    pub(crate) wait: Duration,
    /// The last sequence that the agent has.
    pub(crate) after: Option<u64>,
}

/// What a poll is answered with.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The connection.
    pub(crate) connection: ConnectionId,
    /// What the next poll is to say that the agent has.
    pub(crate) sequence: u64,
    /// Envelopes.
    pub(crate) messages: Vec<Bytes>,
}

/// The connections that are held by polls; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Inboxes(Arc<Mutex<HashMap<(TenantId, AgentId), Held>>>);

/// The way to a connection's task.
#[derive(Clone)]
pub(super) struct Held {
    session: Session,
    requests: mpsc::Sender<Request>,
}

enum Request {
    Poll(PollRequest, oneshot::Sender<Result<Inbox, CloseReason>>),
    SignOfLife,
}

/// What a new connection takes.
#[derive(Clone, Copy)]
pub(super) struct Polling<'a> {
    pub(super) shared: &'a Shared,
    pub(super) room: &'a Arc<Semaphore>,
    pub(super) tracker: &'a TaskTracker,
}

impl Inboxes {
    /// The connection that the agent holds by polls, else a new one.
    pub(super) async fn held(&self, made_of: Polling<'_>, admitted: &Admitted) -> Result<Held, Refusal> {
        let key = (admitted.tenant.clone(), admitted.agent.clone());
        let known = self.0.lock().get(&key).filter(|held| !held.requests.is_closed()).cloned();
        if let Some(held) = known {
            return Ok(held);
        }
        let room = Arc::clone(made_of.room).try_acquire_owned();
        let room = room.map_err(|_| problem_of(CloseReason::Unavailable))?;
        let permit = opened::permit(made_of.shared, admitted).await?;
        let (inboxes, shared, admitted) = (self.clone(), made_of.shared.clone(), admitted.clone());
        let (made, held) = oneshot::channel();
        made_of.tracker.spawn(async move {
            let connecting = Opened::connect(&shared, &admitted, ConnectionKind::Poll, permit, None);
            let (opened, reader) = match Box::pin(connecting).await {
                Ok(opened) => opened,
                Err(reason) => return drop(made.send(Err(reason))),
            };
            let base = u64::try_from(clock::now().as_millis()).unwrap_or_default();
            opened.session.outbox().begin_after(base);
            let (requests, received) = mpsc::channel(REQUESTS_MAX);
            let held = Held { session: opened.session.clone(), requests };
            inboxes.0.lock().insert(key.clone(), held.clone());
            let _ = made.send(Ok(held));
            let tended = Tended { reader, received, base, said: base, waiting: None };
            tend(inboxes, key, tended, opened, room).await;
        });
        let held = held.await.unwrap_or(Err(CloseReason::Unavailable));
        Ok(held.map_err(problem_of)?)
    }
}

impl Held {
    /// Answers a poll.
    pub(super) async fn poll(&self, request: PollRequest) -> Result<Inbox, CloseReason> {
        let (reply, answered) = oneshot::channel();
        let sent = self.requests.send(Request::Poll(request, reply)).await;
        // Its task has ended, or ends: the next poll begins a new one.
        sent.map_err(|_| CloseReason::Unavailable)?;
        answered.await.unwrap_or(Err(CloseReason::Unavailable))
    }

    /// Takes in what an agent POSTs, and answers each message as its WebSocket would.
    pub(super) async fn take_in(&self, messages: &[&str]) -> Vec<Frame> {
        let _ = self.requests.send(Request::SignOfLife).await;
        let mut answers = Vec::new();
        for message in messages {
            let answer = match self.session.handle(message) {
                Handled::Now(answer) => answer,
                Handled::Later(answering) => answering.await,
            };
            answers.extend(answer);
        }
        answers
    }
}

/// A connection that is held by polls.
struct Tended {
    reader: OutboxReader,
    received: mpsc::Receiver<Request>,
    /// Where sequences began.
    base: u64,
    /// The last sequence that an answer told.
    said: u64,
    /// The poll that waits.
    waiting: Option<Waiting>,
}

/// A poll that waits.
struct Waiting {
    reply: oneshot::Sender<Result<Inbox, CloseReason>>,
    until: Instant,
}

async fn tend(
    inboxes: Inboxes,
    key: (TenantId, AgentId),
    mut tended: Tended,
    opened: Opened,
    room: OwnedSemaphorePermit,
) {
    let bound = opened.session.shared().settings.heartbeat_interval * 3;
    let connection = opened.session.names().2.clone();
    let reason = tended.run(&opened.session, bound).await;
    {
        let mut inboxes = inboxes.0.lock();
        if inboxes.get(&key).is_some_and(|held| *held.session.names().2 == connection) {
            inboxes.remove(&key);
        }
    }
    // Polls that came too late find it closed, and begin anew.
    let Tended { reader, received, .. } = tended;
    drop(received);
    opened.end(reader, reason).await;
    drop(room);
}

impl Tended {
    async fn run(&mut self, session: &Session, bound: Duration) -> CloseReason {
        let mut alive_at = Instant::now();
        loop {
            let wake_at = self.waiting.as_ref().map_or(alive_at + bound, |waiting| waiting.until);
            let Self { reader, received, waiting, .. } = self;
            let is_polling = waiting.is_some();
            tokio::select! {
                biased;
                request = received.recv() => match request {
                    Some(request) => self.take(request, session),
                    None => return CloseReason::Gone,
                },
                () = hung_up(waiting.as_mut()) => self.waiting = None,
                found = poll_fn(|cx| match is_polling {
                    true => reader.poll_all(cx),
                    false => reader.poll_end(cx).map(Err),
                }) => match found {
                    Ok((messages, sequence)) => self.answer(session, messages, sequence.max(self.base)),
                    Err(reason) => {
                        if let Some(waiting) = self.waiting.take() {
                            let _ = waiting.reply.send(Err(reason));
                        }
                        return reason;
                    }
                },
                () = sleep_until(wake_at) => {
                    if self.waiting.is_none() {
                        return CloseReason::Silent;
                    }
                    self.answer(session, Vec::new(), self.said);
                }
            }
            alive_at = Instant::now();
        }
    }

    fn take(&mut self, request: Request, session: &Session) {
        session.seen();
        let Request::Poll(request, reply) = request else { return };
        if let Some(earlier) = self.waiting.take() {
            let _ = earlier.reply.send(Err(CloseReason::TakenOver));
        }
        // An earlier connection's sequence says nothing of this one.
        if let Some(after) = request.after.filter(|after| *after >= self.base) {
            session.outbox().had_up_to(after);
        }
        self.waiting = Some(Waiting { reply, until: Instant::now() + request.wait });
    }

    fn answer(&mut self, session: &Session, messages: Vec<Bytes>, sequence: u64) {
        let Some(waiting) = self.waiting.take() else { return };
        self.said = sequence;
        session.shared().figures.sent(messages.len() as u64);
        let connection = session.names().2.clone();
        let _ = waiting.reply.send(Ok(Inbox { connection, sequence, messages }));
    }
}

/// Why a connection ended, or did not come about, as an answer over HTTP.
pub(super) fn problem_of(reason: CloseReason) -> Problem {
    let text = reason.text();
    match reason {
        CloseReason::TakenOver | CloseReason::Replaced => {
            Problem::new(ProblemKind::ConnectionTakenOver, text)
        }
        CloseReason::Unauthorized => Problem::unauthorized(text),
        CloseReason::Forbidden => Problem::forbidden(text),
        CloseReason::Removed => Problem::new(ProblemKind::UnknownAgent, text),
        _ => Problem::new(ProblemKind::ConnectionsFull, text).retry_after(RETRY_AFTER_S),
    }
}

/// Resolves when whoever polls has gone.
async fn hung_up(waiting: Option<&mut Waiting>) {
    match waiting {
        Some(waiting) => waiting.reply.closed().await,
        None => poll_fn(|_| Poll::Pending).await,
    }
}
