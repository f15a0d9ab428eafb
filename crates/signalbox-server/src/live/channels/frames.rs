//! Frames about channels as agents get them, each written once for all who get it.

use serde::Serialize;
use serde_json::value::RawValue;
use signalbox_core::channel::ChannelMessage;
use signalbox_wire::artcafe::live::{AckData, ErrorData, Outgoing};
use signalbox_wire::id::{AgentId, ChannelId, MessageId};
use signalbox_wire::time::Timestamp;

use super::fault::LiveFault;
use crate::clock;
use crate::transport::burst::BurstWriter;
use crate::transport::outbox::Frame;

/// What was published.
#[derive(Serialize)]
struct Message<'a> {
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a ChannelId>,
    from: Option<&'a AgentId>,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

/// What a history or a subscription lacks.
#[derive(Debug, Serialize)]
pub(super) struct Gap<'a> {
    /// The subject, or the pattern that was subscribed to.
    pub(super) subject: &'a str,
    /// The channel, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel_id: Option<&'a ChannelId>,
    /// The first and the last sequence that are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_sequence: Option<u64>,
    /// Why.
    pub(super) reason: &'static str,
}

/// Who comes or goes.
#[derive(Serialize)]
struct Presence<'a> {
    event: &'static str,
    agent_id: &'a AgentId,
    subject: &'a str,
}

/// A question to whoever gets it.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    from: &'a AgentId,
    payload: &'a RawValue,
    reply_to: &'a str,
}

/// The answer to a question.
#[derive(Serialize)]
struct Reply<'a> {
    request_id: &'a str,
    from: &'a AgentId,
    payload: &'a RawValue,
}

/// What an `ack` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The id of the envelope that it is about, or the id that the message got where it had none.
    pub(crate) message_id: String,
    /// Of a durable channel: the place of the message in its history, or what the subscription begins after.
    pub(crate) sequence: Option<u64>,
}

fn frame(kind: &'static str, id: &str, data: impl Serialize, timestamp: Timestamp) -> Frame {
    Frame::new(Outgoing { r#type: kind, id, data, timestamp }.text())
}

/// An id for what the server says by itself.
fn new_id(at: Timestamp) -> MessageId {
    MessageId::new(at, clock::seed_128())
}

/// A message of a durable channel.
pub(super) fn message(subject: &str, message: &ChannelMessage) -> Frame {
    let data = Message {
        subject,
        channel_id: Some(&message.channel),
        from: message.from.as_ref(),
        payload: &message.payload,
        sequence: Some(message.sequence),
    };
    frame("message", message.id.as_str(), data, message.at)
}

/// A message on a subject that no channel keeps.
pub(super) fn live_message(
    subject: &str,
    channel: Option<&ChannelId>,
    from: Option<&AgentId>,
    id: &MessageId,
    payload: &RawValue,
    at: Timestamp,
) -> Frame {
    let data = Message { subject, channel_id: channel, from, payload, sequence: None };
    frame("message", id.as_str(), data, at)
}

pub(super) fn gap(id: &str, gap: &Gap<'_>, at: Timestamp) -> Frame {
    frame("gap", id, gap, at)
}

/// That an agent has come (or gone).
pub(super) fn presence(id: &str, agent: &AgentId, subject: &str, has_come: bool, at: Timestamp) -> Frame {
    let event = if has_come { "join" } else { "leave" };
    frame("presence", id, Presence { event, agent_id: agent, subject }, at)
}

pub(super) fn request(
    id: &str,
    subject: Option<&str>,
    from: &AgentId,
    payload: &RawValue,
    reply_to: &str,
    at: Timestamp,
) -> Frame {
    frame("request", id, Request { subject, from, payload, reply_to }, at)
}

pub(super) fn reply(id: &str, request: &str, from: &AgentId, payload: &RawValue, at: Timestamp) -> Frame {
    frame("reply", id, Reply { request_id: request, from, payload }, at)
}

/// Adds what [`live_message`] makes.
pub(super) fn put_live_message(
    burst: &mut BurstWriter,
    subject: &str,
    channel: Option<&ChannelId>,
    from: &AgentId,
    (id, payload): (&str, &RawValue),
    timestamp: Timestamp,
) {
    let data = Message { subject, channel_id: channel, from: Some(from), payload, sequence: None };
    burst.put_with(|text| Outgoing { r#type: "message", id, data, timestamp }.append_to(text));
}

/// Adds what [`ack`] makes.
pub(super) fn put_ack(burst: &mut BurstWriter, message_id: &str, sequence: Option<u64>, at: Timestamp) {
    let (id, data) = (new_id(at), AckData { message_id: Some(message_id), sequence });
    burst.put_with(|text| Outgoing { r#type: "ack", id: id.as_str(), data, timestamp: at }.append_to(text));
}

/// An `ack` frame.
pub(crate) fn ack(acknowledged: &Acknowledged, at: Timestamp) -> Frame {
    let Acknowledged { message_id, sequence } = acknowledged;
    frame("ack", new_id(at).as_str(), AckData { message_id: Some(message_id), sequence: *sequence }, at)
}

/// An `error` frame about the envelope with this id.
pub(crate) fn error(id: Option<&str>, fault: &LiveFault, at: Timestamp) -> Frame {
    let LiveFault { code, message, pointer, retry_after } = fault;
    let data = ErrorData { code, message, id, pointer: pointer.as_deref(), retry_after: *retry_after };
    frame("error", new_id(at).as_str(), data, at)
}
