//! What is measured of connected agents.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What is measured of connected agents; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct LiveFigures(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Family<KindLabels, Gauge>,
    received: Family<TypeLabels, Counter>,
    sent: Counter,
    closed: Family<ReasonLabels, Counter>,
    buffered: Gauge,
}

/// How an agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionKind {
    /// By a WebSocket.
    WebSocket,
    /// By long polls.
    Poll,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabels {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// A connection that is counted as open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl LiveFigures {
    /// A connection is open, for as long as what is returned is held.
    pub(crate) fn open(&self, kind: ConnectionKind) -> OpenConnection {
        let kind = match kind {
            ConnectionKind::WebSocket => "websocket",
            ConnectionKind::Poll => "poll",
        };
        let open = self.0.open.get_or_create(&KindLabels { kind }).clone();
        open.inc();
        OpenConnection(open)
    }

    /// A message of this type came; one of those that there are.
    pub(crate) fn received(&self, r#type: &'static str) {
        self.0.received.get_or_create(&TypeLabels { r#type }).inc();
    }

    /// Messages were sent.
    pub(crate) fn sent(&self, count: u64) {
        self.0.sent.inc_by(count);
    }

    /// A connection ended for this reason.
    pub(crate) fn closed(&self, reason: &'static str) {
        self.0.closed.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Bytes that wait for all connections.
    pub(crate) fn buffered(&self) -> Gauge {
        self.0.buffered.clone()
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let inner = &*self.0;
        registry.register("agent_connections", "Connections of agents open", inner.open.clone());
        registry.register("agent_messages_received", "Messages of connected agents", inner.received.clone());
        registry.register("agent_messages_sent", "Messages sent to connected agents", inner.sent.clone());
        registry.register(
            "agent_connections_closed",
            "Connections of agents that ended, by reason; too_slow are those that did not read",
            inner.closed.clone(),
        );
        registry.register_with_unit(
            "agent_buffered",
            "What waits to be sent to connected agents",
            Unit::Bytes,
            inner.buffered.clone(),
        );
    }
}
