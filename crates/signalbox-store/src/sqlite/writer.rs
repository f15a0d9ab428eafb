//! The one thread that writes: it takes what waits, makes it one physical commit, then answers everyone.
//!
//! A decision that conflicts answers so and the rest goes on. An error of the database undoes the whole batch
//! and answers `Unavailable` to all in it; an error of one decision is found by writing each on its own. The
//! thread outlives every error and opens its connection anew where that is needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;
use tokio::time::Instant;

use super::apply::{Applied, Batch};
use super::connect;
use super::fault::{fault, is_of_the_request};
use super::job::Job;
use super::queue::Queue;
use super::waiting::WaitingRoutes;
use crate::api::{Committed, WriterFigures};
use crate::cache::Cache;
use crate::error::StoreError;

/// What the writer shares with those who give it work.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) queue: Queue<Job>,
    pub(super) cache: Arc<Cache>,
    pub(super) waiting: WaitingRoutes,
    pub(super) figures: Figures,
    pub(super) batch_max: usize,
}

/// Counts since the process began.
#[derive(Default)]
pub(super) struct Figures {
    commits: AtomicU64,
    decisions: AtomicU64,
    conflicts: AtomicU64,
    commit_micros: AtomicU64,
}

/// How serving a connection ended.
enum Ended {
    /// There is nothing more to write.
    Closed,
    /// The connection is of no more use.
    Broken,
}

impl Shared {
    /// The figures now.
    pub(super) fn figures(&self) -> WriterFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterFigures {
            commits: read(&self.figures.commits),
            decisions: read(&self.figures.decisions),
            conflicts: read(&self.figures.conflicts),
            commit_micros: read(&self.figures.commit_micros),
            queued: self.queue.len() as u64,
        }
    }
}

/// Writes until the queue is closed and empty.
pub(super) fn run(shared: &Shared, connection: Connection) {
    let mut connection = Some(connection);
    loop {
        let Some(open) = connection.take() else {
            match connect::writer(&shared.path) {
                Ok(open) => connection = Some(open),
                Err(error) => {
                    if !refuse_waiting(shared, &fault(&error)) {
                        return;
                    }
                }
            }
            continue;
        };
        match serve(shared, &open) {
            Ended::Broken => tracing::warn!("the connection to the database is opened anew"),
            Ended::Closed => {
                if let Err(error) = open.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                    tracing::warn!(%error, "the log file could not be emptied; the next start does it");
                }
                return;
            }
        }
    }
}

fn refuse_waiting(shared: &Shared, error: &StoreError) -> bool {
    let mut jobs = Vec::new();
    let goes_on = shared.queue.take(shared.batch_max, &mut jobs);
    for job in jobs {
        refuse(job, error);
    }
    goes_on
}

fn serve(shared: &Shared, connection: &Connection) -> Ended {
    let batch = match Batch::new(connection) {
        Ok(batch) => batch,
        Err(error) => {
            tracing::error!(%error, "the database cannot be written");
            return if refuse_waiting(shared, &fault(&error)) { Ended::Broken } else { Ended::Closed };
        }
    };
    let mut writer = Writer { shared, connection, batch };
    let mut jobs = Vec::new();
    while shared.queue.take(shared.batch_max, &mut jobs) {
        if writer.write(&mut jobs).is_err() {
            return Ended::Broken;
        }
    }
    Ended::Closed
}

struct Writer<'a, 'c> {
    shared: &'a Shared,
    connection: &'c Connection,
    batch: Batch<'c>,
}

/// The connection is left in a state that nobody knows.
struct Broken;

impl Writer<'_, '_> {
    /// Writes `jobs` and answers them all.
    fn write(&mut self, jobs: &mut Vec<Job>) -> Result<(), Broken> {
        let started = Instant::now();
        let outcomes = match self.attempt(jobs) {
            Ok(outcomes) => outcomes,
            Err(error) => return self.recover(jobs, &error),
        };
        let count = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        let figures = &self.shared.figures;
        count(&figures.commits, 1);
        count(&figures.decisions, jobs.len() as u64);
        count(&figures.commit_micros, u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        let conflicts = outcomes.iter().filter(|outcome| **outcome == Applied::Conflict).count();
        count(&figures.conflicts, conflicts as u64);
        self.settle(jobs, &outcomes);
        for (job, outcome) in jobs.drain(..).zip(outcomes) {
            answer(job, outcome);
        }
        Ok(())
    }

    fn attempt(&mut self, jobs: &mut [Job]) -> rusqlite::Result<Vec<Applied>> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match job {
                Job::Commit(commit, _) => self.batch.apply(commit, &self.shared.cache)?,
                Job::Errand(errand) => {
                    errand.run(self.connection)?;
                    Applied::Yes(0)
                }
            });
        }
        self.connection.execute_batch("COMMIT")?;
        self.batch.committed();
        Ok(outcomes)
    }

    /// Memory follows what is now committed, before anybody is told of it.
    fn settle(&self, jobs: &mut [Job], outcomes: &[Applied]) {
        for (job, outcome) in jobs.iter_mut().zip(outcomes) {
            if let (Job::Commit(commit, _), Applied::Yes(_)) = (job, outcome) {
                self.shared.waiting.note(commit);
                commit.settle(&self.shared.cache);
            }
        }
    }

    /// Undoes a batch that failed. Where one decision may be at fault, each is tried on its own.
    fn recover(&mut self, jobs: &mut Vec<Job>, error: &rusqlite::Error) -> Result<(), Broken> {
        self.batch.rolled_back();
        // Whether a failed COMMIT took is not known to everyone who has read since.
        self.shared.cache.clear();
        let is_undone = self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
        if is_undone && jobs.len() > 1 && is_of_the_request(error) {
            for job in std::mem::take(jobs) {
                self.write(&mut vec![job])?;
            }
            return Ok(());
        }
        tracing::warn!(%error, count = jobs.len(), "commits could not be written");
        let told = fault(error);
        for job in jobs.drain(..) {
            refuse(job, &told);
        }
        if is_undone { Ok(()) } else { Err(Broken) }
    }
}

fn answer(job: Job, outcome: Applied) {
    match job {
        Job::Commit(_, sender) => {
            // Whoever asked may have gone; the commit stands.
            let _gone = sender.send(match outcome {
                Applied::Yes(sequence) => Ok(Committed { sequence }),
                Applied::Conflict => Err(StoreError::Conflict),
            });
        }
        Job::Errand(errand) => errand.finish(Ok(())),
    }
}

fn refuse(job: Job, error: &StoreError) {
    match job {
        Job::Commit(_, sender) => {
            let _gone = sender.send(Err(error.clone()));
        }
        Job::Errand(errand) => errand.finish(Err(error.clone())),
    }
}
