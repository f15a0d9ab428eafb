//! The one thread that writes: it takes what waits, makes it durable with one flush, then answers everyone.
//!
//! Commits of rows that change all the time go to the [redo log](super::redo), and to the tables once there are many of them,
//! nobody is in a hurry, or somebody wants to read lists. All else is one physical commit of the database, which takes what
//! waits along.
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
use super::checkpoint::{self, Checkpoints};
use super::fault::{fault, is_of_the_request};
use super::job::{Answer, ApplyAnswer, Errand, Job, Look};
use super::leases::Leases;
use super::log::Log;
use super::pending::{Pending, State};
use super::queue::{Queue, Taken};
use super::redo::{self, RedoLog};
use super::waiting::WaitingTasks;
use super::{connect, record, recover};
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
    pub(super) waiting: WaitingTasks,
    pub(super) available: AvailableAgents,
    pub(super) leases: Leases,
    pub(super) figures: Figures,
    pub(super) lost: LostLeases,
    pub(super) pending: Pending,
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
        waiting: WaitingTasks,
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
            pending: Pending::default(),
            batch_max,
            removed: RemovedTenants::default(),
            in_hand: Mutex::default(),
        }
    }

    /// Memory takes over what the file says.
    fn read(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.available.read(connection)?;
        self.waiting.read(connection)?;
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

/// Decisions that wait in the redo log, rows and bytes of them, after which they go to the tables. Nobody else is served meanwhile:
/// 512 decisions of sessions take some 8 ms, and one of a list may be as much as a hundred of those.
const PENDING_MAX: usize = 512;
const PENDING_ROWS_MAX: usize = 4_096;
const PENDING_BYTES_MAX: usize = 4 << 20;
/// Flushes after which what waits goes to the tables as soon as nobody has wanted anything for a moment. Where few ask, that holds
/// up nobody, or for a millisecond; where many do, there are more decisions to a flush, and enough of them sooner.
const FLUSHES_WHEN_IDLE: usize = 48;
const IDLE_MOMENT: Duration = Duration::from_micros(150);
/// How long fewer wait there once nothing else comes.
const IDLE_MAX: Duration = Duration::from_millis(250);
/// How long to wait before what the tables did not take is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long commits go to the tables at once after the redo log could not be written; tests fail several times in a row.
const REDO_AGAIN_AFTER: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };
/// Bytes of the redo log after which it is begun anew.
const REDO_BYTES_MAX: u64 = 16 << 20;
/// Room for a record that is kept for the next.
const RECORD_BYTES_KEPT: usize = 1 << 20;
/// Bytes of the commits of one record, about; with more they go to the tables at once.
const RECORD_BYTES_MAX: usize = 8 << 20;

