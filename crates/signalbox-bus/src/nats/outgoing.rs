//! What is to be sent, within bounds: publishers never wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::Client;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::BusError;

/// Messages that may wait to be sent.
const MESSAGES_MAX: usize = 16_384;
/// Bytes of payloads that may wait to be sent.
const BYTES_MAX: usize = 32 << 20;

/// One message on its way out.
pub(super) struct Parcel {
    pub(super) subject: String,
    pub(super) reply: Option<String>,
    pub(super) payload: Bytes,
    /// When nobody waits for an answer any more: then it is not sent.
    pub(super) until: Option<Instant>,
}

impl Parcel {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// What is to be sent.
pub(super) struct Outgoing {
    sender: mpsc::Sender<Parcel>,
    bytes: AtomicUsize,
}

impl Outgoing {
    pub(super) fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (sender, parcels) = mpsc::channel(MESSAGES_MAX);
        (Self { sender, bytes: AtomicUsize::new(0) }, parcels)
    }

    /// Adds a message, or refuses it.
    pub(super) fn push(&self, parcel: Parcel) -> Result<(), BusError> {
        let bytes = parcel.payload.len();
        let is_room = self.bytes.fetch_add(bytes, Ordering::Relaxed) <= BYTES_MAX.saturating_sub(bytes);
        if is_room && self.sender.try_send(parcel).is_ok() {
            return Ok(());
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(BusError::Unavailable("more waits to be sent than there is room for".to_owned()))
    }

    /// Gives a message to the client, which waits while NATS is away or slow.
    pub(super) async fn send(&self, client: &Client, parcel: Parcel) {
        let is_over = parcel.is_over();
        let Parcel { subject, reply, payload, .. } = parcel;
        let bytes = payload.len();
        if is_over {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        let sent = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, payload).await,
            None => client.publish(subject, payload).await,
        };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Err(error) = sent {
            tracing::warn!(%error, bytes, "a message did not fit on the bus; nobody got it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(bytes: usize) -> Parcel {
        Parcel { subject: "a".to_owned(), reply: None, payload: Bytes::from(vec![0; bytes]), until: None }
    }

    #[test]
    fn a_request_is_over_when_nobody_waits_for_it_any_more() {
        let until = |until| Parcel { until, ..parcel(1) };
        let now = Instant::now();
        assert!(until(Some(now)).is_over());
        assert!(!until(Some(now + std::time::Duration::from_secs(60))).is_over() && !until(None).is_over());
    }

    #[test]
    fn what_is_to_be_sent_is_bounded_in_bytes_and_in_messages() {
        let (outgoing, mut parcels) = Outgoing::new();
        let full = |outgoing: &Outgoing, bytes| {
            matches!(outgoing.push(parcel(bytes)), Err(BusError::Unavailable(_)))
        };
        for _ in 0..32 {
            assert!(!full(&outgoing, 1 << 20));
        }
        assert!(full(&outgoing, 1));
        assert_eq!(outgoing.bytes.load(Ordering::Relaxed), BYTES_MAX, "what was refused takes no room");
        while parcels.try_recv().is_ok() {}
        let (outgoing, _parcels) = Outgoing::new();
        for _ in 0..MESSAGES_MAX {
            assert!(!full(&outgoing, 0));
        }
        assert!(full(&outgoing, 0));
    }
}
