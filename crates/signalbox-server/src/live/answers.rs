//! What the server says over a connection in answer to what the agent said.

use signalbox_wire::artcafe::live::{
    AckData, ConnectionGap, Envelope, EnvelopeFault, ErrorData, HeartbeatAck, Outgoing,
};
use signalbox_wire::id::MessageId;
use signalbox_wire::problem_kind::ProblemKind;

use crate::clock;
use crate::http::problem::Refusal;
use crate::transport::outbox::{Frame, Outbox};

/// An id for what the server says by itself.
pub(super) fn new_id() -> MessageId {
    MessageId::new(clock::now(), clock::seed_128())
}

fn frame<D: serde::Serialize>(r#type: &'static str, data: D) -> Frame {
    let (id, timestamp) = (new_id(), clock::now());
    Frame::new(Outgoing { r#type, id: id.as_str(), data, timestamp }.text())
}

/// What was sent is kept.
pub(super) fn ack(message_id: &str) -> Frame {
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

/// The connection that was named cannot be gone on with.
pub(super) fn gap(connection_id: &str, after: u64) -> Frame {
    let reason = "the connection is not known here any more: what was live is gone; tasks, commands and messages that \
                  it had not acknowledged come again, under their ids";
    frame("gap", ConnectionGap { connection_id, after, reason })
}

/// What was sent is no envelope.
pub(super) fn malformed(fault: &EnvelopeFault) -> Frame {
    let kind = if fault.is_not_json { ProblemKind::NotJson } else { ProblemKind::Invalid };
    frame(
        "error",
        ErrorData {
            code: kind.name(),
            message: &fault.message,
            id: fault.id.as_deref(),
            pointer: fault.pointer,
            retry_after: None,
        },
    )
}

/// What was sent was not done, for this reason.
pub(super) fn error(kind: ProblemKind, message: &str, id: Option<&str>) -> Frame {
    frame("error", ErrorData { code: kind.name(), message, id, pointer: None, retry_after: None })
}

/// What was sent was not done, for the reason that a request over HTTP would be refused for.
pub(super) fn refused(refusal: impl Into<Refusal>, id: Option<&str>) -> Frame {
    let problem = refusal.into().0;
    let code = problem.kind.to_string();
    // The first fault says where; the others are told as the agent mends one after the other.
    let first = problem.errors.first();
    let pointer = first.map(|fault| fault.pointer.as_str());
    let message = first.map_or_else(|| problem.detail.clone(), ToString::to_string);
    frame(
        "error",
        ErrorData { code: &code, message: &message, id, pointer, retry_after: problem.retry_after_s },
    )
}
