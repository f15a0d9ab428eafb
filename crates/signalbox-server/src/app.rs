//! What every handler and job shares: one [`App`] a server process.

use std::sync::Arc;

use signalbox_bus::Bus;
use signalbox_core::limits::Policy;
use signalbox_store::Store;
use signalbox_wire::keys::Secret;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::config::Config;
use crate::egress::Egress;
use crate::engine::Drive;
use crate::http::idempotency::InFlight;
use crate::jobs::Deliveries;
use crate::telemetry::metrics::Metrics;
use crate::tools::Tools;

/// A running server's parts; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// The parts themselves.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) drive: Drive,
    pub(crate) authenticator: Authenticator,
    /// What signs the notices that tell of a session's end.
    pub(crate) notice_secret: Secret,
    /// The way to what clients name.
    pub(crate) egress: Egress,
    /// The way to the services that the operator names.
    pub(crate) services: Egress,
    /// The way of the built-in tool that reads pages.
    pub(crate) pages: Egress,
    /// What agents and workflows may call.
    pub(crate) tools: Tools,
    pub(crate) deliveries: Deliveries,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight: InFlight,
    /// Cancelled when the server begins to drain: streams end, jobs take nothing new.
    pub(crate) draining: CancellationToken,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
