//! Who gets what is published: connections, and whom a subject goes to.

use std::sync::Arc;

use signalbox_wire::id::AgentId;
use signalbox_wire::time::Timestamp;

use crate::transport::outbox::Outbox;

/// A connection that may be subscribed.
pub(super) struct Subscriber {
    pub(super) number: u64,
    pub(super) agent: AgentId,
    pub(super) outbox: Outbox,
}

/// Whom a subject goes to, each once.
#[derive(Default)]
pub(super) struct Route {
    pub(super) members: Vec<Arc<Subscriber>>,
}

/// An agent that is subscribed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Subscribed {
    pub(crate) agent: AgentId,
    /// The subject, or the pattern that matches it.
    pub(crate) subject: String,
    pub(crate) since: Timestamp,
}

/// What knows whom a subject goes to.
pub(super) trait Routes {
    /// Whom a subject goes to now.
    fn route(&self, subject: &str) -> Arc<Route>;
}

#[cfg(test)]
pub(super) mod tests {
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use prometheus_client::metrics::gauge::Gauge;
    use signalbox_wire::id::ConnectionId;

    use super::*;
    use crate::transport::outbox::{Frame, Next, OutboxBounds, OutboxReader};

    /// A connection of an agent, and what it would read.
    pub(in crate::live::channels) fn connected(number: u64, agent: &str) -> (Arc<Subscriber>, OutboxReader) {
        let bounds = OutboxBounds { frames: 1_000, bytes: 1 << 20, unacknowledged: 10 };
        let connection = ConnectionId::parse(&format!("con_{number}")).expect("valid");
        let (outbox, reader) = Outbox::new(connection, bounds, Gauge::default());
        let agent = AgentId::parse(agent).expect("valid");
        (Arc::new(Subscriber { number, agent, outbox }), reader)
    }

    pub(in crate::live::channels) fn frame(text: &str) -> Frame {
        Frame::new(text.to_owned())
    }

    /// What a connection has got so far.
    pub(in crate::live::channels) fn got(reader: &mut OutboxReader) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut texts = Vec::new();
        let text = |text: Bytes| String::from_utf8(text.to_vec()).expect("text");
        loop {
            match reader.poll_next(&mut cx) {
                Poll::Ready(Next::Frame(frame, _)) => texts.push(text(frame)),
                Poll::Ready(Next::Burst(burst)) => texts.extend(burst.texts().map(text)),
                _ => return texts,
            }
        }
    }
}
