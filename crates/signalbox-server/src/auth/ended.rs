//! What has ended of the credentials that connections rest on, until it is looked at.

use std::collections::VecDeque;

use parking_lot::Mutex;
use signalbox_bus::Ended;
use tokio::sync::Notify;

/// Ended credentials that may wait to be looked at; after more, all are looked at.
const WAITING_MAX: usize = 1_024;

/// Ended credentials that wait to be looked at by whoever tends connections.
#[derive(Default)]
pub(crate) struct EndedQueue {
    waiting: Mutex<VecDeque<Ended>>,
    woken: Notify,
}

impl EndedQueue {
    pub(super) fn push(&self, ended: Ended) {
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() < WAITING_MAX {
                if !waiting.contains(&ended) {
                    waiting.push_back(ended);
                }
            } else if waiting.back() != Some(&Ended::Any) {
                waiting.push_back(Ended::Any);
            }
        }
        self.woken.notify_one();
    }

    /// The next one; there is one reader.
    pub(crate) async fn next(&self) -> Ended {
        loop {
            if let Some(ended) = self.waiting.lock().pop_front() {
                return ended;
            }
            self.woken.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::{KeyId, TenantId};

    use super::*;

    #[tokio::test]
    async fn more_than_can_wait_is_any() {
        let queue = EndedQueue::default();
        let key = |number: usize| {
            Ended::Key(TenantId::default_tenant(), KeyId::parse(&format!("key_{number}")).expect("valid"))
        };
        for number in (0..WAITING_MAX + 5).chain(0..5) {
            queue.push(key(number));
        }
        assert_eq!(queue.next().await, key(0));
        for number in 1..WAITING_MAX {
            assert_eq!(queue.next().await, key(number));
        }
        assert_eq!(queue.next().await, Ended::Any);
        queue.push(key(1));
        queue.push(key(1));
        assert_eq!(queue.next().await, key(1));
        assert!(queue.waiting.lock().is_empty());
    }
}
