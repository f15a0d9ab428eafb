//! The ways to the database: the writing connection's thread, and readers, who wait until the tables have what they read.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::job::{Closure, Job};
use super::pending::Parts;
use super::readers::Readers;
use super::writer::Shared;
use crate::error::StoreError;

/// What everything that asks the database goes through; cheap to clone.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) shared: Arc<Shared>,
    pub(super) readers: Arc<Readers>,
    pub(super) patience: Duration,
}

impl Access {
    /// Does `work` on the writing connection within a physical commit, then `settle` before the answer.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        settle: impl FnMut(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.shared.queue.push(Job::Errand(Box::new(Closure { work, settle, result: None, answer })))?;
        self.in_time(answered).await?
    }

    /// Waits until the tables have everything of these parts that has been committed before.
    pub(super) async fn applied(&self, parts: Parts) -> Result<(), StoreError> {
        self.try_apply(parts).await?
    }

    /// Has the tables take everything of these parts that has been committed before; whether they did.
    async fn try_apply(&self, parts: Parts) -> Result<Result<(), StoreError>, StoreError> {
        if !self.shared.pending.has(parts) {
            return Ok(Ok(()));
        }
        let (answer, answered) = oneshot::channel();
        // A read is no write that could be refused: there are no more of them than callers.
        self.shared.queue.push_over(Job::Apply(answer))?;
        self.in_time(answered).await
    }

    async fn in_time<T>(&self, answered: oneshot::Receiver<T>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.patience, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(StoreError::Unavailable("the writer has ended".to_owned())),
            Err(_) => Err(StoreError::Unavailable(format!("not done within {} s", self.patience.as_secs()))),
        }
    }

    /// Runs a query of microseconds here, over tables that have everything of these parts.
    pub(super) async fn point<T>(
        &self,
        parts: Parts,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.applied(parts).await?;
        self.readers.point(query)
    }

    /// Runs a query that may take long, away from the async threads.
    pub(super) async fn list<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.try_apply(Parts::ALL).await?.is_err() {
            return self.look(query).await;
        }
        let readers = Arc::clone(&self.readers);
        match tokio::task::spawn_blocking(move || readers.list(query)).await {
            Ok(answer) => answer,
            Err(error) => Err(StoreError::Unavailable(format!("the query was not finished: {error}"))),
        }
    }

    /// Runs a query over tables that do not take what waits, as if they had.
    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |tables: Result<&Connection, StoreError>| {
            if !answer.is_closed() {
                let _gone = answer.send(tables.and_then(query));
            }
        });
        self.shared.queue.push_over(Job::Look(look))?;
        self.in_time(answered).await?
    }
}
