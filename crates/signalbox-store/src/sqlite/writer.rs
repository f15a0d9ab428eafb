//! The one thread that writes: it takes what waits, makes it one physical commit, then answers everyone.
//!
//! A decision that conflicts answers so and the rest goes on. An error of the database undoes the whole batch
//! and answers `Unavailable` to all in it; an error of one decision is found by writing each on its own. The
//! thread outlives every error and opens its connection anew where that is needed.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use signalbox_wire::id::TenantId;
use tokio::time::Instant;

use super::apply::{Applied, Batch};
use super::available::AvailableAgents;
use super::checkpoint::Checkpoints;
use super::connect;
use super::fault::{fault, is_of_the_request};
use super::job::{Answer, Errand, Job};
use super::leases::Leases;
use super::queue::Queue;
use super::waiting::WaitingRoutes;
use crate::api::{Committed, WriterFigures};
use crate::cache::Cache;
use crate::commit::Commit;
use crate::error::StoreError;
use crate::lost::LostLeases;

/// What the writer shares with those who give it work.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) queue: Queue<Job>,
    pub(super) cache: Arc<Cache>,
    pub(super) waiting: WaitingRoutes,
    pub(super) available: AvailableAgents,
    pub(super) leases: Leases,
    pub(super) figures: Figures,
    pub(super) lost: LostLeases,
    pub(super) batch_max: usize,
    pub(super) removed: RemovedTenants,
    in_hand: Mutex<InHand>,
}

/// Tenants that were removed while this process ran: what was on its way for them is not written any more.
#[derive(Default)]
pub(super) struct RemovedTenants(Mutex<HashSet<TenantId>>);

impl RemovedTenants {
    /// The tenant is being removed.
    pub(super) fn add(&self, tenant: &TenantId) {
        self.0.lock().insert(tenant.clone());
    }

    fn refuses(&self, commit: &Commit) -> bool {
        let removed = self.0.lock();
        !removed.is_empty() && removed.contains(&commit.tenant) && !commit.makes_its_tenant()
    }

    fn note(&self, commit: &Commit) {
        if commit.makes_its_tenant() {
            self.0.lock().remove(&commit.tenant);
        }
    }
}

/// The batch that is being written: since when, and who waits for it.
#[derive(Default)]
struct InHand {
    since: Option<Instant>,
    answers: Vec<Option<Answer>>,
}

/// Counts since the process began.
#[derive(Default)]
pub(super) struct Figures {
    commits: AtomicU64,
    decisions: AtomicU64,
    conflicts: AtomicU64,
    commit_micros: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        path: PathBuf,
        queue_max: usize,
        batch_max: usize,
        cache: Arc<Cache>,
        waiting: WaitingRoutes,
        available: AvailableAgents,
    ) -> Self {
        let (queue, batch_max) = (Queue::new(queue_max), batch_max.max(1));
        Self {
            path,
            queue,
            cache,
            waiting,
            available,
            leases: Leases::default(),
            figures: Figures::default(),
            lost: LostLeases::default(),
            batch_max,
            removed: RemovedTenants::default(),
            in_hand: Mutex::default(),
        }
    }

    /// Memory takes over what the file says.
    fn read(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.available.read(connection)?;
        self.leases.read(connection)
    }

    /// The figures now.
    pub(super) fn figures(&self) -> WriterFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterFigures {
            commits: read(&self.figures.commits),
            decisions: read(&self.figures.decisions),
            conflicts: read(&self.figures.conflicts),
            commit_micros: read(&self.figures.commit_micros),
            queued: self.queue.len() as u64,
            due_unreadable: 0,
        }
    }

    /// Refuses everything that waits when the disk has held up the writer for longer than `patience`. What is
    /// in its hands may still come to be.
    pub(super) fn give_up_after(&self, patience: Duration) {
        let mut in_hand = self.in_hand.lock();
        if in_hand.since.is_none_or(|since| since.elapsed() < patience) {
            return;
        }
        let late =
            StoreError::Unavailable(format!("the disk has taken no commit for {} s", patience.as_secs()));
        for answer in in_hand.answers.iter_mut().filter_map(Option::take) {
            let _gone = answer.send(Err(late.clone()));
        }
        drop(in_hand);
        self.queue.drain().into_iter().for_each(|job| job.refuse(&late));
    }
}

