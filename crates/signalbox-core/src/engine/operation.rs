//! What an operation is: something that happens, and a pure function that says what it changes.

use crate::decision::Key;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Something that happens: what it changes follows from the stored state and the context alone.
pub trait Operation {
    /// What whoever asked is told.
    type Output;

    /// Rows that it asks for in any case. Whoever drives it may show them from the start, which saves running
    /// it once for each; it decides the same without.
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }

    /// Decides what changes.
    ///
    /// # Errors
    /// [`Halt::Need`] when it must see more first; [`Halt::Rejected`] when it is refused; [`Halt::Long`] when it takes
    /// longer than it may.
    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt>;
}

impl<O: Operation + ?Sized> Operation for &O {
    type Output = O::Output;

    fn keys(&self) -> Vec<Key> {
        (**self).keys()
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        (**self).decide(snapshot, context)
    }
}
