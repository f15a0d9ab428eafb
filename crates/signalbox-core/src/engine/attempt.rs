//! The loop around every operation: decide, load what is missing, decide again, commit, after a conflict begin anew.
//!
//! An [`Attempt`] does no I/O. Whoever drives it asks for the next [`Next`], does what that says over a database or
//! in a simulation, and tells the attempt what came of it:
//!
//! ```text
//! step ─ Load(need)       → show its snapshot what is needed, `loaded`
//!      ─ Long             → `allow_long`, and step where a decision that takes long holds nobody up
//!      ─ Commit(decision) → commit it ─ done     → answer its members, follow the decision's hints
//!                                     ─ conflict → `conflicted`
//!      ─ Done             → nothing to commit: answer its members
//! ```
//!
//! **Mistrust.** A decision on old rows conflicts and is made again. A refusal and an empty decision commit nothing
//! that could conflict, so on rows that may be old they are made once more, on rows from the store itself.
//!
//! **Folding.** An attempt has one member or several. Several decide one after the other, each on what those before
//! it have changed, and all of it is one decision and one commit. A member that is refused changes nothing and does
//! not spoil the others.

use std::fmt;

use signalbox_wire::time::Timestamp;

use super::operation::Operation;
use crate::context::Inputs;
use crate::decision::{Fold, IdempotencyRecord, Key, Row};
use crate::limits::Policy;
use crate::steps::Steps;
use crate::{Decision, DecisionContext, Halt, Need, Rejected, Snapshot};

/// What whoever drives an attempt does next.
#[derive(Debug)]
pub enum Next {
    /// Show the attempt's snapshot what is needed, then say [`Attempt::loaded`]. Where [`Attempt::is_fresh`], as the
    /// store has it now.
    Load(Need),
    /// The decision takes longer than a thread that others wait for may be held up: [`Attempt::allow_long`], and
    /// the next step somewhere else.
    Long,
    /// Commit this, then answer the members; or say [`Attempt::conflicted`].
    Commit(Decision),
    /// Nothing is to be committed: answer the members.
    Done,
}

/// One of the operations that an attempt decides together.
pub trait Member {
    /// Rows that it asks for in any case.
    fn keys(&self) -> Vec<Key>;

    /// Decides, and keeps what it would answer until the next call.
    ///
    /// # Errors
    /// Those of [`Operation::decide`].
    fn decide(&mut self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt>;

    /// What is kept of its answer, so that the same request again gets it again.
    fn record(&self, now: Timestamp) -> Option<IdempotencyRecord>;

    /// It is refused; that is its answer now.
    fn refuse(&mut self, rejected: Rejected);

    /// It has no answer yet: it has to be decided again in another attempt.
    fn put_off(&mut self);
}

impl<M: Member + ?Sized> Member for Box<M> {
    fn keys(&self) -> Vec<Key> {
        (**self).keys()
    }

    fn decide(&mut self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        (**self).decide(snapshot, context)
    }

    fn record(&self, now: Timestamp) -> Option<IdempotencyRecord> {
        (**self).record(now)
    }

    fn refuse(&mut self, rejected: Rejected) {
        (**self).refuse(rejected);
    }

    fn put_off(&mut self) {
        (**self).put_off();
    }
}

/// That the answer to a request is kept under a key, in the commit that makes it true.
pub struct Claim<F> {
    /// The tenant's name for the request.
    pub key: String,
    /// What tells apart requests that may not come under one key.
    pub request: String,
    /// What is kept of an answer.
    pub record: F,
}

impl<F> fmt::Debug for Claim<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What came of an operation.
#[derive(Debug)]
pub enum Resolution<T> {
    /// It happened.
    Made(T),
    /// The request was answered before, with this.
    Repeated(IdempotencyRecord),
    /// It was refused.
    Rejected(Rejected),
}

/// The record of an answer, where no answer is kept.
pub type NoRecord<T> = fn(&T, Timestamp) -> IdempotencyRecord;

/// An operation as a member of an attempt.
#[derive(Debug)]
pub struct Asked<O: Operation, F = NoRecord<<O as Operation>::Output>> {
    operation: O,
    claim: Option<Claim<F>>,
    resolution: Option<Resolution<O::Output>>,
}

impl<O: Operation> Asked<O> {
    /// An operation whose answer is not kept.
    pub fn new(operation: O) -> Self {
        Self { operation, claim: None, resolution: None }
    }
}

impl<O: Operation, F> Asked<O, F> {
    /// An operation whose answer is kept where there is a claim to it.
    pub fn under(operation: O, claim: Option<Claim<F>>) -> Self {
        Self { operation, claim, resolution: None }
    }

