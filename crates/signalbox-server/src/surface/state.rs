//! What the handlers of all surfaces may ask for. None is given all of it: each names what it uses in its signature,
//! as `State<Store>` or `State<Drive>`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use signalbox_store::Store;
use signalbox_wire::keys::Secret;
use signalbox_wire::ssh::Sha1;

use crate::auth::{Authenticator, Tries};
use crate::egress::Egress;
use crate::engine::{Admission, Drive};
use crate::http::body::BodyLimits;
use crate::http::route_table::RouteTable;
use crate::http::streams::Streams;
use crate::http::unknown_fields::BodyFields;
use crate::live::Live;
use crate::live::channels::Channels;
use crate::quota::Quotas;
use crate::telemetry::metrics::Metrics;
use crate::tools::Tools;

/// The parts that handlers can be given; cheap to clone.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Parts>);

/// The parts themselves.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) drive: Drive,
    /// Channels and those who are subscribed.
    pub(crate) channels: Channels,
    /// Agents that hold a connection.
    pub(crate) live: Live,
    /// Whether more may wait for a destination.
    pub(crate) admission: Admission,
    pub(crate) authenticator: Authenticator,
    /// The way to what clients name.
    pub(crate) egress: Egress,
    /// What agents and workflows may call.
    pub(crate) tools: Tools,
    pub(crate) streams: Streams,
    pub(crate) quotas: Quotas,
    pub(crate) metrics: Metrics,
    pub(crate) body_limits: BodyLimits,
    pub(crate) route_table: RouteTable,
    pub(crate) body_fields: BodyFields,
    pub(crate) limits: Limits,
    pub(crate) retention: OperatorRetention,
    pub(crate) announcements: Announcements,
    pub(crate) readiness: Readiness,
    pub(crate) sign_in: SignInTerms,
}

/// How agents sign in.
#[derive(Clone)]
pub(crate) struct SignInTerms {
    pub(crate) tries: Arc<Tries>,
    /// Whether signatures with SHA-1 count.
    pub(crate) sha1: Sha1,
    /// How long a key signs tokens.
    pub(crate) token_key_rotation: Duration,
}

/// What answers may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a value with everything that it refers to.
    pub(crate) payload_bytes_max: u64,
}

/// How long the operator keeps what is over, where a tenant has not said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperatorRetention {
    pub(crate) sessions: Duration,
    pub(crate) events: Duration,
    pub(crate) messages: Duration,
}

/// By what another AgentKit service is believed when it tells of its agents.
#[derive(Debug, Clone)]
pub(crate) struct Announcements {
    /// What it signs with.
    pub(crate) secret: Option<Secret>,
    /// Whether this server calls the agents' endpoints itself, so that they must be such as it may call.
    pub(crate) calls_endpoints: bool,
}

/// What `/ready` looks at.
#[derive(Debug, Clone)]
pub(crate) struct Readiness {
    /// Cancelled when the server begins to stop.
    pub(crate) stopping: tokio_util::sync::CancellationToken,
    /// What carries live traffic.
    pub(crate) bus: signalbox_bus::Bus,
}

impl AppState {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Agents that hold a connection.
    pub(crate) fn live(&self) -> &Live {
        &self.0.live
    }
}

/// Lets a handler ask for one of the parts.
macro_rules! part {
    ($($name:ident: $type:ty),* $(,)?) => {
        $(impl FromRef<AppState> for $type {
            fn from_ref(state: &AppState) -> Self {
                state.0.$name.clone()
            }
        })*
    };
}

part! {
    store: Store,
    drive: Drive,
    channels: Channels,
    live: Live,
    admission: Admission,
    authenticator: Authenticator,
    egress: Egress,
    tools: Tools,
    streams: Streams,
    quotas: Quotas,
    metrics: Metrics,
    body_limits: BodyLimits,
    route_table: RouteTable,
    body_fields: BodyFields,
    limits: Limits,
    retention: OperatorRetention,
    announcements: Announcements,
    readiness: Readiness,
    sign_in: SignInTerms,
}
