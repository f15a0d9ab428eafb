//! Frames about channels as agents get them, each written once for all who get it.

use serde::Serialize;
use serde_json::value::RawValue;
use signalbox_core::channel::ChannelMessage;
use signalbox_wire::id::{AgentId, ChannelId, MessageId};
use signalbox_wire::time::Timestamp;

use super::fault::LiveFault;
use crate::transport::outbox::Frame;

/// The envelope.
#[derive(Serialize)]
struct Envelope<'a, D> {
    r#type: &'static str,
    id: &'a str,
    data: D,
    timestamp: Timestamp,
}

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AckData {
    /// The id of the envelope that it is about, or the id that the message got where it had none.
    pub(crate) message_id: String,
    /// Of a durable channel: the place of the message in its history, or where the subscription begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<u64>,
}

fn frame(kind: &'static str, id: &str, data: impl Serialize, timestamp: Timestamp) -> Frame {
    let envelope = Envelope { r#type: kind, id, data, timestamp };
    match serde_json::to_string(&envelope) {
        Ok(text) => Frame::new(text),
        Err(error) => {
            tracing::error!(%error, kind, "a frame could not be written as JSON");
            Frame::new("{}".to_owned())
        }
    }
}

/// A message of a channel, or on a subject.
pub(super) fn message(subject: &str, message: &ChannelMessage, is_durable: bool) -> Frame {
    let data = Message {
        subject,
        channel_id: is_durable.then_some(&message.channel),
        from: message.from.as_ref(),
        payload: &message.payload,
        sequence: is_durable.then_some(message.sequence),
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

pub(super) fn ack(data: &AckData, at: Timestamp) -> Frame {
    frame("ack", &data.message_id, data, at)
}

/// An `error` frame about the envelope with this id.
pub(super) fn error(id: &str, fault: &LiveFault, at: Timestamp) -> Frame {
    /// What an `error` says.
    #[derive(Serialize)]
    struct Error<'a> {
        #[serde(flatten)]
        fault: &'a LiveFault,
        id: &'a str,
    }
    frame("error", id, Error { fault, id }, at)
}
