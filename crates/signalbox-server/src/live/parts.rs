//! What connections of agents are made from.

use signalbox_store::Store;
use signalbox_wire::id::NodeId;
use tokio_util::sync::CancellationToken;

use super::channels::Channels;
use crate::auth::Authenticator;
use crate::config::LiveSettings;
use crate::engine::Drive;
use crate::quota::Quotas;
use crate::telemetry::live::LiveFigures;
use crate::transport::connection::Connections;

/// What connections of agents are made from.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) drive: Drive,
    pub(crate) authenticator: Authenticator,
    pub(crate) connections: Connections,
    pub(crate) channels: Channels,
    pub(crate) quotas: Quotas,
    pub(crate) node: NodeId,
    pub(crate) settings: LiveSettings,
    pub(crate) figures: LiveFigures,
    /// Cancelled when the server begins to drain: connections end then.
    pub(crate) draining: CancellationToken,
}