/// Writes until the queue is closed and empty.
pub(super) fn run(shared: &Shared, connection: Connection) {
    let _refuses_what_comes_after = LastOrders(&shared.queue);
    let mut checkpoints = Checkpoints::start(&shared.path);
    let mut connection = Some(connection);
    loop {
        let Some(open) = connection.take() else {
            match connect::writer(&shared.path) {
                Ok(open) => match shared.read(&open) {
                    Ok(()) => connection = Some(open),
                    Err(error) if refuse_waiting(shared, &fault(&error)) => {}
                    Err(_) => return,
                },
                Err(error) => {
                    if !refuse_waiting(shared, &fault(&error)) {
                        return;
                    }
                }
            }
            continue;
        };
        match serve(shared, &open, &mut checkpoints) {
            Ended::Broken => tracing::warn!("the connection to the database is opened anew"),
            Ended::Closed => {
                drop(checkpoints);
                if let Err(error) = open.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                    tracing::warn!(%error, "the log file could not be emptied; the next start does it");
                }
                return;
            }
        }
    }
}

/// However the writer ends, nobody waits for it afterwards.
struct LastOrders<'a>(&'a Queue<Job>);

impl Drop for LastOrders<'_> {
    fn drop(&mut self) {
        self.0.close();
        let ended = StoreError::Unavailable("the writer has ended".to_owned());
        self.0.drain().into_iter().for_each(|job| job.refuse(&ended));
    }
}

/// How serving a connection ended.
enum Ended {
    /// There is nothing more to write.
    Closed,
    /// The connection is of no more use.
    Broken,
}

fn serve(shared: &Shared, connection: &Connection, checkpoints: &mut Checkpoints) -> Ended {
    let batch = match Batch::new(connection, &shared.available) {
        Ok(batch) => batch,
        Err(error) => {
            tracing::error!(%error, "the database cannot be written");
            return if refuse_waiting(shared, &fault(&error)) { Ended::Broken } else { Ended::Closed };
        }
    };
    let mut writer = Writer { shared, connection, batch, checkpoints, is_broken: false };
    let mut jobs = Vec::new();
    while shared.queue.take(shared.batch_max, &mut jobs) {
        writer.write(&mut jobs);
        if writer.is_broken {
            return Ended::Broken;
        }
        writer.checkpoints.between_commits(connection);
    }
    Ended::Closed
}

fn refuse_waiting(shared: &Shared, error: &StoreError) -> bool {
    let mut jobs = Vec::new();
    let goes_on = shared.queue.take(shared.batch_max, &mut jobs);
    jobs.into_iter().for_each(|job| job.refuse(error));
    goes_on
}

struct Writer<'a, 'c> {
    shared: &'a Shared,
    connection: &'c Connection,
    batch: Batch<'c>,
    checkpoints: &'a mut Checkpoints,
    /// The connection is in a state that nobody knows.
    is_broken: bool,
}

/// A job without its answer.
enum WriterJob {
    Commit(Box<Commit>),
    Errand(Box<dyn Errand>),
}

type Outcome = Result<Applied, StoreError>;

impl Writer<'_, '_> {
    /// Writes `jobs` and answers them all.
    fn write(&mut self, jobs: &mut Vec<Job>) {
        let started = Instant::now();
        let mut work = self.take_in_hand(started, jobs);
        if work.is_empty() {
            return;
        }
        let outcomes = self.outcomes(&mut work);
        self.count(started, &outcomes);
        let answers = {
            let mut in_hand = self.shared.in_hand.lock();
            in_hand.since = None;
            std::mem::take(&mut in_hand.answers)
        };
        for ((work, answer), outcome) in work.into_iter().zip(answers).zip(outcomes) {
            self.tell(work, answer, outcome);
        }
    }

    /// Parts the jobs that somebody still waits for from their answers.
    fn take_in_hand(&self, now: Instant, jobs: &mut Vec<Job>) -> Vec<WriterJob> {
        let mut work = Vec::with_capacity(jobs.len());
        let mut in_hand = self.shared.in_hand.lock();
        for job in jobs.drain(..).filter(Job::is_wanted) {
            match job {
                Job::Commit(commit, answer) => {
                    work.push(WriterJob::Commit(commit));
                    in_hand.answers.push(Some(answer));
                }
                Job::Errand(errand) => {
                    work.push(WriterJob::Errand(errand));
                    in_hand.answers.push(None);
                }
            }
        }
        in_hand.since = (!work.is_empty()).then_some(now);
        work
    }

