//! TLS handshakes that are under way. Where there are too many, the oldest is given up for the newest: a peer that is slow
//! keeps nobody else out.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Handshakes at once.
const HANDSHAKES_MAX: usize = 1_024;

/// All that are under way; cheap to clone.
#[derive(Clone)]
pub(super) struct Handshakes {
    open: Arc<Mutex<Open>>,
    most: usize,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// The oldest first.
    pushed_out: BTreeMap<u64, CancellationToken>,
}

/// One that is under way, until this is dropped.
pub(super) struct Handshake {
    all: Handshakes,
    number: u64,
    pushed_out: CancellationToken,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { open: Arc::default(), most: HANDSHAKES_MAX }
    }
}

impl Handshakes {
    /// Begins one.
    pub(super) fn begin(&self) -> Handshake {
        let mut open = self.open.lock();
        let (number, pushed_out) = (open.next, CancellationToken::new());
        open.next += 1;
        open.pushed_out.insert(number, pushed_out.clone());
        if open.pushed_out.len() > self.most
            && let Some((_, oldest)) = open.pushed_out.pop_first()
        {
            oldest.cancel();
        }
        Handshake { all: self.clone(), number, pushed_out }
    }
}

impl Handshake {
    /// Waits until it has to end for the sake of others.
    pub(super) async fn pushed_out(&self) {
        self.pushed_out.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.all.open.lock().pushed_out.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ends_where_there_are_too_many() {
        let handshakes = Handshakes { most: 2, ..Handshakes::default() };
        let (first, second) = (handshakes.begin(), handshakes.begin());
        assert!(!first.pushed_out.is_cancelled());
        let third = handshakes.begin();
        assert!(first.pushed_out.is_cancelled());
        drop((first, second));
        let fourth = handshakes.begin();
        assert!(!third.pushed_out.is_cancelled() && !fourth.pushed_out.is_cancelled());
        drop((third, fourth));
        assert!(handshakes.open.lock().pushed_out.is_empty());
    }
}
