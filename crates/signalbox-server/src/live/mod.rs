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

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::{Admitted, Verdict};
use self::origin::AllowedOrigins;
pub(crate) use self::parts::Parts;
pub(crate) use self::poll::{Inbox, PollRequest};
use self::poll::{Inboxes, Polling};
use self::shared::Shared;
use self::socket::Connecting;
use crate::http::problem::Refusal;
use crate::transport::connection::Resume;
use crate::transport::outbox::{CloseReason, Frame};

/// Seconds after which to try to connect again.
const RETRY_AFTER_S: u32 = 5;

/// Agents that are connected to this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

struct Inner {
    shared: Shared,
    origins: AllowedOrigins,
    room: Arc<Semaphore>,
    inboxes: Inboxes,
    tracker: TaskTracker,
}

impl Live {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            origins: AllowedOrigins::new(&parts.settings.allowed_origins),
            room: Arc::new(Semaphore::new(parts.settings.agent_connections_max)),
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

    /// Answers a request to open a WebSocket, and serves it once it is open. One that is not admitted is told so by how it
    /// ends, as browsers see nothing of an answer.
    pub(crate) async fn open(
        &self,
        request: &mut Request,
        verdict: Verdict,
        resume: Option<Resume>,
    ) -> Result<Response, Refusal> {
        let (is_draining, room) = (self.draining().is_cancelled(), self.room());
        let Some(room) = room.filter(|_| !is_draining) else { return Err(full().into()) };
        let (answer, upgrading) = socket::accept(request, &self.0.shared.settings, room)?;
        let connecting = match verdict {
            Verdict::Admitted(admitted) => {
                let permit = opened::permit(&self.0.shared, &admitted).await?;
                Ok(Connecting { admitted, permit, resume })
            }
            Verdict::Refused(reason, _) => Err(reason),
        };
        let (ready, is_ready) = oneshot::channel();
        self.0.tracker.spawn(socket::serve(self.0.shared.clone(), upgrading, connecting, ready));
        let _ = is_ready.await;
        Ok(answer)
    }

    /// Room for one more connection, where there is any.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_owned().ok()
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

    /// Cancelled when the server begins to drain.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.0.shared.draining
    }
}

/// That no further agent can be connected.
fn full() -> Problem {
    let detail = "As many agents are connected to this node as may be (agent_connections_max), or it is stopping; try again \
                  in a moment.";
    Problem::new(ProblemKind::ConnectionsFull, detail).retry_after(RETRY_AFTER_S)
}
