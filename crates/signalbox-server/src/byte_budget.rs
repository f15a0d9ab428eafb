//! A bound on the bytes that many things hold in memory together: bodies that are being received, bodies that are
//! being sent.
//!
//! What is small does not draw from it, so that the usual request pays nothing; how many small ones there can be at
//! once is bounded elsewhere (connections, deliveries in flight).

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes up to which nothing is drawn.
pub(crate) const FREE_BYTES: u64 = 16 << 10;
/// Bytes that are drawn at once, at least.
const UNIT: u64 = 1 << 10;

/// What is measured of a budget.
#[derive(Debug, Clone, Default)]
pub(crate) struct BudgetFigures {
    /// Bytes held now.
    pub(crate) held: Gauge,
    /// How often something did not fit.
    pub(crate) short: Counter,
}

/// The bytes that may be held at once; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ByteBudget {
    left: Arc<Semaphore>,
    figures: BudgetFigures,
}

/// A part of a budget; it goes back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    drawn: Option<Drawn>,
}

#[derive(Debug)]
struct Drawn {
    permit: OwnedSemaphorePermit,
    figures: BudgetFigures,
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.figures.held.dec_by(bytes_of(&self.permit));
    }
}

impl ByteBudget {
    pub(crate) fn new(bytes_max: u64, figures: BudgetFigures) -> Self {
        Self { left: Arc::new(Semaphore::new(units(bytes_max) as usize)), figures }
    }

    /// For what is counted elsewhere.
    pub(crate) fn unbounded() -> Self {
        Self::new(u64::from(u32::MAX) * UNIT, BudgetFigures::default())
    }

    /// Makes `share` one of `bytes` in all, if there is that much; else it stays as it is.
    pub(crate) fn grow(&self, share: &mut Share, bytes: u64) -> bool {
        let Some(more) = missing(share, bytes) else { return true };
        if let Ok(permit) = Arc::clone(&self.left).try_acquire_many_owned(more) {
            self.add(share, permit);
            return true;
        }
        self.figures.short.inc();
        false
    }

    /// Makes `share` one of `bytes` in all, whenever there is that much.
    pub(crate) async fn grow_when_free(&self, share: &mut Share, bytes: u64) {
        if self.grow(share, bytes) {
            return;
        }
        let Some(more) = missing(share, bytes) else { return };
        // It is never closed.
        if let Ok(permit) = Arc::clone(&self.left).acquire_many_owned(more).await {
            self.add(share, permit);
        }
    }

    fn add(&self, share: &mut Share, permit: OwnedSemaphorePermit) {
        self.figures.held.inc_by(bytes_of(&permit));
        match &mut share.drawn {
            Some(drawn) => drawn.permit.merge(permit),
            None => share.drawn = Some(Drawn { permit, figures: self.figures.clone() }),
        }
    }
}

/// Units that `share` lacks for `bytes` in all.
fn missing(share: &Share, bytes: u64) -> Option<u32> {
    if bytes <= FREE_BYTES {
        return None;
    }
    let has = share.drawn.as_ref().map_or(0, |drawn| drawn.permit.num_permits());
    let has = u32::try_from(has).unwrap_or(u32::MAX);
    Some(units(bytes).saturating_sub(has)).filter(|more| *more > 0)
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

fn bytes_of(permit: &OwnedSemaphorePermit) -> i64 {
    i64::try_from(permit.num_permits() as u64 * UNIT).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_never_exceeds_the_budget_and_comes_back() {
        let figures = BudgetFigures::default();
        let budget = ByteBudget::new(100 << 10, figures.clone());
        let (mut one, mut other) = (Share::default(), Share::default());
        assert!(budget.grow(&mut one, 40 << 10));
        assert!(budget.grow(&mut one, 30 << 10), "it has that much");
        assert!(budget.grow(&mut one, 60 << 10));
        assert_eq!(figures.held.get(), 60 << 10);
        assert!(!budget.grow(&mut other, 41 << 10));
        assert_eq!((figures.held.get(), figures.short.get()), (60 << 10, 1));
        assert!(budget.grow(&mut other, 40 << 10));
        drop(one);
        drop(other);
        assert_eq!(figures.held.get(), 0);
        assert!(budget.grow(&mut Share::default(), 100 << 10));
    }

    #[test]
    fn what_is_small_draws_nothing() {
        let budget = ByteBudget::new(0, BudgetFigures::default());
        assert!(budget.grow(&mut Share::default(), FREE_BYTES));
        assert!(!budget.grow(&mut Share::default(), FREE_BYTES + 1));
    }

    #[tokio::test]
    async fn what_waits_gets_its_share_when_another_is_given_back() {
        let budget = ByteBudget::new(64 << 10, BudgetFigures::default());
        let (mut one, mut other) = (Share::default(), Share::default());
        budget.grow_when_free(&mut one, 64 << 10).await;
        let waiting = budget.grow_when_free(&mut other, 32 << 10);
        tokio::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).await.is_pending());
        drop(one);
        waiting.await;
        assert!(!budget.grow(&mut Share::default(), 33 << 10));
    }

    /// What one look at a future shows.
    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await
    }
}
