//! Long polls: a connection for places where WebSockets are blocked.
//!
//! The connection outlives each poll: a task tends it, answers polls with what waits, and ends it when none has come for as
//! long as three heartbeats. What is durable comes with each answer until a later poll says that the agent has it (`after`).
//! Sequences begin with the time of the connection, so that an `after` of an earlier one acknowledges nothing of this: what
//! is missing between the two is told by a `gap`. Live frames come again as durable ones do, within the bounds of what may
//! wait: each answer that carries some has a sequence of its own.

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::admission::Admitted;
use super::answers;
use super::opened::{self, Opened};
use super::session::{Handled, Session};
use super::shared::Shared;
use crate::http::problem::Refusal;
use crate::telemetry::live::ConnectionKind;
use crate::transport::outbox::{CloseReason, Frame, OutboxReader};

/// Polls and signs of life that may wait for the task of one connection.
const REQUESTS_MAX: usize = 16;

/// Seconds after which to try to connect again.
pub(super) const RETRY_AFTER_S: u32 = 5;

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
pub(super) struct Inboxes(Arc<Mutex<HashMap<(TenantId, AgentId), Slot>>>);

/// The place of an agent's connection: whoever polls while it is made waits for the same one.
type Slot = watch::Receiver<Option<Made>>;

/// A connection, or why it did not come about.
type Made = Result<Held, Problem>;

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
        let mut slot = self.slot(made_of, admitted)?;
        let made = match slot.wait_for(Option::is_some).await {
            Ok(made) => made.clone(),
            Err(_) => None,
        };
        Ok(made.unwrap_or_else(|| Err(problem_of(CloseReason::Unavailable)))?)
    }

    /// Where the agent's connection is, or will be.
    fn slot(&self, made_of: Polling<'_>, admitted: &Admitted) -> Result<Slot, Problem> {
        let key = (admitted.tenant.clone(), admitted.agent.clone());
        let mut slots = self.0.lock();
        if let Some(known) = slots.get(&key).filter(|slot| !is_over(slot)) {
            return Ok(known.clone());
        }
        if made_of.shared.draining.is_cancelled() {
            return Err(problem_of(CloseReason::Draining));
        }
        let (sender, slot) = watch::channel(None);
        slots.insert(key.clone(), slot.clone());
        let (inboxes, shared, admitted) = (self.clone(), made_of.shared.clone(), admitted.clone());
        let room = Arc::clone(made_of.room);
        made_of.tracker.spawn(async move {
            match Box::pin(open(&shared, &admitted, room)).await {
                Ok((tended, held, opened, room)) => {
                    sender.send_replace(Some(Ok(held)));
                    tend(inboxes, key, tended, opened, room).await;
                }
                Err(problem) => {
                    sender.send_replace(Some(Err(problem)));
                    inboxes.forget(&key);
                }
            }
        });
        Ok(slot)
    }

    /// Forgets an agent's connection that is over.
    fn forget(&self, key: &(TenantId, AgentId)) {
        let mut slots = self.0.lock();
        if slots.get(key).is_some_and(is_over) {
            slots.remove(key);
        }
    }
}

/// Whether there is nothing to be had of a slot any more.
fn is_over(slot: &Slot) -> bool {
    match &*slot.borrow() {
        Some(Ok(held)) => held.requests.is_closed(),
        Some(Err(_)) => true,
        None => slot.has_changed().is_err(),
    }
}

/// Makes a connection.
async fn open(
    shared: &Shared,
    admitted: &Admitted,
    room: Arc<Semaphore>,
) -> Result<(Tended, Held, Opened, OwnedSemaphorePermit), Problem> {
    let room = room.try_acquire_owned().map_err(|_| problem_of(CloseReason::Unavailable))?;
    let permit = opened::permit(shared, admitted).await.map_err(|refusal| refusal.0)?;
    let connecting = Opened::connect(shared, admitted, ConnectionKind::Poll, permit, None);
    let (opened, reader) = connecting.await.map_err(problem_of)?;
    let base = opened.base;
    let (requests, received) = mpsc::channel(REQUESTS_MAX);
    let held = Held { session: opened.session.clone(), requests };
    let tended =
        Tended { reader, received, base, said: base, is_gap_told: false, is_answered: false, waiting: None };
    Ok((tended, held, opened, room))
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
    /// It was said that an earlier connection of the agent is gone.
    is_gap_told: bool,
    /// A poll was answered.
    is_answered: bool,
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
    let reason = tended.run(&opened.session, bound).await;
    // Polls that come now find it closed, and begin anew.
    let Tended { reader, received, .. } = tended;
    drop(received);
    inboxes.forget(&key);
    // Nobody is connected any more; the end may take long to be written down.
    drop(room);
    opened.end(reader, reason).await;
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
        let outbox = session.outbox();
        let mut has = 0;
        match request.after {
            // It has seen nothing yet.
            None | Some(0) => {}
            Some(after) if (self.base..=self.said).contains(&after) => {
                outbox.had_up_to(after);
                has = after;
            }
            // An earlier connection's sequence says nothing of this one. Once polls were answered, it is a slip.
            Some(after) => {
                if !std::mem::replace(&mut self.is_gap_told, true) {
                    let (connection, reason) = match self.is_answered {
                        true => (Some(outbox.connection()), answers::UNSUITED),
                        false => (None, answers::UNKNOWN),
                    };
                    session.tell_gap(connection, after, reason);
                }
            }
        }
        if outbox.has_lost_after(has) {
            session.tell_gap(Some(outbox.connection()), has, answers::UNSAID);
        }
        self.waiting = Some(Waiting { reply, until: Instant::now() + request.wait });
    }

    fn answer(&mut self, session: &Session, messages: Vec<Bytes>, sequence: u64) {
        let Some(waiting) = self.waiting.take() else { return };
        (self.said, self.is_answered) = (sequence, true);
        session.shared().figures.sent(messages.len() as u64);
        let connection = session.names().2.clone();
        let _ = waiting.reply.send(Ok(Inbox { connection, sequence, messages }));
    }
}

/// Why a connection ended, or did not come about, as an answer over HTTP.
pub(super) fn problem_of(reason: CloseReason) -> Problem {
    let text = reason.text();
    match reason {
        CloseReason::TakenOver => {
            let detail = format!("{text}; poll from one place only: the next poll takes the agent back.");
            Problem::new(ProblemKind::ConnectionTakenOver, detail)
        }
        CloseReason::Replaced => Problem::new(ProblemKind::ConnectionTakenOver, text),
        CloseReason::Unauthorized
        | CloseReason::SshKeyEnded
        | CloseReason::ApiKeyEnded
        | CloseReason::TenantRemoved => Problem::unauthorized(text),
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
