//! Connected agents: their WebSockets and long polls, what they say, and how their connections end.
//!
//! An agent has at most one connection; a later one takes over. Who is connected is durable (`Connect`, `Disconnect` of
//! core), what is on its way is in the connection's outbox (`transport/`), and what is said over it is handled in
//! [`session`] whichever way it came.

pub(crate) mod admission;
mod answers;
pub(crate) mod channels;
mod credentials;
mod origin;
mod poll;
mod pulse;
mod session;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use signalbox_bus::BusError;
use signalbox_core::engine::{Connect, Disconnect};
use signalbox_store::Store;
use signalbox_wire::id::NodeId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::{Admitted, Verdict};
use self::channels::Channels;
use self::credentials::Credentials;
pub(crate) use self::origin::AllowedOrigins;
pub(crate) use self::poll::PollRequest;
use self::pulse::Pulses;
use self::session::Session;
use crate::auth::Authenticator;
use crate::config::LiveSettings;
use crate::engine::{Drive, DriveError};
use crate::http::problem::Refusal;
use crate::telemetry::live::{ConnectionKind, LiveFigures, OpenConnection};
use crate::transport::connection::{Attached, Connections, Resume, new_id};
use crate::transport::outbox::{CloseReason, Outbox, OutboxBounds, OutboxReader};

/// Everything that connections of agents are made from; cheap to clone.
#[derive(Clone)]
pub(crate) struct Live(Arc<Inner>);

/// What [`Live`] is made from.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) drive: Drive,
    pub(crate) authenticator: Authenticator,
    pub(crate) connections: Connections,
    pub(crate) channels: Channels,
    pub(crate) node: NodeId,
    pub(crate) settings: LiveSettings,
    pub(crate) figures: LiveFigures,
    /// Cancelled when the server begins to drain: connections end then.
    pub(crate) draining: CancellationToken,
}

struct Inner {
    parts: Parts,
    origins: AllowedOrigins,
    room: Arc<Semaphore>,
    credentials: Credentials,
    pulses: Pulses,
    inboxes: poll::Inboxes,
    tracker: TaskTracker,
}

/// A connection that its agent holds, from [`Live::connect`] to [`Opened::end`].
struct Opened {
    session: Session,
    attached: Attached,
    _open: OpenConnection,
    _credential: credentials::Registered,
}

/// Why a connection did not come about.
type NotOpened = CloseReason;