    /// The operation, and the claim to its answer.
    pub fn into_parts(self) -> (O, Option<Claim<F>>) {
        (self.operation, self.claim)
    }

    /// What was asked.
    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// What came of it, as far as it has been decided.
    pub fn resolution(&self) -> Option<&Resolution<O::Output>> {
        self.resolution.as_ref()
    }

    /// What came of it, once its attempt is over; `None` where it has to be decided again.
    pub fn take_resolution(&mut self) -> Option<Resolution<O::Output>> {
        self.resolution.take()
    }
}

impl<O: Operation, F: Fn(&O::Output, Timestamp) -> IdempotencyRecord> Member for Asked<O, F> {
    fn keys(&self) -> Vec<Key> {
        let mut keys = self.operation.keys();
        keys.extend(self.claim.as_ref().map(|claim| Key::IdempotencyRecord(claim.key.clone())));
        keys
    }

    fn decide(&mut self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<Decision, Halt> {
        if let Some(claim) = &self.claim
            && let Some(before) = snapshot.answered_before(&claim.key, &claim.request, context.now)?
        {
            self.resolution = Some(Resolution::Repeated(before));
            return Ok(Decision::default());
        }
        let (decision, output) = self.operation.decide(snapshot, context)?;
        self.resolution = Some(Resolution::Made(output));
        Ok(decision)
    }

    fn record(&self, now: Timestamp) -> Option<IdempotencyRecord> {
        match (&self.claim, &self.resolution) {
            (Some(claim), Some(Resolution::Made(output))) => Some((claim.record)(output, now)),
            _ => None,
        }
    }

    fn refuse(&mut self, rejected: Rejected) {
        self.resolution = Some(Resolution::Rejected(rejected));
    }

    fn put_off(&mut self) {
        self.resolution = None;
    }
}

/// What decisions are made by, besides the stored state and the moment.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Defaults and bounds set by the operator.
    pub policy: &'a Policy,
    /// What holds inputs against schemas; without it, whatever comes fits.
    pub inputs: Option<&'a dyn Inputs>,
}

/// An attempt to decide and commit what its members ask for.
#[derive(Debug)]
pub struct Attempt {
    now: Timestamp,
    seed: u64,
    snapshot: Snapshot,
    /// What the members before the one at `at` have decided.
    fold: Fold,
    at: usize,
    has_begun: bool,
    /// Whether rows are to come from the store itself.
    is_fresh: bool,
    /// Whether a row that was shown may be older than what the store has.
    may_be_old: bool,
    allows_long: bool,
    /// What its steps may still take together.
    steps: Steps,
}

impl Attempt {
    /// An attempt at `now`, whose randomness follows from `seed` alone.
    #[must_use]
    pub fn new(now: Timestamp, seed: u64) -> Self {
        Self {
            now,
            seed,
            snapshot: Snapshot::new(),
            fold: Fold::default(),
            at: 0,
            has_begun: false,
            is_fresh: false,
            may_be_old: false,
            allows_long: false,
            steps: Steps::quick(),
        }
    }

