//! What the writer is given to do: commits, and errands that need the one writing connection.

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::api::Committed;
use crate::commit::Commit;
use crate::error::StoreError;

/// One thing to do within a physical commit.
pub(super) enum Job {
    /// Apply a decision.
    Commit(Box<Commit>, oneshot::Sender<Result<Committed, StoreError>>),
    /// Do something else.
    Errand(Box<dyn Errand>),
}

/// Something that needs the writing connection. It runs again when its batch is rolled back.
pub(super) trait Errand: Send {
    /// Does it, within a transaction.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Is told how the transaction ended.
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// An errand made of closures.
pub(super) struct Closure<T, W, S> {
    pub(super) work: W,
    /// Called once the work is committed, before the answer.
    pub(super) settle: S,
    pub(super) result: Option<T>,
    pub(super) answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, W, S> Errand for Closure<T, W, S>
where
    T: Send,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    S: FnOnce(&T) + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { settle, result, answer, .. } = *self;
        let outcome = match (outcome, result) {
            (Ok(()), Some(result)) => {
                settle(&result);
                Ok(result)
            }
            (Ok(()), None) => Err(StoreError::Unavailable("it was not done".to_owned())),
            (Err(error), _) => Err(error),
        };
        // Whoever asked may have gone.
        let _gone = answer.send(outcome);
    }
}
