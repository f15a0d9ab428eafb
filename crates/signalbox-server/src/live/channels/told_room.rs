//! Room for what other nodes tell of the tenants here and was not taken in yet, shared by all tenants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signalbox_bus::Buffer;

/// Messages that may wait to be taken in, of one subscription.
pub(super) const MESSAGES_MAX: usize = 65_536;
/// Bytes that may wait for all tenants; each gets a part of what is left, and room for one message in any case.
const BYTES_MAX: usize = 512 << 20;
/// Which part one tenant gets.
const PART: usize = 16;
/// The largest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The room of all tenants; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ToldRoom(Arc<AtomicUsize>);

/// A tenant's part, until this is dropped.
#[derive(Debug)]
pub(super) struct Part {
    room: ToldRoom,
    bytes: usize,
}

impl ToldRoom {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(BYTES_MAX)))
    }

    /// A part of what is left.
    pub(super) fn part(&self) -> Part {
        let mut bytes = 0;
        let take = |left: usize| {
            bytes = left / PART;
            Some(left - bytes)
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Part { room: self.clone(), bytes }
    }
}

impl Part {
    /// What may wait of each of two subscriptions.
    pub(super) fn half(&self) -> Buffer {
        Buffer::Bounded { messages: MESSAGES_MAX, bytes: (self.bytes / 2).max(MESSAGE_BYTES_MAX) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_share_what_may_wait() {
        let room = ToldRoom::new();
        let parts: Vec<Part> = (0..1_000).map(|_| room.part()).collect();
        let taken: usize = parts.iter().map(|part| part.bytes).sum();
        assert_eq!(taken + room.0.load(Ordering::Relaxed), BYTES_MAX);
        let bytes = |part: &Part| match part.half() {
            Buffer::Bounded { bytes, .. } => bytes,
            Buffer::Newest => 0,
        };
        assert_eq!((bytes(&parts[0]), bytes(&parts[999])), (16 << 20, MESSAGE_BYTES_MAX));
        drop(parts);
        assert_eq!(room.0.load(Ordering::Relaxed), BYTES_MAX);
    }
}