    /// The moment that it decides at.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether rows are to be loaded as the store has them now, from no cache that may be behind it.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// What it has been shown.
    pub fn snapshot(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    /// What was needed has been shown; whether any of it may be older than what the store has.
    pub fn loaded(&mut self, may_be_old: bool) {
        self.may_be_old |= may_be_old;
    }

    /// Its steps may take long from now on.
    pub fn allow_long(&mut self) {
        self.allows_long = true;
        self.steps = Steps::unbounded();
    }

    /// Whether its steps may take long.
    #[must_use]
    pub fn allows_long(&self) -> bool {
        self.allows_long
    }

    /// The commit found something else than what was decided on: everything is decided anew, on fresh rows.
    pub fn conflicted(&mut self, now: Timestamp, seed: u64) {
        (self.now, self.seed) = (now, seed);
        self.begin_again();
    }

    /// The next step. `members` are the same at every step.
    pub fn step<M: Member>(&mut self, members: &mut [M], terms: Terms<'_>) -> Next {
        if !self.has_begun {
            self.has_begun = true;
            let keys: Vec<Key> = members.iter().flat_map(Member::keys).collect();
            if !keys.is_empty() {
                return Next::Load(Need::Rows(keys));
            }
        }
        let count = members.len();
        while let Some(member) = members.get_mut(self.at) {
            if self.at > 0 && self.fold.is_large() {
                member.put_off();
                self.at += 1;
                continue;
            }
            let mut context = self.context(terms);
            let decided = member.decide(&self.snapshot, &mut context);
            self.steps = context.steps;
            match decided {
                Err(Halt::Need(need)) => return Next::Load(need),
                Err(Halt::Long) => return Next::Long,
                Err(Halt::Rejected(_)) if self.may_be_old => return self.look_again(members, terms),
                Err(Halt::Rejected(rejected)) => member.refuse(rejected),
                Ok(decision) if decision.is_empty() && self.may_be_old => {
                    return self.look_again(members, terms);
                }
                // What it looked for may be listed only where those before it have not been committed yet.
                Ok(decision) if decision.is_empty() && self.at > 0 && self.has_listed() => member.put_off(),
                Ok(mut decision) => {
                    if let Some(record) = member.record(self.now) {
                        self.keep(record, &mut decision, terms);
                    }
                    if self.fold.fits(&decision) {
                        self.add(decision, self.at + 1 == count);
                    } else {
                        // It rests on a row that one before it has changed since: it is decided on what that has left.
                        member.put_off();
                    }
                }
            }
            self.at += 1;
        }
        let fold = std::mem::take(&mut self.fold);
        if fold.is_empty() { Next::Done } else { Next::Commit(fold.finish()) }
    }

    /// Keeps an answer with the decision that makes it true, in place of one that has expired.
    fn keep(&self, record: IdempotencyRecord, decision: &mut Decision, terms: Terms<'_>) {
        let expired = self.snapshot.idempotency_record(&record.key).ok().flatten().map(|kept| kept.version);
        let version = self.context(terms).version_after(expired);
        decision.put(Row::IdempotencyRecord(record), expired, version);
    }

    /// Whether something has been decided already, by which a list from the store may not show what it will.
    fn has_listed(&self) -> bool {
        !self.fold.is_empty() && self.snapshot.has_lists()
    }

    fn add(&mut self, decision: Decision, is_last: bool) {
        if !is_last {
            self.snapshot.apply(&decision);
        }
        self.fold.add(decision);
    }

    /// What was decided on rows that may be old is decided on rows from the store itself.
    fn look_again<M: Member>(&mut self, members: &mut [M], terms: Terms<'_>) -> Next {
        self.begin_again();
        self.step(members, terms)
    }

    fn begin_again(&mut self) {
        self.snapshot = Snapshot::new();
        self.fold = Fold::default();
        (self.at, self.has_begun) = (0, false);
        (self.is_fresh, self.may_be_old) = (true, false);
        if !self.allows_long {
            self.steps = Steps::quick();
        }
    }

    /// The context of the member that decides now, the same whenever it decides again.
    fn context<'t>(&self, terms: Terms<'t>) -> DecisionContext<'t> {
        let seed = self.seed.wrapping_add((self.at as u64).wrapping_mul(SEEDS_APART));
        let mut context = DecisionContext::new(self.now, seed, terms.policy).within(self.steps.clone());
        context.inputs = terms.inputs;
        context
    }
}

/// Between the seeds of two members: far apart, and never the same twice.
const SEEDS_APART: u64 = 0x9E37_79B9_7F4A_7C15;
