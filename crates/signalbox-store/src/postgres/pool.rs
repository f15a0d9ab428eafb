//! The connections that read: few, shared, and never waited for longer than the caller's patience.

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Metrics, Object, Pool as Connections, PoolError,
    RecyclingMethod, Runtime,
};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};

use super::fault;
use super::pipeline::{PendingQuery, enqueue};
use super::sql::REPLAN;
use super::target::Target;
use crate::StoreError;

/// Connections that read, at most.
const CONNECTIONS_MAX: usize = 8;

/// The reading connections.
#[derive(Clone)]
pub(super) struct Pool {
    connections: Connections,
    patience: Duration,
}

impl Pool {
    /// A pool for this database; connections are made when they are needed.
    pub(super) fn new(target: Target) -> Result<Self, StoreError> {
        let patience = target.patience;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connections = Connections::builder(Manager::from_connect(Config::new(), target, recycling))
            .max_size(CONNECTIONS_MAX)
            .pre_recycle(replanning())
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .build()
            .map_err(|error| StoreError::Open(format!("no pool of connections: {error}")))?;
        Ok(Self { connections, patience })
    }

    /// The rows that a statement answers. It may be run twice, when its connection turns out to be gone.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        match timeout(self.patience, self.attempt(sql, parameters)).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable("PostgreSQL did not answer in time".to_owned())),
        }
    }

    /// The rows that each of these statements answers with its values: all are sent before the first answer is awaited.
    /// They may be run twice, when their connection turns out to be gone.
    pub(super) async fn query_all(
        &self,
        asked: &[(&str, Vec<&(dyn ToSql + Sync)>)],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let attempts = async {
            let mut is_again = false;
            loop {
                let lent = Lent(Some(self.connection().await?));
                match lent.run_all(asked).await {
                    Ok(answers) => return Ok(answers),
                    Err(error) if error.is_closed() && !is_again => is_again = true,
                    Err(error) => return Err(fault::of_statement(&error)),
                }
            }
        };
        match timeout(self.patience, attempts).await {
            Ok(answers) => answers,
            Err(_) => Err(StoreError::Unavailable("PostgreSQL did not answer in time".to_owned())),
        }
    }

    /// The rows that a statement answers which must not run twice.
    pub(super) async fn query_once(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let attempt = async {
            let lent = Lent(Some(self.connection().await?));
            lent.run(sql, parameters).await.map_err(|error| fault::of_statement(&error))
        };
        match timeout(self.patience, attempt).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable("PostgreSQL did not answer in time".to_owned())),
        }
    }

    /// The first row that a statement answers.
    pub(super) async fn query_one(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, parameters).await?.into_iter().next())
    }

    /// A connection of one's own for a while.
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        self.connections.get().await.map_err(|error| match error {
            PoolError::Backend(error) => fault::of_connection(&error),
            PoolError::Timeout(_) => {
                StoreError::Unavailable("no connection to PostgreSQL was free in time".to_owned())
            }
            PoolError::Closed => StoreError::Unavailable("the store is closed".to_owned()),
            other => StoreError::Unavailable(format!("no connection to PostgreSQL: {other}")),
        })
    }

    /// How long a caller waits, at most.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Gives out no more connections.
    pub(super) fn close(&self) {
        self.connections.close();
    }

    async fn attempt(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let mut is_again = false;
        loop {
            let lent = Lent(Some(self.connection().await?));
            match lent.run(sql, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(error) if error.is_closed() && !is_again => is_again = true,
                Err(error) => return Err(fault::of_statement(&error)),
            }
        }
    }
}

/// Plans are made anew ever more rarely, as the writer does: [`REPLAN`].
fn replanning() -> Hook {
    Hook::async_fn(|client, metrics: &Metrics| {
        let is_time = metrics.recycle_count.is_power_of_two();
        Box::pin(async move {
            if is_time {
                client.batch_execute(REPLAN).await.map_err(HookError::Backend)?;
            }
            Ok(())
        })
    })
}

/// A connection that goes back to the pool only when it is known to be idle: one on which a statement was
/// given up is closed.
struct Lent(Option<Object>);

impl Lent {
    /// Runs a statement, then gives the connection back if it is known to be idle.
    async fn run(
        self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let answer = self.query(sql, parameters).await;
        self.give_back_after(answer)
    }

    /// Runs several statements at once, then gives the connection back if it is known to be idle.
    async fn run_all(
        self,
        asked: &[(&str, Vec<&(dyn ToSql + Sync)>)],
    ) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        let answers = self.query_all(asked).await;
        self.give_back_after(answers)
    }

    async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Some(connection) = &self.0 else { return Ok(Vec::new()) };
        let statement = connection.prepare_cached(sql).await?;
        connection.query(&statement, parameters).await
    }

    async fn query_all(
        &self,
        asked: &[(&str, Vec<&(dyn ToSql + Sync)>)],
    ) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        let Some(connection) = &self.0 else { return Ok(Vec::new()) };
        let mut flights: Vec<PendingQuery<'_, _, _>> = Vec::with_capacity(asked.len());
        for (sql, parameters) in asked {
            let statement = connection.prepare_cached(sql).await?;
            flights.push(Box::pin(async move { connection.query(&statement, parameters).await }));
        }
        enqueue(flights).await
    }

    fn give_back_after<T>(
        mut self,
        answer: Result<T, tokio_postgres::Error>,
    ) -> Result<T, tokio_postgres::Error> {
        if answer.as_ref().err().is_none_or(|error| error.as_db_error().is_some()) {
            drop(self.0.take());
        }
        answer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
