//! What the nodes tell each other of a tenant's subscribers: messages, requests, who comes and goes.
//!
//! Something on its way between nodes is a line of JSON, what it is, and behind it the bytes of a frame, where it has
//! one. It may be lost: what is durable is then read from the store.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signalbox_wire::id::{AgentId, ChannelId, NodeId, TenantId};

use super::subscriber::Subscribed;
use crate::transport::outbox::Frame;

/// What one node tells the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum Told {
    /// A message was published, with the frame that subscribers get.
    Message {
        from: NodeId,
        /// The subject.
        subject: String,
        /// Of a durable channel: which, and the place in its history.
        channel: Option<(ChannelId, u64)>,
    },
    /// A request for whoever is subscribed to a subject, with the frame that they get.
    Request { from: NodeId, number: u64, subject: String },
    /// An agent has subscribed, or ended that.
    Presence { from: NodeId, agent: AgentId, subject: String, has_come: bool, id: String },
    /// A channel of this name was made, changed or removed.
    Channel { from: NodeId, name: String },
    /// Who is subscribed to a subject?
    Who { from: NodeId, number: u64, subject: String },
}

/// What a node is told that has asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub(super) enum Heard {
    /// A request was given to so many agents.
    Given { count: usize },
    /// Somebody has replied.
    Reply { from: AgentId, payload: Box<RawValue> },
    /// Who is subscribed here.
    Who { agents: Vec<Subscribed> },
}

/// An answer on its way to the node that asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) tenant: TenantId,
    pub(super) number: u64,
    pub(super) heard: Heard,
}

impl Told {
    /// Who tells it.
    pub(super) fn from(&self) -> &NodeId {
        match self {
            Self::Message { from, .. }
            | Self::Request { from, .. }
            | Self::Presence { from, .. }
            | Self::Channel { from, .. }
            | Self::Who { from, .. } => from,
        }
    }

    /// As it goes over the bus.
    pub(super) fn written(&self, frame: Option<&Frame>) -> Option<Bytes> {
        let mut bytes = serde_json::to_vec(self).ok()?;
        bytes.push(b'\n');
        if let Some(frame) = frame {
            bytes.extend_from_slice(&frame.text);
        }
        Some(bytes.into())
    }

    /// As it came over the bus, with the frame behind it.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, Option<Frame>)> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (told, frame) = bytes.split_at(end);
        let frame = frame.get(1..).filter(|frame| !frame.is_empty());
        let frame = frame.map(|frame| Frame { text: Bytes::copy_from_slice(frame) });
        Some((serde_json::from_slice(told).ok()?, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_with_its_frame() {
        let from = NodeId::parse("nod_a").expect("valid");
        let channel = ChannelId::parse("chn_1").expect("valid");
        let told = Told::Message { from, subject: "a.b".to_owned(), channel: Some((channel, 7)) };
        let frame = Frame::new("{\"type\": \"message\",\n\"data\": 1}".to_owned());
        let (read, framed) = Told::read(&told.written(Some(&frame)).expect("written")).expect("read");
        assert_eq!(format!("{read:?}"), format!("{told:?}"));
        assert_eq!(framed.expect("there").text, frame.text);
        let (_, none) = Told::read(&told.written(None).expect("written")).expect("read");
        assert!(none.is_none());
        for junk in [&b""[..], b"\n", b"{}\n", b"{\"kind\":\"who\"}", b"{\"kind\":\"other\"}\nx"] {
            assert!(Told::read(junk).is_none());
        }
    }
}
