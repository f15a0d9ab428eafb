//! What jobs work with.

use std::sync::Arc;

use signalbox_core::limits::Policy;
use signalbox_store::Store;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::config::JobSettings;
use crate::egress::Egress;
use crate::engine::Drive;
use crate::engine::slots::Deliveries;
use crate::quota::Quotas;
use crate::telemetry::metrics::Metrics;
use crate::tools::Tools;
use crate::transport::Transport;

/// What jobs work with; cheap to clone.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Parts>);

/// The parts themselves.
pub(crate) struct Parts {
    pub(crate) config: JobSettings,
    pub(crate) policy: Policy,
    pub(crate) store: Store,
    pub(crate) drive: Drive,
    /// What remembers keys, and forgets them when they are revoked.
    pub(crate) authenticator: Authenticator,
    /// What tenants took, which is added to the store.
    pub(crate) quotas: Quotas,
    /// How what is sent is carried.
    pub(crate) transport: Transport,
    /// The way to the services that the operator names.
    pub(crate) services: Egress,
    pub(crate) tools: Tools,
    pub(crate) deliveries: Deliveries,
    pub(crate) metrics: Metrics,
    /// Cancelled when the server begins to drain: jobs take nothing new.
    pub(crate) draining: CancellationToken,
}

impl Jobs {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Jobs {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
