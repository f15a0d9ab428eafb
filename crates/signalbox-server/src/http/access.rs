//! The access log: one line for each answer, under the target `access` at level `debug`.
//!
//! Who calls is found out deep in a request's handling and told at its edge. What carries it there is made only where
//! the line is written, so that a server without the log pays nothing for it.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use http::{Extensions, HeaderValue};
use signalbox_wire::id::TenantId;

/// Where the line is written.
pub(crate) const TARGET: &str = "access";

/// What the line tells of who called.
#[derive(Debug, Clone)]
pub(crate) struct Visit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    peer: Option<SocketAddr>,
    tenant: OnceLock<TenantId>,
}

/// What came of a request.
pub(crate) struct Outcome<'a> {
    pub(crate) method: &'static str,
    /// The route as declared, never the path or the query as sent: those may carry a token.
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) took: std::time::Duration,
    pub(crate) request_id: Option<&'a HeaderValue>,
}

impl Visit {
    /// Begins one where the line will be written.
    pub(crate) fn begin(peer: Option<SocketAddr>, extensions: &mut Extensions) {
        if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            extensions.insert(Self(Arc::new(Inner { peer, tenant: OnceLock::new() })));
        }
    }

    /// The one that a request carries.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    /// Takes note of the caller's tenant.
    pub(crate) fn is_by(extensions: &Extensions, tenant: &TenantId) {
        if let Some(Self(visit)) = extensions.get::<Self>() {
            let _ = visit.tenant.set(tenant.clone());
        }
    }
}

/// Writes the line.
pub(crate) fn tell(visit: Option<&Visit>, outcome: &Outcome<'_>) {
    let Some(Visit(visit)) = visit else { return };
    tracing::debug!(
        target: TARGET,
        method = outcome.method,
        route = outcome.route,
        status = outcome.status,
        took_us = u64::try_from(outcome.took.as_micros()).unwrap_or(u64::MAX),
        request_id = outcome.request_id.and_then(|id| id.to_str().ok()),
        tenant = visit.tenant.get().map(TenantId::as_str),
        peer = visit.peer.map(tracing::field::display),
        "answered"
    );
}
