//! A connection that its agent holds, from its beginning to its end, however it is carried.

use std::time::Duration;

use signalbox_bus::BusError;
use signalbox_core::engine::{Connect, Disconnect};
use signalbox_core::quota::Limit;
use signalbox_store::StoreError;

use super::admission::Admitted;
use super::credentials;
use super::parts::Parts;
use super::session::Session;
use super::shared::Shared;
use crate::clock;
use crate::engine::DriveError;
use crate::http::problem::Refusal;
use crate::quota::{Permit, QuotaError, Usage};
use crate::telemetry::live::{ConnectionKind, OpenConnection};
use crate::transport::connection::{Attached, Resume, new_id};
use crate::transport::outbox::{CloseReason, Outbox, OutboxBounds, OutboxReader};

/// How often the end of a connection is written again where the store does not take it, before it is left to the next
/// comparison of what the store knows with what there is.
const DISCONNECT_TRIES: u32 = 6;
/// The pause before the second try, which doubles, and before the first where another connection is about to be the agent's.
const DISCONNECT_PAUSE: Duration = Duration::from_millis(250);

/// A connection that its agent holds, until [`Opened::end`].
pub(super) struct Opened {
    pub(super) session: Session,
    /// The sequence after which its own begin.
    pub(super) base: u64,
    attached: Attached,
    _open: OpenConnection,
    _credentials: credentials::Registered,
}

/// Lets an agent connect where its tenant may have one more that is, or where this one is already.
///
/// # Errors
/// The tenant has as many as it may, or the store cannot tell.
pub(super) async fn permit(shared: &Shared, admitted: &Admitted) -> Result<Permit, Refusal> {
    let (tenant, agent) = (&admitted.tenant, &admitted.agent);
    match shared.quotas.check(tenant, Limit::Connections, clock::now()).await {
        Err(over @ QuotaError::Over(_)) => {
            let status = shared.store.status_hint(tenant, agent).await?;
            let is_connected = status.is_some_and(|status| status.connection.is_some());
            if is_connected { Ok(Permit::free()) } else { Err(over.into()) }
        }
        checked => Ok(checked?),
    }
}

impl Opened {
    /// Makes a connection its agent's: known on this node, then durably. Once begun it is to be carried through to
    /// [`Opened::end`]: in a task of its own, as whoever asks may go at any time.
    ///
    /// # Errors
    /// Why it did not come about.
    pub(super) async fn connect(
        shared: &Shared,
        admitted: &Admitted,
        kind: ConnectionKind,
        permit: Permit,
        resume: Option<&Resume>,
    ) -> Result<(Self, OutboxReader), CloseReason> {
        let Parts { connections, drive, node, settings, figures, draining, .. } = &**shared;
        let bounds = OutboxBounds {
            frames: settings.agent_buffer_messages_max,
            bytes: settings.agent_buffer_bytes_max,
            unacknowledged: settings.agent_unacknowledged_max,
        };
        let (tenant, agent) = (&admitted.tenant, &admitted.agent);
        let (outbox, reader) = Outbox::new(new_id(), bounds, connections.buffered());
        if kind == ConnectionKind::Poll {
            // What an agent says that it saw tells which of its connections it speaks of.
            outbox.begin_after(u64::try_from(clock::now().as_millis()).unwrap_or_default());
        }
        let base = outbox.sequence();
        let open = figures.open(kind);
        let credentials = shared.credentials().register(admitted, &outbox);
        // Whatever the commit sets in motion finds it here.
        let attached = connections.attach((tenant, agent), outbox.clone(), resume).await;
        let attached = attached.map_err(|error: BusError| {
            tracing::warn!(%error, %agent, "an agent could not be connected");
            CloseReason::Unavailable
        })?;
        let connection = outbox.connection().clone();
        let key = admitted.key.clone().or_else(|| admitted.api_key.as_ref().map(|key| key.id.clone()));
        let (node, is_resumed) = (node.clone(), attached.is_resumed);
        let operation = Connect { agent: agent.clone(), connection, node, key, is_resumed };
        if let Err(error) = drive.run(tenant, &operation).await {
            return Err(not_connected(&error));
        }
        drop(permit);
        shared.quotas.count(tenant, Usage::Connections, 1, clock::now());
        // A drain that began meanwhile has not seen it.
        if draining.is_cancelled() {
            outbox.close(CloseReason::Draining);
        }
        let session = Session::new(shared.clone(), admitted, outbox);
        if let Some(resume) = resume {
            session.tell_resumed(resume, attached.is_resumed);
        }
        Ok((Self { session, base, attached, _open: open, _credentials: credentials }, reader))
    }

    /// The connection has ended, for this reason; `reader` is what was read of it.
    pub(super) async fn end(self, reader: OutboxReader, reason: CloseReason) {
        let Self { session, attached, .. } = self;
        let shared = session.shared().clone();
        shared.figures.closed(reason.name());
        session.leave_channels();
        // What it is not known to have is kept for an agent that may come back to this node.
        if may_come_back(reason) {
            attached.lose();
        } else {
            drop(attached);
        }
        // Whoever waits for something that nobody comes back for is told.
        drop(reader);
        let (tenant, agent, connection) = session.names();
        tracing::debug!(%tenant, %agent, %connection, reason = reason.name(), "an agent's connection ended");
        // The connection that took over may not come about. Where it does, this changes nothing.
        if reason == CloseReason::TakenOver {
            tokio::time::sleep(DISCONNECT_PAUSE).await;
        }
        if reason != CloseReason::Removed {
            disconnect(&shared, &session, reason).await;
        }
    }
}

/// Whether the agent is expected on this node again.
fn may_come_back(reason: CloseReason) -> bool {
    match reason {
        CloseReason::Gone
        | CloseReason::Silent
        | CloseReason::TooSlow
        | CloseReason::TooBig
        | CloseReason::Protocol
        | CloseReason::NotUtf8
        | CloseReason::Unavailable => true,
        CloseReason::TakenOver
        | CloseReason::Replaced
        | CloseReason::Unauthorized
        | CloseReason::SshKeyEnded
        | CloseReason::ApiKeyEnded
        | CloseReason::TenantRemoved
        | CloseReason::Forbidden
        | CloseReason::Removed
        | CloseReason::Draining => false,
    }
}

/// Writes down that a connection has ended.
async fn disconnect(shared: &Shared, session: &Session, reason: CloseReason) {
    let (tenant, agent, connection) = session.names();
    let operation =
        Disconnect { agent: agent.clone(), connection: connection.clone(), reason: reason.text().to_owned() };
    let mut pause = DISCONNECT_PAUSE;
    for _ in 0..DISCONNECT_TRIES {
        match shared.drive.run(tenant, &operation).await {
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
    tracing::warn!(%agent, %connection, "the store did not take the end of a connection; it is tried again later");
}

fn not_connected(error: &DriveError) -> CloseReason {
    match error {
        DriveError::Rejected(_) => CloseReason::Removed,
        DriveError::Store(StoreError::Removed) => CloseReason::TenantRemoved,
        error => {
            tracing::warn!(%error, "an agent could not be connected");
            CloseReason::Unavailable
        }
    }
}
