//! Long polls: a connection for places where WebSockets are blocked.
//!
//! The connection outlives each poll: a task tends it, answers polls with what waits, and ends it when none has come for as
//! long as three heartbeats. What is durable comes with each answer until a later poll says that the agent has it (`after`).
//! Sequences begin with the time of the connection, so that an `after` of an earlier one acknowledges nothing of this.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use signalbox_wire::id::{AgentId, ConnectionId, TenantId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::admission::Admitted;
use super::session::{Handled, Session};
use super::{Live, Opened};
use crate::clock;
use crate::telemetry::live::ConnectionKind;
use crate::transport::outbox::{CloseReason, Frame, OutboxReader};

/// Polls and signs of life that may wait for the task of one connection.
const REQUESTS_MAX: usize = 16;

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

/// The connections that are held by polls.
#[derive(Default)]
pub(super) struct Inboxes(Mutex<HashMap<(TenantId, AgentId), Held>>);

/// The way to a connection's task.
#[derive(Clone)]
struct Held {
    session: Session,
    requests: mpsc::Sender<Request>,
}

enum Request {
    Poll(PollRequest, oneshot::Sender<Result<Inbox, CloseReason>>),
    SignOfLife,
}

impl Live {
    /// Answers a poll.
    pub(crate) async fn poll(&self, admitted: &Admitted, request: PollRequest) -> Result<Inbox, CloseReason> {
        let held = self.held(admitted).await?;
        let (reply, answered) = oneshot::channel();
        let sent = held.requests.send(Request::Poll(request, reply)).await;
        // Its task has ended, or ends: the next poll begins a new one.
        sent.map_err(|_| CloseReason::Unavailable)?;
        answered.await.unwrap_or(Err(CloseReason::Unavailable))
    }

    /// Takes in what an agent POSTs, and answers each message as its WebSocket would.
    pub(crate) async fn take_in(
        &self,
        admitted: &Admitted,
        messages: &[&str],
    ) -> Result<Vec<Frame>, CloseReason> {
        let held = self.held(admitted).await?;
        let _ = held.requests.send(Request::SignOfLife).await;
        let mut answers = Vec::new();
        for message in messages {
            let answer = match held.session.handle(message) {
                Handled::Now(answer) => answer,
                Handled::Later(answering) => answering.await,
            };
            answers.extend(answer);
        }
        Ok(answers)
    }

    /// The connection that the agent holds by polls, else a new one.
    async fn held(&self, admitted: &Admitted) -> Result<Held, CloseReason> {
        let key = (admitted.tenant.clone(), admitted.agent.clone());
        let known = self.0.inboxes.0.lock().get(&key).filter(|held| !held.requests.is_closed()).cloned();
        if let Some(held) = known {
            return Ok(held);
        }
        let room = self.room().ok_or(CloseReason::Unavailable)?;
        let (opened, reader) = Box::pin(self.connect(admitted, ConnectionKind::Poll, None)).await?;
        let base = u64::try_from(clock::now().as_millis()).unwrap_or_default();
        opened.session.outbox().begin_after(base);
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let held = Held { session: opened.session.clone(), requests };
        self.0.inboxes.0.lock().insert(key.clone(), held.clone());
        let tended = Tended { reader, received, base, said: base, polling: None };
        self.0.tracker.spawn(tend(self.clone(), key, tended, opened, room));
        Ok(held)
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
    polling: Option<Polling>,
}

/// A poll that waits.
struct Polling {
    reply: oneshot::Sender<Result<Inbox, CloseReason>>,
    until: Instant,
}

async fn tend(
    live: Live,
    key: (TenantId, AgentId),
    mut tended: Tended,
    opened: Opened,
    room: OwnedSemaphorePermit,
) {
    let bound = live.parts().settings.heartbeat_interval * 3;
    let connection = opened.session.names().2.clone();
    let reason = tended.run(&opened.session, bound).await;
    {
        let mut inboxes = live.0.inboxes.0.lock();
        if inboxes.get(&key).is_some_and(|held| *held.session.names().2 == connection) {
            inboxes.remove(&key);
        }
    }
    // Polls that came too late find it closed, and begin anew.
    drop(tended);
    opened.end(reason).await;
    drop(room);
}

impl Tended {
    async fn run(&mut self, session: &Session, bound: Duration) -> CloseReason {
        let mut alive_at = Instant::now();
        loop {
            let wake_at = self.polling.as_ref().map_or(alive_at + bound, |polling| polling.until);
            let Self { reader, received, polling, .. } = self;
            let is_polling = polling.is_some();
            tokio::select! {
                biased;
                request = received.recv() => match request {
                    Some(request) => self.take(request, session),
                    None => return CloseReason::Gone,
                },
                () = hung_up(polling.as_mut()) => self.polling = None,
                found = poll_fn(|cx| match is_polling {
                    true => reader.poll_all(cx),
                    false => reader.poll_end(cx).map(Err),
                }) => match found {
                    Ok((messages, sequence)) => self.answer(session, messages, sequence.max(self.base)),
                    Err(reason) => {
                        if let Some(polling) = self.polling.take() {
                            let _ = polling.reply.send(Err(reason));
                        }
                        return reason;
                    }
                },
                () = sleep_until(wake_at) => {
                    if self.polling.is_none() {
                        return CloseReason::Silent;
                    }
                    self.answer(session, Vec::new(), self.said);
                }
            }
            alive_at = Instant::now();
        }
    }

    fn take(&mut self, request: Request, session: &Session) {
        let Request::Poll(request, reply) = request else { return };
        if let Some(earlier) = self.polling.take() {
            let _ = earlier.reply.send(Err(CloseReason::TakenOver));
        }
        // An earlier connection's sequence says nothing of this one.
        if let Some(after) = request.after.filter(|after| *after >= self.base) {
            session.outbox().had_up_to(after);
        }
        self.polling = Some(Polling { reply, until: Instant::now() + request.wait });
    }

    fn answer(&mut self, session: &Session, messages: Vec<Bytes>, sequence: u64) {
        let Some(polling) = self.polling.take() else { return };
        self.said = sequence;
        session.live().parts().figures.sent(messages.len() as u64);
        let connection = session.names().2.clone();
        let _ = polling.reply.send(Ok(Inbox { connection, sequence, messages }));
    }
}

/// Resolves when whoever polls has gone.
async fn hung_up(polling: Option<&mut Polling>) {
    match polling {
        Some(polling) => polling.reply.closed().await,
        None => poll_fn(|_| Poll::Pending).await,
    }
}
