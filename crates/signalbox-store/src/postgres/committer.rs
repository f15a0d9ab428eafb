//! The one task that writes: it takes what waits, makes it one transaction, then answers everyone.
//!
//! A decision that conflicts answers so and the rest goes on. A fault that lies in one decision is found by
//! halving the batch; any other fault answers `Unavailable` to all in it. The task outlives every fault and
//! connects again by itself; while it cannot, whoever asks is told at once. Where other processes commit for the same
//! tenants, it takes hold of those first and then what waits: a batch grows while it waits for another process's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signalbox_core::decision::Key;
use signalbox_wire::id::TenantId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::Error;

use super::batch::{self, Outcome, Verdict};
use super::fault;
use super::target::Target;
use super::writer::{Found, Writer};
use crate::StoreError;
use crate::api::{Committed, WriterFigures};
use crate::cache::Cache;
use crate::commit::Commit;
use crate::lost::LostLeases;
use crate::strangers::Strangers;

/// The wait between attempts to connect: from this, doubling, to that.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Bytes of one batch, about: far below what a statement can carry, and far above what a batch usually is.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// How often a batch is tried that others' transactions have undone.
const ATTEMPTS_MAX: u32 = 3;

/// One thing to do.
pub(super) enum Job {
    /// Apply a decision.
    Commit(Box<Commit>, oneshot::Sender<Result<Committed, StoreError>>),
    /// Write what waits, then end.
    Close,
}

/// A decision and whoever waits for it.
struct Asked {
    commit: Box<Commit>,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Counts since the process began.
#[derive(Default)]
pub(super) struct Figures {
    commits: AtomicU64,
    decisions: AtomicU64,
    conflicts: AtomicU64,
    commit_micros: AtomicU64,
}

/// Everything that the task needs.
pub(super) struct Committer {
    pub(super) target: Target,
    pub(super) cache: Arc<Cache>,
    pub(super) figures: Arc<Figures>,
    pub(super) lost: Arc<LostLeases>,
    pub(super) strangers: Arc<Strangers>,
    pub(super) batch_max: usize,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// Decisions that came while tenants were waited for which are not theirs: the next batch begins with them.
    pub(super) aside: VecDeque<Job>,
}

/// Why a batch came to nothing.
enum Failure {
    /// A statement failed and the transaction is undone.
    Undone(Error),
    /// The connection is of no more use; whether the transaction took is unknown when the second round trip had
    /// begun.
    Broken(String),
}

/// The connection, or since when there is none.
enum Link {
    Up(Box<Writer>),
    Down { next: Instant, wait: Duration, reason: StoreError },
}

impl Figures {
    /// The figures now.
    pub(super) fn read(&self, queued: usize) -> WriterFigures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterFigures {
            commits: read(&self.commits),
            decisions: read(&self.decisions),
            conflicts: read(&self.conflicts),
            commit_micros: read(&self.commit_micros),
            queued: queued as u64,
            due_unreadable: 0,
        }
    }

