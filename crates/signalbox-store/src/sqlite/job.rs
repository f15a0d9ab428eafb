//! What the writer is given to do: commits, and errands that need the one writing connection.

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::api::Committed;
use crate::commit::Commit;
use crate::error::StoreError;

/// One thing to do within a physical commit.
pub(super) enum Job {
    /// Apply a decision.
    Commit(Box<Commit>, Answer),
    /// Do something else.
    Errand(Box<dyn Errand>),
    /// Write to the tables what waits in the redo log.
    Apply(ApplyAnswer),
    /// Look at the tables as they would be with what waits there.
    Look(Look),
}

/// Somebody who looks at the tables, and answers whoever asked.
pub(super) type Look = Box<dyn FnOnce(Result<&Connection, StoreError>) + Send>;

/// Where it is told that the tables have everything that was committed before.
pub(super) type ApplyAnswer = oneshot::Sender<Result<(), StoreError>>;

/// Where the answer to a commit goes. The commit goes back with it: whoever made it takes it apart.
pub(super) type Answer = oneshot::Sender<Result<(Committed, Box<Commit>), StoreError>>;

/// Something that needs the writing connection. It runs again when its batch is rolled back.
pub(super) trait Errand: Send {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool;

    /// Does it, within a transaction.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Is told once that its transaction is committed.
    fn settle(&mut self);

    /// Answers whoever waits.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// An errand made of closures.
pub(super) struct Closure<T, W, S> {
    pub(super) work: W,
    /// Called once the work is committed, before the answer.
    pub(super) settle: S,
    pub(super) result: Option<T>,
    pub(super) answer: oneshot::Sender<Result<T, StoreError>>,
}

impl Job {
    /// Whether somebody still waits for it. Whoever has given up is not told what became of it.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::Commit(_, answer) => !answer.is_closed(),
            Self::Errand(errand) => errand.is_wanted(),
            Self::Apply(answer) => !answer.is_closed(),
            Self::Look(_) => true,
        }
    }

    /// Answers that it was not done.
    pub(super) fn refuse(self, error: &StoreError) {
        match self {
            Self::Commit(_, answer) => {
                let _gone = answer.send(Err(error.clone()));
            }
            Self::Errand(errand) => errand.answer(Err(error.clone())),
            Self::Apply(answer) => {
                let _gone = answer.send(Err(error.clone()));
            }
            Self::Look(look) => look(Err(error.clone())),
        }
    }
}

impl<T, W, S> Errand for Closure<T, W, S>
where
    T: Send,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    S: FnMut(&T) + Send,
{
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn settle(&mut self) {
        if let Some(result) = &self.result {
            (self.settle)(result);
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { result, answer, .. } = *self;
        let undone = || StoreError::Unavailable("it was not done".to_owned());
        let _gone = answer.send(outcome.and_then(|()| result.ok_or_else(undone)));
    }
}
