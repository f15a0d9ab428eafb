//! What goes to an agent over the connection that it holds with some node.

use signalbox_core::connection::Disconnected;
use signalbox_wire::id::{AgentId, TenantId};

use super::parcel::{Carried, Parcel};

/// Who is connected to this node; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(());

/// The agent holds no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotConnected;

impl Connections {
    /// Carries something to an agent wherever it is connected.
    #[expect(clippy::unused_async, reason = "over a connection it waits for the agent's side to have it")]
    pub(super) async fn carry(&self, _agent: &AgentId, _parcel: Parcel<'_>) -> Result<Carried, NotConnected> {
        Err(NotConnected)
    }

    /// Closes a connection that is no longer its agent's, where this node holds it.
    pub(crate) fn close(&self, _tenant: &TenantId, _disconnected: &Disconnected) {}
}