    /// Makes one physical commit of it all. Where that fails for what may be one decision's fault, each is
    /// tried on its own.
    fn outcomes(&mut self, work: &mut [WriterJob]) -> Vec<Outcome> {
        let error = match self.attempt(work) {
            Ok(outcomes) => {
                self.settle(work, &outcomes);
                return outcomes.into_iter().map(Ok).collect();
            }
            Err(error) => error,
        };
        self.undo();
        if !self.is_broken && work.len() > 1 && is_of_the_request(&error) {
            return work.chunks_mut(1).flat_map(|one| self.outcomes(one)).collect();
        }
        tracing::warn!(%error, count = work.len(), "commits could not be written");
        vec![Err(fault(&error)); work.len()]
    }

    fn attempt(&mut self, work: &mut [WriterJob]) -> rusqlite::Result<Vec<Applied>> {
        self.batch.begin(work.len())?;
        let mut outcomes = Vec::with_capacity(work.len());
        let mut placed = Vec::with_capacity(work.len());
        for work in work {
            outcomes.push(match work {
                WriterJob::Commit(commit) if self.shared.removed.refuses(commit) => Applied::Removed,
                WriterJob::Commit(commit) => self.batch.apply(commit, &self.shared.cache, &mut placed)?,
                WriterJob::Errand(errand) => {
                    // It sees what those before it did.
                    self.batch.append(&mut placed)?;
                    errand.run(self.connection)?;
                    Applied::Yes(0)
                }
            });
        }
        self.batch.append(&mut placed)?;
        self.batch.commit()?;
        Ok(outcomes)
    }

    /// Memory follows what is now committed, before anybody is told of it and before anything else is written.
    fn settle(&mut self, work: &mut [WriterJob], outcomes: &[Applied]) {
        for (work, outcome) in work.iter_mut().zip(outcomes) {
            match work {
                WriterJob::Commit(commit) if matches!(outcome, Applied::Yes(_)) => {
                    self.shared.removed.note(commit);
                    self.checkpoints.count(commit);
                    self.shared.waiting.note(commit);
                    self.shared.available.settle(commit);
                    self.shared.leases.settle(commit);
                    commit.settle(&self.shared.cache);
                }
                WriterJob::Commit(_) => {}
                WriterJob::Errand(errand) => errand.settle(),
            }
        }
    }

    /// Answers one job. Whoever asked may have gone, or have been told already; what is committed stands, but nobody
    /// does what it leased.
    fn tell(&self, work: WriterJob, answer: Option<Answer>, outcome: Outcome) {
        let commit = match work {
            WriterJob::Commit(commit) => commit,
            WriterJob::Errand(errand) => return errand.answer(outcome.map(|_| ())),
        };
        let unheard = match (answer, outcome) {
            (Some(answer), Ok(Applied::Yes(sequence))) => {
                answer.send(Ok((Committed { sequence }, commit))).err()
            }
            (Some(answer), Ok(Applied::Conflict)) => answer.send(Err(StoreError::Conflict)).err(),
            (Some(answer), Ok(Applied::Removed)) => answer.send(Err(StoreError::Removed)).err(),
            (Some(answer), Err(error)) => answer.send(Err(error)).err(),
            (None, Ok(Applied::Yes(sequence))) => Some(Ok((Committed { sequence }, commit))),
            (None, _) => None,
        };
        if let Some(Ok((_, commit))) = unheard {
            self.shared.lost.add(commit.born_leases());
        }
    }

    fn undo(&mut self) {
        self.batch.rolled_back();
        // A COMMIT that failed may have taken, and somebody may have read it since.
        self.shared.cache.clear();
        let may_have_taken = self.connection.is_autocommit();
        let is_known = match may_have_taken {
            true => self.shared.read(self.connection).is_ok(),
            false => self.connection.execute_batch("ROLLBACK").is_ok(),
        };
        self.is_broken |= !is_known;
    }

    fn count(&self, started: Instant, outcomes: &[Outcome]) {
        let add = |counter: &AtomicU64, by: usize| counter.fetch_add(by as u64, Ordering::Relaxed);
        let figures = &self.shared.figures;
        let conflicts = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Applied::Conflict))).count();
        add(&figures.commits, 1);
        add(&figures.decisions, outcomes.len());
        add(&figures.conflicts, conflicts);
        add(&figures.commit_micros, usize::try_from(started.elapsed().as_micros()).unwrap_or(usize::MAX));
    }
}
