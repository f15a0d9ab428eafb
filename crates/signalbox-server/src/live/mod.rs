//! Connected agents: their WebSockets and long polls, what they say, and how their connections end.
//!
//! An agent has at most one connection; a later one takes over. Who is connected is durable (`Connect`, `Disconnect` of
//! core), what is on its way is in the connection's outbox (`transport/`), and what is said over it is handled in
//! [`session`] whichever way it came.

pub(crate) mod admission;
mod answers;
pub(crate) mod channels;
mod credentials;
mod opened;
mod origin;
mod parts;
mod poll;
mod pulse;
mod session;
mod shared;
mod socket;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use signalbox_core::engine::CancelCommand;
use signalbox_wire::artcafe::live::cancellation;
use signalbox_wire::id::{MessageId, TenantId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::{Admitted, Verdict};
use self::origin::AllowedOrigins;
pub(crate) use self::parts::Parts;
pub(crate) use self::poll::{Inbox, PollRequest};
use self::poll::{Inboxes, Polling, RETRY_AFTER_S};
use self::shared::Shared;
use self::socket::Connecting;
use crate::auth::Caller;
use crate::clock;
use crate::http::problem::Refusal;
use crate::transport::connection::{Delivered, Resume};
use crate::transport::outbox::{CloseReason, Frame};

/// How long it may take to tell the node that holds an agent's connection something that is only told once.
const TELL_WITHIN: Duration = Duration::from_secs(2);
/// WebSockets of callers that are refused, at once; further ones are answered over HTTP.
const GOODBYES_MAX: usize = 64;

/// Agents that are connected to this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    shared: Shared,
    origins: AllowedOrigins,
    room: Arc<Semaphore>,
    /// Room for WebSockets that open only to say why they end.
    goodbyes: Arc<Semaphore>,
    inboxes: Inboxes,
    tracker: TaskTracker,
}

impl Live {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            origins: AllowedOrigins::new(&parts.settings.allowed_origins),
            room: Arc::new(Semaphore::new(parts.settings.agent_connections_max)),
            goodbyes: Arc::new(Semaphore::new(GOODBYES_MAX)),
            inboxes: Inboxes::default(),
            tracker: TaskTracker::new(),
            shared: Shared::new(parts),
        }))
    }

    /// Tends connections until the server drains, and then ends them.
    pub(crate) async fn run(self) {
        let draining = self.0.shared.draining.clone();
        let watched = async {
            tokio::select! {
                () = draining.cancelled() => {}
                () = self.0.shared.credentials().watch(&self.0.shared) => {}
            }
        };
        // The last signs of life are written while their connections are their agents' still.
        tokio::join!(watched, self.0.shared.pulses().write(&self.0.shared));
        for outbox in self.0.shared.connections.all() {
            outbox.close(CloseReason::Draining);
        }
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }

    /// Refuses a call from a page of another origin.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.0.origins.check(headers)
    }

    /// Who may connect as which agent.
    pub(crate) async fn admit(
        &self,
        (credentials, path): (&HeaderMap, &str),
        agent: &str,
    ) -> Result<Verdict, Refusal> {
        let Parts { authenticator, store, .. } = &*self.0.shared;
        admission::admit(authenticator, store, (credentials, path), agent).await
    }

    /// Whether a caller that is known may connect as this agent.
    pub(crate) async fn admit_caller(&self, caller: &Caller, agent: &str) -> Result<Verdict, Refusal> {
        admission::admit_caller(&self.0.shared.store, caller.clone(), agent).await
    }

    /// Answers a request to open a WebSocket, and serves it once it is open. One that is not admitted is told so by how it
    /// ends, as browsers see nothing of an answer; where many are told so at once, by the answer all the same.
    pub(crate) async fn open(
        &self,
        request: &mut Request,
        verdict: Verdict,
        resume: Option<Resume>,
    ) -> Result<Response, Refusal> {
        if self.draining().is_cancelled() {
            return Err(full().into());
        }
        let (room, connecting) = match verdict {
            Verdict::Admitted(admitted) => {
                let room = room(&self.0.room).ok_or_else(full)?;
                let permit = opened::permit(&self.0.shared, &admitted).await?;
                (room, Ok(Connecting { admitted, permit, resume }))
            }
            // The room of agents is not for those who are none.
            Verdict::Refused(reason, problem) => match room(&self.0.goodbyes) {
                Some(room) => (room, Err(reason)),
                None => return Err(problem.into()),
            },
        };
        let (answer, upgrading) = socket::accept(request, &self.0.shared.settings, room)?;
        let (ready, is_ready) = oneshot::channel();
        let tended_by = (self.0.shared.clone(), self.0.tracker.clone());
        self.0.tracker.spawn(socket::serve(tended_by, upgrading, connecting, ready));
        let _ = is_ready.await;
        Ok(answer)
    }

    /// Answers a poll.
    pub(crate) async fn poll(&self, admitted: &Admitted, request: PollRequest) -> Result<Inbox, Refusal> {
        let held = self.0.inboxes.held(self.polling(), admitted).await?;
        held.poll(request).await.map_err(|reason| poll::problem_of(reason).into())
    }

    /// Takes in what an agent POSTs, and answers each message as its WebSocket would.
    pub(crate) async fn take_in(
        &self,
        admitted: &Admitted,
        messages: &[&str],
    ) -> Result<Vec<Frame>, Refusal> {
        Ok(self.0.inboxes.held(self.polling(), admitted).await?.take_in(messages).await)
    }

    fn polling(&self) -> Polling<'_> {
        Polling { shared: &self.0.shared, room: &self.0.room, tracker: &self.0.tracker }
    }

    /// Tells an agent that a command is no longer wanted, where it is connected now, on whatever node.
    pub(crate) fn tell_cancelled(&self, tenant: &TenantId, cancelled: CancelCommand) {
        let (connections, tenant) = (self.0.shared.connections.clone(), tenant.clone());
        self.0.tracker.spawn(async move {
            let CancelCommand { agent, command, reason } = cancelled;
            let now = clock::now();
            let id = MessageId::new(now, clock::seed_128());
            let text = cancellation(id.as_str(), command.as_str(), reason.as_deref(), now);
            let told = connections.push((&tenant, &agent), Frame::new(text), TELL_WITHIN).await;
            if told != Delivered::Had {
                tracing::debug!(%agent, %command, ?told, "the agent was not told that a command is cancelled");
            }
        });
    }

    /// Cancelled when the server begins to drain.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.0.shared.draining
    }
}

/// Room for one more, where there is any.
fn room(of: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(of).try_acquire_owned().ok()
}

/// That no further agent can be connected.
fn full() -> Problem {
    let detail = "As many agents are connected to this node as may be (agent_connections_max), or it is stopping; try again \
                  in a moment.";
    Problem::new(ProblemKind::ConnectionsFull, detail).retry_after(RETRY_AFTER_S)
}