impl Live {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            origins: AllowedOrigins::new(&parts.settings.allowed_origins),
            room: Arc::new(Semaphore::new(parts.settings.agent_connections_max)),
            credentials: Credentials::default(),
            pulses: Pulses::default(),
            inboxes: poll::Inboxes::default(),
            tracker: TaskTracker::new(),
            parts,
        }))
    }

    /// Tends connections until the server drains, and then ends them.
    pub(crate) async fn run(self) {
        let draining = self.0.parts.draining.clone();
        tokio::select! {
            () = draining.cancelled() => {}
            () = self.0.credentials.watch(&self) => {}
            () = self.0.pulses.write(&self) => {}
        }
        for outbox in self.0.parts.connections.all() {
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
        let Parts { authenticator, store, .. } = &self.0.parts;
        admission::admit(authenticator, store, (credentials, path), agent).await
    }

    /// Answers a request to open a WebSocket, and serves it once it is open. One that is not admitted is told so by how it
    /// ends, as browsers see nothing of an answer.
    pub(crate) fn open(
        &self,
        request: &mut Request,
        verdict: Verdict,
        resume: Option<Resume>,
    ) -> Result<Response, Refusal> {
        let (is_draining, room) = (self.draining().is_cancelled(), self.room());
        let Some(room) = room.filter(|_| !is_draining) else { return Err(full().into()) };
        let (answer, upgrading) = socket::accept(request, &self.parts().settings, room)?;
        let admitted = match verdict {
            Verdict::Admitted(admitted) => Ok(admitted),
            Verdict::Refused(reason, _) => Err(reason),
        };
        self.0.tracker.spawn(socket::serve(self.clone(), upgrading, admitted, resume));
        Ok(answer)
    }

    /// Room for one more connection, where there is any.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_owned().ok()
    }

    /// Cancelled when the server begins to drain.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.0.parts.draining
    }

    fn parts(&self) -> &Parts {
        &self.0.parts
    }

    /// Makes a connection its agent's: known on this node, then durably.
    async fn connect(
        &self,
        admitted: &Admitted,
        kind: ConnectionKind,
        resume: Option<&Resume>,
    ) -> Result<(Opened, OutboxReader), NotOpened> {
        let Parts { connections, drive, node, settings, figures, draining, .. } = &self.0.parts;
        let bounds = OutboxBounds {
            frames: settings.agent_buffer_messages_max,
            bytes: settings.agent_buffer_bytes_max,
            unacknowledged: settings.agent_unacknowledged_max,
        };
        let (tenant, agent) = (&admitted.tenant, &admitted.agent);
        let (outbox, reader) = Outbox::new(new_id(), bounds, connections.buffered());
        let open = figures.open(kind);
        let credential = self.0.credentials.register(admitted, &outbox);
        // Whatever the commit sets in motion finds it here.
        let attached = connections.attach((tenant, agent), outbox.clone(), resume).await;
        let attached = attached.map_err(|error: BusError| {
            tracing::warn!(%error, %agent, "an agent could not be connected");
            CloseReason::Unavailable
        })?;
        let connection = outbox.connection().clone();
        let operation = Connect { agent: agent.clone(), connection, node: node.clone(), key: admitted.key.clone() };
        if let Err(error) = drive.run(tenant, &operation).await {
            return Err(not_connected(&error));
        }
        // A drain that began meanwhile has not seen it.
        if draining.is_cancelled() {
            outbox.close(CloseReason::Draining);
        }
        let session = Session::new(self.clone(), admitted, outbox);
        if let Some(resume) = resume.filter(|resume| resume.connection.is_some() && !attached.is_resumed) {
            session.tell_gap(resume);
        }
        Ok((Opened { session, attached, _open: open, _credential: credential }, reader))
    }
}

impl Opened {
    /// The connection has ended, for this reason.
    async fn end(self, reason: CloseReason) {
        let Self { session, attached, .. } = self;
        let live = session.live().clone();
        live.0.parts.figures.closed(reason.name());
        session.leave_channels();
        attached.lose();
        let (tenant, agent, connection) = session.names();
        tracing::debug!(%tenant, %agent, %connection, reason = reason.name(), "an agent's connection ended");
        if reason != CloseReason::TakenOver && reason != CloseReason::Removed {
            disconnect(&live, &session, reason).await;
        }
    }
}

/// How often the end of a connection is written again where the store does not take it, before it is left to the sweep.
const DISCONNECT_TRIES: u32 = 6;
/// The pause before the second try; it doubles.
const DISCONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Writes down that a connection has ended.
async fn disconnect(live: &Live, session: &Session, reason: CloseReason) {
    let (tenant, agent, connection) = session.names();
    let operation =
        Disconnect { agent: agent.clone(), connection: connection.clone(), reason: reason.text().to_owned() };
    let mut pause = DISCONNECT_PAUSE;
    for _ in 0..DISCONNECT_TRIES {
        match live.0.parts.drive.run(tenant, &operation).await {
            Ok(_) => return,
            Err(DriveError::Store(error)) if error.is_passing() => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => {
                tracing::warn!(%error, %agent, %connection, "the end of a connection was not written down");
                return;
            }
        }
    }
    tracing::warn!(%agent, %connection, "the store did not take the end of a connection; the next start does");
}

/// That no further agent can be connected.
fn full() -> Problem {
    let detail = "As many agents are connected to this node as may be (agent_connections_max), or it is stopping; try again \
                  in a moment.";
    Problem::new(ProblemKind::ConnectionsFull, detail).retry_after(RETRY_AFTER_S)
}

/// Seconds after which to try to connect again.
const RETRY_AFTER_S: u32 = 5;

fn not_connected(error: &DriveError) -> CloseReason {
    match error {
        DriveError::Rejected(_) => CloseReason::Removed,
        DriveError::Store(signalbox_store::StoreError::Removed) => CloseReason::Unauthorized,
        error => {
            tracing::warn!(%error, "an agent could not be connected");
            CloseReason::Unavailable
        }
    }
}