/// Writes until the queue is closed and empty.
pub(super) fn run(shared: &Shared, connection: Connection, mut redo: RedoLog) {
    let _refuses_what_comes_after = LastOrders(&shared.queue);
    let mut checkpoints = Checkpoints::start(&shared.path);
    let mut connection = Some(connection);
    let mut is_known = true;
    loop {
        let Some(open) = connection.take() else {
            match connect::writer(&shared.path) {
                // What memory knows is read once what waits is in the tables.
                Ok(open) => connection = Some(open),
                Err(error) => {
                    if !refuse_waiting(shared, &fault(&error)) {
                        return;
                    }
                }
            }
            continue;
        };
        match serve(shared, &open, &mut redo, &mut checkpoints, is_known) {
            Ended::Broken => {
                is_known = false;
                tracing::warn!("the connection to the database is opened anew");
            }
            Ended::Closed => {
                drop(checkpoints);
                if let Err(error) = open.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
                    tracing::warn!(%error, "the log file could not be emptied; the next start does it");
                }
                if !shared.pending.read().is_empty() || !redo.is_empty() {
                    tracing::warn!(
                        "commits are left in the redo log; the next start brings them into the tables"
                    );
                } else if let Err(error) = redo.empty() {
                    tracing::warn!(%error, "the redo log could not be emptied");
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

fn serve(
    shared: &Shared,
    connection: &Connection,
    redo: &mut RedoLog,
    checkpoints: &mut Checkpoints,
    is_known: bool,
) -> Ended {
    let batch = match Batch::new(connection, &shared.available) {
        Ok(batch) => batch,
        Err(error) => {
            tracing::error!(%error, "the database cannot be written");
            return if refuse_waiting(shared, &fault(&error)) { Ended::Broken } else { Ended::Closed };
        }
    };
    let mut writer = Writer {
        shared,
        connection,
        batch,
        redo,
        record: Vec::new(),
        checkpoints,
        readers: Vec::new(),
        looks: Vec::new(),
        is_again: !is_known,
        is_known,
        doubts_flush: !is_known,
        redo_failed: None,
        is_broken: false,
    };
    let mut jobs = Vec::new();
    loop {
        let idle_max = match shared.pending.read().flushes() {
            0 => None,
            _ if writer.is_again => Some(TRY_AGAIN_AFTER),
            few if few < FLUSHES_WHEN_IDLE => Some(IDLE_MAX),
            _ => Some(IDLE_MOMENT),
        };
        match shared.queue.take(shared.batch_max, &mut jobs, idle_max) {
            Taken::Jobs => writer.write(&mut jobs),
            Taken::Idle => writer.apply_pending(),
            Taken::Closed => {
                writer.close();
                return Ended::Closed;
            }
        }
        if writer.is_broken {
            return Ended::Broken;
        }
        writer.checkpoints.between_commits(connection);
    }
}

/// Whether so much waits that it goes to the tables, whoever else is waiting.
fn is_much(pending: &State) -> bool {
    pending.decisions() >= PENDING_MAX
        || pending.rows() >= PENDING_ROWS_MAX
        || pending.bytes() >= PENDING_BYTES_MAX
}

fn refuse_waiting(shared: &Shared, error: &StoreError) -> bool {
    let mut jobs = Vec::new();
    let goes_on = shared.queue.take(shared.batch_max, &mut jobs, None) != Taken::Closed;
    jobs.into_iter().for_each(|job| job.refuse(error));
    goes_on
}

struct Writer<'a, 'c> {
    shared: &'a Shared,
    connection: &'c Connection,
    batch: Batch<'c>,
    redo: &'a mut RedoLog,
    record: Vec<u8>,
    checkpoints: &'a mut Checkpoints,
    /// Who waits until the tables have everything.
    readers: Vec<ApplyAnswer>,
    /// Who looks at the tables as they would be.
    looks: Vec<Look>,
    /// Whether what waits could not be written to the tables: it may be there already.
    is_again: bool,
    /// Whether memory agrees with the file and what waits, and the redo log may be appended to.
    is_known: bool,
    /// Whether a flush of the database has failed: then the next that succeeds says nothing of what came before.
    doubts_flush: bool,
    /// When the redo log could not be written last.
    redo_failed: Option<Instant>,
    /// The connection is in a state that nobody knows.
    is_broken: bool,
}

/// A job without its answer.
enum WriterJob {
    Commit(Box<Commit>),
    Errand(Box<dyn Errand>),
}

type Outcome = Result<Applied, StoreError>;

/// What became of commits that are for the redo log, and from which place on each has its entries.
#[derive(Default)]
struct Accepted {
    outcomes: Vec<Applied>,
    places: Vec<Option<(Log, i64)>>,
}

impl Writer<'_, '_> {
    /// Writes `jobs` and answers them all.
    fn write(&mut self, jobs: &mut Vec<Job>) {
        let started = Instant::now();
        let mut work = self.take_in_hand(started, jobs);
        if !work.is_empty() {
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
        // Where the tables have just failed to take it, whoever comes next tries again.
        let is_much = !self.is_again && is_much(&self.shared.pending.read());
        if !self.is_broken && (is_much || !self.readers.is_empty()) {
            self.apply_pending();
        }
        for look in std::mem::take(&mut self.looks) {
            self.look(look);
        }
    }

    /// Shows somebody the tables as they would be with what waits, where they do not take that: a transaction that is not
    /// committed needs no room on the disk.
    fn look(&mut self, look: Look) {
        let known = if self.is_known { Ok(()) } else { self.clear_if_made() };
        let shown = known.and_then(|()| self.batch.begin(0)).and_then(|()| self.write_pending());
        look(shown.map(|()| self.connection).map_err(|error| fault(&error)));
        self.roll_back();
    }

    fn roll_back(&mut self) {
        self.batch.rolled_back();
        if !self.connection.is_autocommit() && self.connection.execute_batch("ROLLBACK").is_err() {
            (self.is_broken, self.is_known) = (true, false);
        }
    }

    /// Writes what waits to the tables, and tells those who wait for it.
    fn apply_pending(&mut self) {
        let started = Instant::now();
        self.shared.in_hand.lock().since = Some(started);
        let is_flushed = self.redo.bytes() >= REDO_BYTES_MAX;
        let outcome = self.bring_up(is_flushed).map_err(|error| {
            tracing::warn!(%error, "what waits in the redo log could not be written to the tables");
            fault(&error)
        });
        self.shared.in_hand.lock().since = None;
        self.count_micros(started);
        for reader in self.readers.drain(..) {
            let _gone = reader.send(outcome.clone());
        }
    }

    /// What waits goes to the tables. Where it is not known what is there, that is found out: nothing else may write what
    /// waits then, or begin the redo log anew.
    fn bring_up(&mut self, is_flushed: bool) -> rusqlite::Result<()> {
        if self.is_known { self.write_tables(is_flushed) } else { self.find_out() }
    }

    fn write_tables(&mut self, is_flushed: bool) -> rusqlite::Result<()> {
        let is_needed = is_flushed && !self.redo.is_empty();
        if self.shared.pending.read().is_empty() && !is_needed {
            return Ok(());
        }
        if is_flushed {
            self.in_tables(0, |_| Ok(()))?;
            self.redo.restart();
            return Ok(());
        }
        let written = connect::flush_commits(self.connection, false).and_then(|()| {
            let written = self.in_one_transaction(0, |_| Ok(()));
            self.is_broken |= connect::flush_commits(self.connection, true).is_err();
            written
        });
        self.is_again |= written.is_err();
        written
    }

    /// Writes what waits to the tables, and what `more` does, in one commit that is flushed. It has a number that is in no
    /// record: so it changes something in any case, as a commit that changes nothing flushes nothing; and an older copy of the
    /// tables is never taken for these.
    fn in_tables<T>(
        &mut self,
        count: usize,
        more: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.redo.take_number();
        let done = self.in_one_transaction(count, more);
        // Behind a number that stands for nothing, whoever reads the redo log would stop.
        if done.is_err() && self.is_known {
            self.redo.give_back();
        }
        done
    }

    /// Writes what waits to the tables, and what `more` does. Where that fails nothing of it was written, or `is_known` says
    /// that it may have been.
    fn in_one_transaction<T>(
        &mut self,
        count: usize,
        more: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.batch.begin(count)?;
        let written = self.write_pending();
        self.is_again |= written.is_err();
        let written = written.and_then(|()| more(self)).and_then(|done| {
            let committed = self.batch.commit();
            if committed.is_err() {
                // It may be found after a crash, or by a look at the file.
                (self.is_known, self.doubts_flush, self.is_again) = (false, true, true);
                self.shared.cache.clear();
            }
            committed.map(|()| done)
        });
        match &written {
            Ok(_) => self.cleared(),
            Err(_) => self.roll_back(),
        }
        written
    }

    /// Writes what waits, within a transaction.
    fn write_pending(&mut self) -> rusqlite::Result<()> {
        let pending = self.shared.pending.read();
        let last = self.redo.next() - 1;
        if pending.is_empty() {
            return self.batch.note_position(last);
        }
        let rows = self.batch.write_pending(&pending, last, self.is_again)?;
        self.checkpoints.count_rows(rows, pending.bytes());
        Ok(())
    }

    /// What waited is in the tables.
    fn cleared(&mut self) {
        self.is_again = false;
        self.shared.pending.clear();
    }

    /// Leaves nothing in the redo log that is needed.
    fn close(&mut self) {
        if let Err(error) = self.bring_up(true) {
            tracing::warn!(%error, "what waits in the redo log could not be written to the tables");
        }
    }

    /// Makes memory agree with the file again: what waits goes to the tables, and memory takes over what they say.
    fn find_out(&mut self) -> rusqlite::Result<()> {
        self.clear_if_made()?;
        self.in_tables(0, |_| Ok(()))?;
        if self.doubts_flush {
            checkpoint::copy_all(self.connection)?;
        }
        self.redo.restart();
        self.shared.read(self.connection)?;
        self.shared.cache.clear();
        (self.is_known, self.doubts_flush) = (true, false);
        Ok(())
    }

    /// Where the commit that failed last has been made after all, what waited went along with it.
    fn clear_if_made(&mut self) -> rusqlite::Result<()> {
        if recover::position(self.connection)? == self.redo.next() - 1 {
            self.cleared();
        }
        Ok(())
    }

    /// Parts the jobs that somebody still waits for from their answers.
    fn take_in_hand(&mut self, now: Instant, jobs: &mut Vec<Job>) -> Vec<WriterJob> {
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
                Job::Apply(answer) => self.readers.push(answer),
                Job::Look(look) => self.looks.push(look),
            }
        }
        in_hand.since = (!work.is_empty()).then_some(now);
        work
    }

    /// Makes it all durable with one flush. Where that fails for what may be one decision's fault, each is tried on its
    /// own.
    fn outcomes(&mut self, work: &mut [WriterJob]) -> Vec<Outcome> {
        if !self.is_known
            && let Err(error) = self.find_out()
        {
            return vec![Err(fault(&error)); work.len()];
        }
        match self.log(work) {
            Ok(Some(outcomes)) => return outcomes.into_iter().map(Ok).collect(),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, count = work.len(), "commits could not be written to the redo log");
                return vec![Err(error); work.len()];
            }
        }
        let error = match self.attempt(work) {
            Ok(outcomes) => {
                self.settle(work, &outcomes);
                return outcomes.into_iter().map(Ok).collect();
            }
            Err(error) => error,
        };
        if self.is_known && work.len() > 1 && is_of_the_request(&error) {
            return work.chunks_mut(1).flat_map(|one| self.outcomes(one)).collect();
        }
        tracing::warn!(%error, count = work.len(), "commits could not be written");
        vec![Err(fault(&error)); work.len()]
    }

    /// Appends it all to the redo log; nothing where some of it is not for that.
    fn log(&mut self, work: &mut [WriterJob]) -> Result<Option<Vec<Applied>>, StoreError> {
        let accepted = match self.accept(work) {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.batch.rolled_back();
                return Err(fault(&error));
            }
        };
        if accepted.outcomes.iter().any(|outcome| matches!(outcome, Applied::Yes(_))) {
            if let Err(error) = self.redo.append(&mut self.record) {
                self.batch.rolled_back();
                self.shared.cache.clear();
                self.is_known = false;
                self.redo_failed = Some(Instant::now());
                return Err(StoreError::Unavailable(format!("the redo log: {error}")));
            }
            self.redo_failed = None;
            self.settle_logged(work, &accepted);
        }
        self.record.shrink_to(RECORD_BYTES_KEPT);
        self.batch.forget_written();
        Ok(Some(accepted.outcomes))
    }

    /// Decides which commits are for the redo log, and makes a record of them; nothing where some of the jobs are not for
    /// that.
    fn accept(&mut self, work: &mut [WriterJob]) -> rusqlite::Result<Option<Accepted>> {
        let pending = self.shared.pending.read();
        // What the tables do not take is not to grow without bounds: whoever comes now is told why.
        let is_refused = self.is_again && is_much(&pending);
        // Where the redo log takes nothing, the tables may.
        if is_refused || self.redo_failed.is_some_and(|failed| failed.elapsed() < REDO_AGAIN_AFTER) {
            return Ok(None);
        }
        let mut bytes = 0;
        for work in work.iter() {
            match work {
                WriterJob::Commit(commit)
                    if commit.is_for_the_redo_log() && self.batch.has_log(commit, &pending)? =>
                {
                    bytes += commit.size_bytes();
                }
                _ => return Ok(None),
            }
        }
        if bytes > RECORD_BYTES_MAX {
            return Ok(None);
        }
        self.batch.begin_logging(work.len());
        redo::begin(&mut self.record);
        let mut accepted = Accepted::default();
        for work in work {
            let WriterJob::Commit(commit) = work else { return Ok(None) };
            let (outcome, place) = match self.shared.removed.refuses(commit) {
                true => (Applied::Removed, None),
                false => self.batch.accept(commit, &self.shared.cache, &pending)?,
            };
            if matches!(outcome, Applied::Yes(_)) {
                record::write(&mut self.record, commit, place);
            }
            accepted.outcomes.push(outcome);
            accepted.places.push(place);
        }
        Ok(Some(accepted))
    }

    /// Memory follows what is now in the redo log, before anybody is told of it.
    fn settle_logged(&self, work: &mut [WriterJob], accepted: &Accepted) {
        let each = work.iter_mut().zip(&accepted.outcomes).zip(&accepted.places);
        let mut commits: Vec<(&mut Commit, Option<(Log, i64)>)> = each
            .filter_map(|parts| match parts {
                ((WriterJob::Commit(commit), Applied::Yes(_)), place) => Some((&mut **commit, *place)),
                _ => None,
            })
            .collect();
        for (commit, _) in &commits {
            self.shared.available.settle(commit);
            self.shared.leases.settle(commit);
        }
        // From here on it is found by whoever reads a row that memory holds no longer.
        self.shared.pending.absorb(&mut commits, self.record.len());
        for (commit, _) in commits {
            self.shared.waiting.settle(commit);
            commit.settle(&self.shared.cache);
        }
    }

    /// Makes one physical commit of the database of it all, and of what waits.
    fn attempt(&mut self, work: &mut [WriterJob]) -> rusqlite::Result<Vec<Applied>> {
        let outcomes = self.in_tables(work.len(), |writer| writer.apply_all(work))?;
        self.redo.restart();
        Ok(outcomes)
    }

    fn apply_all(&mut self, work: &mut [WriterJob]) -> rusqlite::Result<Vec<Applied>> {
        let mut outcomes = Vec::with_capacity(work.len());
        let mut placed = Vec::with_capacity(work.len());
        let pending = self.shared.pending.read();
        for work in work {
            outcomes.push(match work {
                WriterJob::Commit(commit) if self.shared.removed.refuses(commit) => Applied::Removed,
                WriterJob::Commit(commit) => {
                    self.batch.apply(commit, &self.shared.cache, &pending, &mut placed)?
                }
                WriterJob::Errand(errand) => {
                    // It sees what those before it did.
                    self.batch.append(&mut placed)?;
                    errand.run(self.connection)?;
                    Applied::Yes(0)
                }
            });
        }
        self.batch.append(&mut placed)?;
        Ok(outcomes)
    }

    /// Memory follows what is now committed, before anybody is told of it and before anything else is written.
    fn settle(&mut self, work: &mut [WriterJob], outcomes: &[Applied]) {
        for (work, outcome) in work.iter_mut().zip(outcomes) {
            match work {
                WriterJob::Commit(commit) if matches!(outcome, Applied::Yes(_)) => {
                    self.shared.removed.note(commit);
                    self.checkpoints.count(commit);
                    self.shared.waiting.settle(commit);
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

    fn count(&self, started: Instant, outcomes: &[Outcome]) {
        let add = |counter: &AtomicU64, by: usize| counter.fetch_add(by as u64, Ordering::Relaxed);
        let figures = &self.shared.figures;
        let conflicts = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Applied::Conflict))).count();
        add(&figures.commits, 1);
        add(&figures.decisions, outcomes.len());
        add(&figures.conflicts, conflicts);
        self.count_micros(started);
    }

    fn count_micros(&self, started: Instant) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.figures.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }
}
