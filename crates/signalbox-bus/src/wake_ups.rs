//! Wake-ups: what one part of a server tells the others at once, on this node and on the others.
//!
//! A wake-up only says that there is something to look at in the store. One that is lost costs a moment, because
//! whoever waits for one also polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signalbox_wire::id::{CommandId, NodeId, TenantId};
use signalbox_wire::time::Timestamp;

use crate::ended::{Ended, EndedCredentials};
use crate::{Buffer, Bus, Bytes, Pattern, Received, Subject, Subscription};

/// Wake-ups of due work that may wait to be looked at: one that is due soon must not be lost to one that is due later.
const DUE_WORK: Buffer = Buffer::Bounded { messages: 1_024, bytes: 1 << 16 };

/// Sends wake-ups and subscribes to them; cheap to clone.
#[derive(Debug, Clone)]
pub struct WakeUps {
    bus: Bus,
    node: NodeId,
    /// How many on this node wait for a log to grow.
    log_readers: Arc<AtomicUsize>,
}

/// A subscription to one kind of wake-up. While the bus is away none comes and polls alone find
/// what is new; when it is back, one comes that says nothing but that some may have been missed.
#[derive(Debug)]
pub struct Woken {
    subscription: Option<Subscription>,
    _reader: Option<LogReader>,
}

/// Somebody who waits for a log to grow; no longer once it is dropped.
#[derive(Debug)]
struct LogReader(Arc<AtomicUsize>);

impl Drop for LogReader {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WakeUps {
    /// The wake-ups of `node`, over `bus`.
    #[must_use]
    pub fn new(bus: Bus, node: NodeId) -> Self {
        Self { bus, node, log_readers: Arc::default() }
    }

    /// A tenant's log has come to `sequence`.
    pub fn log_grew(&self, tenant: &TenantId, sequence: u64) {
        // Every commit comes by here: where nobody reads any log, not even the subject is named.
        if self.log_readers.load(Ordering::Relaxed) == 0 && !self.bus.reaches_other_nodes() {
            return;
        }
        self.bus.wake(|| (Subject::log(tenant), Bytes::copy_from_slice(&sequence.to_be_bytes())));
    }

    /// Work of a kind is due at `at`, and may be taken by another node. This node's own jobs are woken directly.
    pub fn work_is_due(&self, kind: &str, at: Timestamp) {
        if self.bus.reaches_other_nodes() {
            self.bus.wake(|| (Subject::due_work(kind), due_payload(&self.node, at)));
        }
    }

    /// A credential has ended: what is remembered of credentials is to be forgotten, and its connections end.
    pub fn credential_ended(&self, ended: &Ended) {
        self.bus.wake(|| (Subject::revoked_keys(), ended.to_bytes()));
    }

    /// Whether everything that others do is told here now, where others use the same database or not.
    #[must_use]
    pub fn tells_all(&self, has_others: bool) -> bool {
        !has_others || (self.bus.reaches_other_nodes() && self.bus.outage().is_none())
    }

    /// Nothing more comes of a command.
    pub fn command_ended(&self, tenant: &TenantId, command: &CommandId) {
        self.bus.wake(|| (Subject::command(tenant, command), Bytes::new()));
    }

    /// Is woken when nothing more comes of a command.
    pub async fn ended_command(&self, tenant: &TenantId, command: &CommandId) -> Woken {
        self.woken_by(&Subject::command(tenant, command), Buffer::Newest).await
    }

    /// Is woken when a tenant's log grows.
    pub async fn log(&self, tenant: &TenantId) -> Woken {
        self.log_readers.fetch_add(1, Ordering::Relaxed);
        let reader = Some(LogReader(Arc::clone(&self.log_readers)));
        Woken { _reader: reader, ..self.woken_by(&Subject::log(tenant), Buffer::Newest).await }
    }

    /// Is woken when another node has added work of this kind.
    pub async fn due_work(&self, kind: &str) -> Woken {
        self.woken_by(&Subject::due_work(kind), DUE_WORK).await
    }

    /// Is woken when keys were revoked on any node.
    pub async fn revoked_keys(&self) -> Woken {
        self.woken_by(&Subject::revoked_keys(), Buffer::Newest).await
    }

    /// Is told of credentials that have ended, on any node.
    pub async fn ended_credentials(&self) -> EndedCredentials {
        EndedCredentials::subscribe(&self.bus).await
    }

    /// When the work is due that a wake-up tells of; `None` for one that this node has sent itself. Where some may have
    /// been missed, work may be due already.
    #[must_use]
    pub fn due_at(&self, payload: &[u8]) -> Option<Timestamp> {
        if payload.is_empty() {
            return Some(Timestamp::from_micros(0));
        }
        let (at, node) = payload.split_first_chunk::<8>()?;
        (node != self.node.as_str().as_bytes()).then(|| Timestamp::from_micros(i64::from_be_bytes(*at)))
    }

    async fn woken_by(&self, subject: &Subject, buffer: Buffer) -> Woken {
        let subscription = self.bus.subscribe(&Pattern::exactly(subject), buffer).await.ok();
        Woken { subscription, _reader: None }
    }
}

impl Woken {
    /// Waits for the next wake-up and gives what it says. Without a bus it never comes.
    pub async fn next(&mut self) -> Bytes {
        let Some(subscription) = &mut self.subscription else { return std::future::pending().await };
        match subscription.recv().await {
            Received::Message(message) => message.payload,
            Received::Missed(_) => Bytes::new(),
        }
    }

    /// Waits for the next wake-up of a log and gives the sequence that it has come to; 0 where that is not known.
    pub async fn sequence(&mut self) -> u64 {
        self.next().await.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

fn due_payload(node: &NodeId, at: Timestamp) -> Bytes {
    [&at.as_micros().to_be_bytes()[..], node.as_str().as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_another_node_adds_wakes_this_one_and_its_own_does_not() {
        let node = |id| NodeId::parse(id).expect("valid");
        let bus = Bus::local();
        let here = WakeUps::new(bus.clone(), node("nod_here"));
        let mut woken = here.due_work("timer").await;
        let at = Timestamp::from_seconds(7);
        bus.publish(&Subject::due_work("delivery"), due_payload(&node("nod_there"), at)).expect("published");
        bus.publish(&Subject::due_work("timer"), due_payload(&node("nod_there"), at)).expect("published");
        assert_eq!(here.due_at(&woken.next().await), Some(at));
        let later = Timestamp::from_seconds(3_600);
        for due in [at, later] {
            bus.publish(&Subject::due_work("timer"), due_payload(&node("nod_there"), due))
                .expect("published");
        }
        assert_eq!(here.due_at(&woken.next().await), Some(at), "what is due sooner is not lost");
        assert_eq!(here.due_at(&woken.next().await), Some(later));
        assert_eq!(here.due_at(&due_payload(&node("nod_here"), at)), None);
        assert_eq!(here.due_at(b"short"), None);
        assert!(here.due_at(b"").is_some_and(|due| due < at), "some may have been missed");
    }

    #[tokio::test]
    async fn a_log_that_grew_says_how_far() {
        let bus = Bus::local();
        let wake_ups = WakeUps::new(bus, NodeId::parse("nod_a").expect("valid"));
        let tenant = TenantId::default_tenant();
        let mut log = wake_ups.log(&tenant).await;
        let mut keys = wake_ups.revoked_keys().await;
        for sequence in [1, 2, 3] {
            wake_ups.log_grew(&tenant, sequence);
        }
        wake_ups.credential_ended(&Ended::Any);
        assert_eq!((log.sequence().await, keys.next().await.len()), (3, 0));
    }
}