    fn count(&self, decisions: usize, conflicts: usize, took: Duration) {
        let add = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.commits, 1);
        add(&self.decisions, decisions as u64);
        add(&self.conflicts, conflicts as u64);
        add(&self.commit_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

impl Committer {
    /// Writes until it is told to close, or nobody is left to ask.
    pub(super) async fn run(mut self, writer: Writer) {
        let mut link = Link::Up(Box::new(writer));
        let mut asked = Vec::new();
        loop {
            let goes_on = self.take(&mut link, &mut asked).await;
            if !asked.is_empty() {
                link = self.serve(link, std::mem::take(&mut asked)).await;
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Waits for something to do and takes what waits; meanwhile connects again where that is needed. Answers
    /// `false` when nothing will follow.
    async fn take(&mut self, link: &mut Link, asked: &mut Vec<Asked>) -> bool {
        let first = loop {
            if let Some(job) = self.aside.pop_front() {
                break Some(job);
            }
            let Link::Down { next, .. } = link else { break self.jobs.recv().await };
            let next = *next;
            tokio::select! {
                job = self.jobs.recv() => break job,
                () = sleep_until(next) => self.connect(link).await,
            }
        };
        let (mut job, mut bytes) = (first, 0);
        loop {
            match job {
                Some(Job::Commit(commit, answer)) => {
                    bytes += commit.size_bytes();
                    asked.push(Asked { commit, answer });
                }
                Some(Job::Close) => self.jobs.close(),
                None => return false,
            }
            if asked.len() >= self.batch_max || bytes >= BATCH_BYTES_MAX {
                return true;
            }
            job = match self.aside.pop_front().map_or_else(|| self.jobs.try_recv(), Ok) {
                Ok(job) => Some(job),
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }
    }

    async fn connect(&self, link: &mut Link) {
        let wait = match link {
            Link::Up(_) => RECONNECT.0,
            Link::Down { wait, .. } => (*wait * 2).min(RECONNECT.1),
        };
        *link = match Writer::open(&self.target).await {
            Ok(writer) => {
                tracing::info!("connected to PostgreSQL again");
                Link::Up(Box::new(writer))
            }
            Err(reason) => {
                tracing::warn!(%reason, "no connection to PostgreSQL");
                Link::Down { next: Instant::now() + wait, wait, reason }
            }
        };
    }

    /// Writes a batch and answers everybody in it; gives back the connection for the next one.
    async fn serve(&mut self, mut link: Link, mut asked: Vec<Asked>) -> Link {
        asked.retain(|asked| !asked.answer.is_closed());
        if let Link::Up(writer) = &link
            && writer.is_closed()
        {
            self.connect(&mut link).await;
        }
        let mut batches = match &mut link {
            Link::Up(writer) => match self.gather(writer, &mut asked).await {
                Ok(()) => vec![asked],
                Err(Failure::Undone(error)) => self.undone(asked, &error),
                Err(Failure::Broken(reason)) => {
                    link = down(self.broken(asked, reason));
                    Vec::new()
                }
            },
            Link::Down { .. } => vec![asked],
        };
        while let Some(batch) = batches.pop() {
            // Everybody may have gone.
            if batch.is_empty() {
                continue;
            }
            match &mut link {
                Link::Down { reason, .. } => refuse(batch, reason),
                Link::Up(writer) => match self.write(writer, batch).await {
                    Ok(halves) => batches.extend(halves),
                    Err(reason) => link = down(reason),
                },
            }
        }
        link
    }

    /// Where other processes commit for the tenants of a batch as well, takes hold of them and adds what has come until
    /// then: else each process would write what it had when it began to wait for the other.
    async fn gather(&mut self, writer: &mut Writer, asked: &mut Vec<Asked>) -> Result<(), Failure> {
        let commits: Vec<&Commit> = asked.iter().map(|asked| &*asked.commit).collect();
        if !writer.has_company(&commits) {
            return Ok(());
        }
        if let Err(error) = self.bounded(writer.hold(&commits)).await? {
            return match self.give_up(writer, error).await {
                // The batch takes hold of them itself, and that is tried again.
                Failure::Undone(error) if fault::is_of_the_moment(&error) => Ok(()),
                failure => Err(failure),
            };
        }
        self.take_more(writer, asked);
        asked.retain(|asked| !asked.answer.is_closed());
        if asked.is_empty() {
            self.bounded(writer.undo()).await?.map_err(|error| lost(&error))?;
        }
        Ok(())
    }

    /// Takes what waits for the tenants that are held, and puts aside what is for others.
    fn take_more(&mut self, writer: &Writer, asked: &mut Vec<Asked>) {
        let mut bytes: usize = asked.iter().map(|asked| asked.commit.size_bytes()).sum();
        let most = self.batch_max;
        while asked.len() < most && self.aside.len() < most && bytes < BATCH_BYTES_MAX {
            match self.jobs.try_recv() {
                Ok(Job::Commit(commit, answer)) if writer.holds(&commit.tenant) => {
                    bytes += commit.size_bytes();
                    asked.push(Asked { commit, answer });
                }
                Ok(Job::Close) => self.jobs.close(),
                Ok(job) => self.aside.push_back(job),
                Err(_) => return,
            }
        }
    }

    /// Writes one batch. Answers the halves of one that must be tried in parts; an error when the connection
    /// is of no more use.
    async fn write(&self, writer: &mut Writer, mut batch: Vec<Asked>) -> Result<Vec<Vec<Asked>>, StoreError> {
        let mut attempts = 1;
        loop {
            match self.attempt(writer, &mut batch).await {
                Ok(verdicts) => {
                    for (Asked { commit, answer }, verdict) in batch.into_iter().zip(verdicts) {
                        // Whoever asked may have gone; the commit stands, but nobody does what it leased.
                        if let Err(Ok(_)) = answer.send(verdict) {
                            self.lost.add(commit.born_leases());
                        }
                    }
                    return Ok(Vec::new());
                }
                Err(Failure::Undone(error)) if fault::is_of_the_moment(&error) && attempts < ATTEMPTS_MAX => {
                    attempts += 1;
                }
                Err(Failure::Undone(error)) if fault::is_of_memory(&error) && attempts < ATTEMPTS_MAX => {
                    tracing::warn!("a row was removed from the database by other hands than this program's");
                    writer.forget();
                    attempts += 1;
                }
                Err(Failure::Undone(error)) => return Ok(self.undone(batch, &error)),
                Err(Failure::Broken(reason)) => return Err(self.broken(batch, reason)),
            }
        }
    }

    /// Refuses a batch of which it is not known what has become.
    fn broken(&self, batch: Vec<Asked>, reason: String) -> StoreError {
        self.cache.clear();
        self.lost.add(batch.iter().flat_map(|asked| asked.commit.born_leases()));
        let error = StoreError::Unavailable(reason);
        refuse(batch, &error);
        error
    }

    fn undone(&self, mut batch: Vec<Asked>, error: &Error) -> Vec<Vec<Asked>> {
        if fault::is_of_the_data(error) && batch.len() > 1 {
            let second = batch.split_off(batch.len() / 2);
            return vec![second, batch];
        }
        let told = if fault::is_duplicate(error) { StoreError::Conflict } else { fault::of_statement(error) };
        tracing::warn!(reason = %told, decisions = batch.len(), "a batch was not written");
        refuse(batch, &told);
        Vec::new()
    }

    async fn attempt(
        &self,
        writer: &mut Writer,
        batch: &mut [Asked],
    ) -> Result<Vec<Result<Committed, StoreError>>, Failure> {
        let started = Instant::now();
        let (verdicts, stale) = {
            let commits: Vec<&Commit> = batch.iter().map(|asked| &*asked.commit).collect();
            let outcome = self.transact(writer, &commits).await?;
            let stale =
                outcome.stale.into_iter().map(|((tenant, key), read)| (tenant.clone(), key.clone(), read));
            (outcome.verdicts, stale.collect::<Vec<_>>())
        };
        let conflicts = verdicts.iter().filter(|verdict| **verdict == Verdict::Conflict).count();
        self.figures.count(verdicts.len(), conflicts, started.elapsed());
        let told = batch.iter_mut().zip(verdicts).map(|(asked, verdict)| match verdict {
            Verdict::Written(place) => {
                asked.commit.settle(&self.cache);
                Ok(Committed { sequence: place.unsigned_abs() })
            }
            Verdict::Conflict => Err(StoreError::Conflict),
            Verdict::Removed => Err(StoreError::Removed),
        });
        let told = told.collect();
        self.meet_strangers(stale);
        Ok(told)
    }

    /// Rows that are in memory as no commit found them, after memory follows what this process has written: another
    /// process has changed them.
    fn meet_strangers(&self, stale: Vec<(TenantId, Key, i64)>) {
        for (tenant, key, read) in stale {
            if self.cache.version(&tenant, &key) == Some(read) {
                // A session is brought up to what is committed by the tasks that were written since.
                if !matches!(key, Key::Session(_)) {
                    self.cache.forget(&tenant, key);
                }
                self.strangers.met(&tenant);
            }
        }
    }

    /// One transaction: on what is remembered or taken for granted where that is possible, else after a look.
    async fn transact<'a>(
        &self,
        writer: &mut Writer,
        commits: &[&'a Commit],
    ) -> Result<Outcome<'a>, Failure> {
        if let Some(mut found) = writer.recall(commits) {
            let outcome = decide(commits, &mut found);
            if let Some(statuses) = outcome.reports() {
                match self.bounded(writer.report(&found, &outcome, &statuses)).await? {
                    Ok(()) => return Ok(outcome),
                    Err(error) if fault::is_of_memory(&error) => writer.forget(),
                    Err(error) => return Err(self.give_up(writer, error).await),
                }
            }
        }
        if let Some(mut found) = writer.take_for_granted(commits) {
            let granted = found.versions.clone();
            let mut outcome = decide(commits, &mut found);
            let asked = granted.keys().filter(|(_, key)| matches!(key, Key::Status(_))).count();
            // What nothing is written of is not looked at.
            if let Some(statuses) = outcome.reports().filter(|statuses| statuses.len() == asked) {
                match self.bounded(writer.report_shared(commits, &granted, &mut outcome, &statuses)).await? {
                    Ok(()) => return Ok(outcome),
                    Err(error) if fault::is_of_memory(&error) => writer.doubt(),
                    Err(error) => return Err(self.give_up(writer, error).await),
                }
            }
        }
        let mut found = self.begin(writer, commits).await?;
        if !found.new.is_empty() {
            self.bounded(writer.undo()).await?.map_err(|error| lost(&error))?;
            self.bounded(writer.add_tenants(&found.new)).await?.map_err(Failure::Undone)?;
            found = self.begin(writer, commits).await?;
        }
        let outcome = decide(commits, &mut found);
        match self.bounded(writer.finish(&found, &outcome)).await? {
            Ok(()) => Ok(outcome),
            Err(error) => Err(self.give_up(writer, error).await),
        }
    }

    async fn begin<'a>(&self, writer: &mut Writer, commits: &[&'a Commit]) -> Result<Found<'a>, Failure> {
        match self.bounded(writer.begin(commits)).await? {
            Ok(found) => Ok(found),
            Err(error) => Err(self.give_up(writer, error).await),
        }
    }

    /// Leaves the connection outside any transaction, or finds that it is of no more use.
    async fn give_up(&self, writer: &mut Writer, error: Error) -> Failure {
        let is_answer = error.as_db_error().is_some() || fault::is_of_the_data(&error);
        if writer.is_closed() || !is_answer {
            return lost(&error);
        }
        match self.bounded(writer.undo()).await {
            Ok(Ok(())) => Failure::Undone(error),
            _ => lost(&error),
        }
    }

    async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let late = |_| Failure::Broken("PostgreSQL did not answer in time".to_owned());
        timeout(self.target.patience, work).await.map_err(late)
    }
}

fn decide<'a>(commits: &[&'a Commit], found: &mut Found<'a>) -> Outcome<'a> {
    let versions = std::mem::take(&mut found.versions);
    batch::decide(commits.iter().copied(), versions, &found.held)
}

fn down(reason: StoreError) -> Link {
    Link::Down { next: Instant::now(), wait: RECONNECT.0, reason }
}

fn lost(error: &Error) -> Failure {
    Failure::Broken(format!("the connection to PostgreSQL was lost: {}", fault::text(error)))
}

fn refuse(batch: Vec<Asked>, error: &StoreError) {
    for asked in batch {
        let _gone = asked.answer.send(Err(error.clone()));
    }
}
