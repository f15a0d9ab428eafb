//! Room for deliveries: how many may be in flight, in all and to one destination, how many may wait for their
//! destination, and each destination's circuit breaker.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_core::breaker::{Breaker, Permission};
use signalbox_wire::time::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Destinations remembered at once; over it, those that nobody uses are forgotten.
const DESTINATIONS_MAX: usize = 10_000;
/// Deliveries that may wait for their destination, for each that may be in flight to it.
const WAITING_PER_SLOT: usize = 8;
/// Deliveries that may wait in all, for each that may be in flight in all.
const WAITING_PER_SLOT_IN_ALL: usize = 4;

/// Room for deliveries; cheap to clone.
#[derive(Clone)]
pub(crate) struct Deliveries(Arc<Inner>);

struct Inner {
    all: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    per_destination: usize,
    destinations: Mutex<HashMap<String, Arc<Destination>>>,
}

/// One place that is delivered to.
pub(crate) struct Destination {
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
}

/// Room that was reserved.
pub(crate) struct Slots(OwnedSemaphorePermit);

/// The right to call one destination now.
pub(crate) struct DestinationPermit {
    at: OwnedSemaphorePermit,
    slot: Option<Slots>,
}

impl DestinationPermit {
    /// Leaves the destination to the next one; the slot remains.
    pub(crate) fn leave(self) -> Option<Slots> {
        drop(self.at);
        self.slot
    }
}

impl Deliveries {
    pub(crate) fn new(all: usize, per_destination: usize) -> Self {
        Self(Arc::new(Inner {
            all: Arc::new(Semaphore::new(all)),
            waiting: Arc::new(Semaphore::new(all.saturating_mul(WAITING_PER_SLOT_IN_ALL))),
            per_destination: per_destination.max(1),
            destinations: Mutex::default(),
        }))
    }

    /// Reserves room for `count` deliveries, if there is that much.
    pub(crate) fn reserve(&self, count: usize) -> Option<Slots> {
        let count = u32::try_from(count).ok()?;
        Arc::clone(&self.0.all).try_acquire_many_owned(count).ok().map(Slots)
    }

    /// Reserves whatever room there is, up to `most`.
    pub(crate) fn reserve_up_to(&self, most: usize) -> Option<(Slots, usize)> {
        let free = self.0.all.available_permits().min(most);
        if free == 0 {
            return None;
        }
        self.reserve(free).map(|slots| (slots, free))
    }

    /// Waits until there is room for one more, and reserves it.
    pub(crate) async fn slot(&self) -> Option<Slots> {
        Arc::clone(&self.0.all).acquire_owned().await.ok().map(Slots)
    }

    /// A permit at `destination` and the slot to use it. One that has to wait gives its slot back meanwhile, so
    /// that a slow destination holds up only itself. `None` when so many wait already that another must come
    /// again later.
    pub(crate) async fn permit(
        &self,
        destination: &Destination,
        slot: Option<Slots>,
    ) -> Option<DestinationPermit> {
        let slot = match destination.permit_now(slot) {
            Ok(permit) => return Some(permit),
            Err(slot) => slot,
        };
        let (_here, _anywhere) = (destination.queue.try_acquire().ok()?, self.0.waiting.try_acquire().ok()?);
        drop(slot);
        let at = Arc::clone(&destination.slots).acquire_owned().await.ok()?;
        Some(DestinationPermit { at, slot: self.slot().await })
    }

    /// The destination at `authority` (host and port).
    pub(crate) fn destination(&self, authority: &str) -> Arc<Destination> {
        let mut destinations = self.0.destinations.lock();
        if let Some(known) = destinations.get(authority) {
            return Arc::clone(known);
        }
        if destinations.len() >= DESTINATIONS_MAX {
            destinations.retain(|_, destination| Arc::strong_count(destination) > 1);
        }
        let fresh = Arc::new(Destination {
            slots: Arc::new(Semaphore::new(self.0.per_destination)),
            queue: Arc::new(Semaphore::new(self.0.per_destination * WAITING_PER_SLOT)),
            breaker: Mutex::default(),
        });
        destinations.insert(authority.to_owned(), Arc::clone(&fresh));
        fresh
    }
}

impl Slots {
    /// Splits one slot off; the last one takes what remains.
    pub(crate) fn split(&mut self) -> Option<Self> {
        self.0.split(1).map(Self)
    }
}

impl Destination {
    /// A permit where nobody has to wait for one; else the slot back.
    pub(crate) fn permit_now(&self, slot: Option<Slots>) -> Result<DestinationPermit, Option<Slots>> {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(at) => Ok(DestinationPermit { at, slot }),
            Err(_) => Err(slot),
        }
    }

    /// Asks the breaker for permission.
    pub(crate) fn ask(&self, now: Timestamp) -> Permission {
        self.breaker.lock().ask(now)
    }

    /// Tells the breaker how an attempt ended: reached, failed, or nothing learned.
    pub(crate) fn tell(&self, is_reached: Option<bool>, now: Timestamp) {
        let mut breaker = self.breaker.lock();
        match is_reached {
            Some(true) => breaker.succeeded(),
            Some(false) => breaker.failed(now),
            None => breaker.abandoned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_bounded_in_all_and_for_one_destination() {
        let deliveries = Deliveries::new(2, 1);
        let mut both = deliveries.reserve(2).expect("room");
        assert!(deliveries.reserve(1).is_none() && deliveries.reserve_up_to(5).is_none());
        drop(both.split());
        assert_eq!(deliveries.reserve_up_to(5).map(|(_, count)| count), Some(1));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_destination_holds_up_nobody_else() {
        let deliveries = Deliveries::new(2, 1);
        let destination = deliveries.destination("a:1");
        let permit = deliveries.permit(&destination, deliveries.reserve(1)).await.expect("a permit");
        let waiting: Vec<_> = (0..WAITING_PER_SLOT)
            .map(|_| {
                let (deliveries, destination) = (deliveries.clone(), Arc::clone(&destination));
                tokio::spawn(async move {
                    let slot = deliveries.slot().await;
                    deliveries.permit(&destination, slot).await.is_some()
                })
            })
            .collect();
        while destination.queue.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(
            deliveries.permit(&destination, deliveries.reserve(1)).await.is_none(),
            "too many wait already"
        );
        let other = deliveries.destination("b:1");
        assert!(deliveries.permit(&other, deliveries.reserve(1)).await.is_some(), "and another goes out");
        drop(permit);
        for task in waiting {
            assert!(task.await.expect("no panic"));
        }
    }
}
