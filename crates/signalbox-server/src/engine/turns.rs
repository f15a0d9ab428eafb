//! Turns: several things that are made ready at once are sent in the order in which they were started.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Whose turn it is; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Rings when the first has gone.
    moved: Notify,
}

#[derive(Default)]
struct State {
    /// Those that have not gone yet, in their order. Slots bound them.
    waiting: BTreeSet<u64>,
    last: u64,
}

/// The turn of one thing; dropped, it is that of the next.
pub(crate) struct Turn {
    turns: Turns,
    number: u64,
}

impl Turns {
    /// The turn behind all that were taken before.
    pub(crate) fn take(&self) -> Turn {
        let mut state = self.0.state.lock();
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number);
        Turn { turns: self.clone(), number }
    }
}

impl Turn {
    /// Waits until all that were taken before are gone.
    pub(crate) async fn comes(&self) {
        loop {
            let moved = self.turns.0.moved.notified();
            if self.turns.0.state.lock().waiting.first() == Some(&self.number) {
                return;
            }
            moved.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.0.state.lock().waiting.remove(&self.number);
        self.turns.0.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn each_waits_for_those_before_it_and_for_no_others() {
        let turns = Turns::default();
        let [first, second, third] = [(); 3].map(|()| turns.take());
        let mut cx = Context::from_waker(Waker::noop());
        let mut is_due = |turn: &Turn| pin!(turn.comes()).poll(&mut cx).is_ready();
        assert!(is_due(&first) && !is_due(&second) && !is_due(&third));
        drop(second);
        assert!(!is_due(&third), "one that is not sent after all is no reason to overtake");
        drop(first);
        assert!(is_due(&third));
    }
}
