//! The bus inside one process. A listener that is slow hears the newest word and misses those between, so
//! that nothing queues up for it; a subject without listeners is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

/// The bus inside one process.
#[derive(Debug, Default)]
pub struct Local {
    subjects: RwLock<HashMap<String, watch::Sender<u64>>>,
}

/// One listener's ear on a subject.
#[derive(Debug)]
pub struct Subscription {
    bus: Arc<Local>,
    subject: String,
    receiver: watch::Receiver<u64>,
}

impl Local {
    pub(crate) fn has_listeners(&self) -> bool {
        !self.subjects.read().is_empty()
    }

    pub(crate) fn publish(&self, subject: &str, sequence: u64) {
        if let Some(sender) = self.subjects.read().get(subject) {
            sender.send_modify(|newest| *newest = sequence.max(*newest));
        }
    }

    pub(crate) fn subscribe(bus: &Arc<Self>, subject: &str) -> Subscription {
        let mut subjects = bus.subjects.write();
        let sender = subjects.entry(subject.to_owned()).or_insert_with(|| watch::channel(0).0);
        Subscription { bus: Arc::clone(bus), subject: subject.to_owned(), receiver: sender.subscribe() }
    }
}

impl Subscription {
    /// Waits until the subject has moved since the last call, and says to where.
    pub async fn recv(&mut self) -> u64 {
        // The sender lives in the bus as long as this listener does, so it cannot be gone.
        let _ = self.receiver.changed().await;
        *self.receiver.borrow_and_update()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subjects = self.bus.subjects.write();
        // This listener is still counted.
        if subjects.get(&self.subject).is_some_and(|sender| sender.receiver_count() <= 1) {
            subjects.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bus, BusError};

    #[tokio::test]
    async fn listeners_hear_the_newest_word_and_only_of_their_subject() {
        let bus = Bus::open("local").expect("local");
        let mut mine = bus.subscribe("a.log");
        let mut also_mine = bus.subscribe("a.log");
        let _other = bus.subscribe("b.log");
        bus.publish(|| "b.log".to_owned(), 9);
        bus.publish(|| "a.log".to_owned(), 1);
        bus.publish(|| "a.log".to_owned(), 3);
        assert_eq!((mine.recv().await, also_mine.recv().await), (3, 3));
        drop(also_mine);
        bus.publish(|| "a.log".to_owned(), 4);
        assert_eq!(mine.recv().await, 4);
    }

    #[test]
    fn a_subject_without_listeners_is_forgotten() {
        let bus = Arc::new(Local::default());
        let one = Local::subscribe(&bus, "a");
        let two = Local::subscribe(&bus, "a");
        drop(one);
        assert_eq!(bus.subjects.read().len(), 1);
        drop(two);
        assert!(bus.subjects.read().is_empty());
    }

    #[test]
    fn an_unknown_bus_is_refused_by_name() {
        assert_eq!(Bus::open("carrier-pigeon").err(), Some(BusError::Unknown("carrier-pigeon".to_owned())));
    }
}
