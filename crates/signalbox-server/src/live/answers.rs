//! What the server says over a connection in answer to what the agent said.

use signalbox_wire::artcafe::live::{
    AckData, ConnectionGap, Envelope, EnvelopeFault, HeartbeatAck, Outgoing,
};
use signalbox_wire::id::{ConnectionId, MessageId};
use signalbox_wire::problem_kind::ProblemKind;

use super::channels::fault::LiveFault;
use super::channels::frames;
use crate::clock;
use crate::http::problem::Refusal;
use crate::transport::outbox::{Frame, Outbox};

/// The earlier connection is not known.
pub(super) const UNKNOWN: &str = "the connection is not known here any more: what was live is gone, and its \
                                  subscriptions have ended, so subscribe again, with 'after' where a channel keeps its \
                                  messages; tasks, commands and messages that it had not acknowledged come again, under \
                                  their ids";
/// The earlier connection is gone on with.
pub(super) const RESUMED: &str = "what the earlier connection had not acknowledged comes; its subscriptions have ended, so \
                                  subscribe again, with 'after' where a channel keeps its messages; what was live \
                                  meanwhile may be missing";
/// An agent that polls gives an `after` that no answer of its connection had.
pub(super) const UNSUITED: &str = "'after' is no sequence that an answer over this connection had, so nothing is taken as had \
                                   by it: give the 'sequence' of the last answer; the connection goes on, and its \
                                   subscriptions with it";
/// An agent polls, and does not say what it has.
pub(super) const UNSAID: &str = "more was answered than is kept until 'after' says that it was had: the oldest live \
                                 messages of it may be missing";

/// An id for what the server says by itself.
pub(super) fn new_id() -> MessageId {
    MessageId::new(clock::now(), clock::seed_128())
}

fn frame<D: serde::Serialize>(r#type: &'static str, data: D) -> Frame {
    let (id, timestamp) = (new_id(), clock::now());
    Frame::new(Outgoing { r#type, id: id.as_str(), data, timestamp }.text())
}

/// What was sent is kept: under its own id, or what it names.
pub(super) fn ack(message_id: Option<&str>) -> Frame {
    frame("ack", AckData { message_id, sequence: None })
}

/// An answer to a heartbeat.
pub(super) fn heartbeat_ack(envelope: &Envelope<'_>, outbox: &Outbox) -> Frame {
    let data = HeartbeatAck {
        message_id: envelope.id.as_deref(),
        connection_id: outbox.connection().as_str(),
        sequence: outbox.sequence(),
    };
    frame("heartbeat_ack", data)
}

/// What is missing of an earlier connection, or of what was answered.
pub(super) fn gap(connection: Option<&ConnectionId>, after: u64, reason: &'static str) -> Frame {
    frame("gap", ConnectionGap { connection_id: connection.map(ConnectionId::as_str), after, reason })
}

/// What was sent is no envelope.
pub(super) fn malformed(fault: &EnvelopeFault) -> Frame {
    let kind = if fault.is_not_json { ProblemKind::NotJson } else { ProblemKind::Invalid };
    let told =
        LiveFault { pointer: fault.pointer.map(str::to_owned), ..LiveFault::new(kind, &*fault.message) };
    frames::error(fault.id.as_deref(), &told, clock::now())
}

/// What was sent was not done, for this reason.
pub(super) fn error(kind: ProblemKind, message: &str, id: Option<&str>) -> Frame {
    frames::error(id, &LiveFault::new(kind, message), clock::now())
}

/// What was sent was not done, for the reason that a request over HTTP would be refused for.
pub(super) fn refused(refusal: impl Into<Refusal>, id: Option<&str>) -> Frame {
    frames::error(id, &LiveFault::from(refusal.into()), clock::now())
}
