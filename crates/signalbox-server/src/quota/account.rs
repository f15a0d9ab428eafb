//! What a node knows of one tenant: its limits, how fast it asks, and what it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use signalbox_core::quota::{Limit, TenantLimits, UsageDay};
use signalbox_wire::time::Timestamp;
use tokio::sync::OnceCell;

use super::rate::Rate;

/// How long an account is kept that nobody asks for and that has counted nothing.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// No limit on requests, as a number.
const UNLIMITED: u64 = u64::MAX;

/// What is counted by day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Agents that register for the first time.
    Agents,
    /// Connections that agents open.
    Connections,
    /// Messages that are accepted.
    Messages,
    /// Attempts of tasks that are given to agents.
    Tasks,
}

/// The account of one tenant.
pub(crate) struct Account {
    pub(super) rate: Rate,
    /// Requests in a second that hold, so that the usual request takes no lock.
    requests_max: AtomicU64,
    /// Until when the limits are believed, in microseconds since 1970.
    believed_until: AtomicI64,
    limits: Mutex<Known>,
    /// Set once the limits have been looked up: until then whoever asks waits for that.
    pub(super) is_known: OnceCell<()>,
    /// What is being made of each limit's kind.
    being_made: [AtomicU64; Limit::ALL.len()],
    taken: Mutex<TakenByDay>,
    /// Held while what was taken is added to the store, or what that has is read: a read between the addition and the note
    /// of it would see the same twice.
    exchange: tokio::sync::Mutex<()>,
}

/// What is known of a tenant's limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Its own.
    pub(super) own: TenantLimits,
    /// The server's.
    pub(super) defaults: TenantLimits,
}

#[derive(Default)]
struct TakenByDay {
    /// What has not been added to the store, by day: one day's, and for a moment that of the day before.
    untold: Vec<UsageDay>,
    /// Messages that may be accepted and are not yet.
    pending: u64,
    /// What the store has of one day, and until when that is believed.
    stored: Option<(UsageDay, Timestamp)>,
}

/// One of something that is being made, until this is dropped.
#[must_use = "what is being made counts while this is held"]
pub(crate) struct Permit(Option<(Arc<Account>, Limit)>);

impl Permit {
    /// Of something that nobody counts.
    pub(crate) fn free() -> Self {
        Self(None)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((account, limit)) = self.0.take()
            && let Some(being_made) = account.being_made.get(limit as usize)
        {
            being_made.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Account {
    pub(super) fn new() -> Self {
        Self {
            rate: Rate::default(),
            requests_max: AtomicU64::new(UNLIMITED),
            believed_until: AtomicI64::new(0),
            limits: Mutex::default(),
            is_known: OnceCell::new(),
            being_made: std::array::from_fn(|_| AtomicU64::new(0)),
            taken: Mutex::default(),
            exchange: tokio::sync::Mutex::default(),
        }
    }

    /// How many requests may come in a second, where that is limited.
    pub(super) fn requests_max(&self) -> Option<u64> {
        Some(self.requests_max.load(Ordering::Relaxed)).filter(|most| *most != UNLIMITED)
    }

    /// Whether the caller is the one to look the limits up; then nobody else is before `next`.
    pub(super) fn is_to_look_up(&self, now: Timestamp, next: Timestamp) -> bool {
        let until = self.believed_until.load(Ordering::Relaxed);
        until <= now.as_micros()
            && self
                .believed_until
                .compare_exchange(until, next.as_micros(), Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether the limits were looked up, and are believed for now.
    pub(super) fn is_believed(&self, now: Timestamp) -> bool {
        self.is_known.initialized() && self.believed_until.load(Ordering::Relaxed) > now.as_micros()
    }

    pub(super) fn forget_limits(&self) {
        self.believed_until.store(0, Ordering::SeqCst);
    }

    pub(super) fn learn(&self, own: TenantLimits, defaults: TenantLimits) {
        *self.limits.lock() = Known { own, defaults };
        let most = own.or(defaults).requests_per_second.unwrap_or(UNLIMITED);
        self.requests_max.store(most, Ordering::Relaxed);
    }

    /// The tenant's own could not be looked up: those that are known stay.
    pub(super) fn learn_defaults(&self, defaults: TenantLimits) {
        let own = self.limits.lock().own;
        self.learn(own, defaults);
    }

    pub(super) fn limits(&self) -> Known {
        *self.limits.lock()
    }

    /// The limits that hold.
    pub(super) fn effective(&self, defaults: TenantLimits) -> TenantLimits {
        self.limits.lock().own.or(defaults)
    }

    /// Begins to make one of something; also tells how many are being made, this one included.
    pub(super) fn begin(account: &Arc<Self>, limit: Limit) -> (Permit, u64) {
        let being_made = account.being_made.get(limit as usize);
        let count = being_made.map_or(1, |count| count.fetch_add(1, Ordering::SeqCst) + 1);
        (Permit(Some((Arc::clone(account), limit))), count)
    }

    /// Counts something on a day.
    pub(super) fn take(&self, day: u32, what: Usage, number: u64) {
        let mut taken = self.taken.lock();
        let count = count_of(taken.of(day), what);
        *count = count.saturating_add(number);
    }

    /// Begins a message of a day, where one more is within `most`. It counts against the limit from here on, and as taken
    /// once it is [`Account::accepted`].
    pub(super) fn begin_message(&self, day: u32, most: Option<u64>) -> bool {
        let mut taken = self.taken.lock();
        let has_room = taken.has_room(day, most);
        taken.pending += u64::from(has_room);
        has_room
    }

    /// Counts a message of a day as accepted, where one more is within `most`.
    pub(super) fn accept_message(&self, day: u32, most: Option<u64>) -> bool {
        let mut taken = self.taken.lock();
        if !taken.has_room(day, most) {
            return false;
        }
        let count = count_of(taken.of(day), Usage::Messages);
        *count = count.saturating_add(1);
        true
    }

    /// A message that was begun was accepted, on this day.
    pub(super) fn accepted(&self, day: u32) {
        let mut taken = self.taken.lock();
        taken.pending = taken.pending.saturating_sub(1);
        let count = count_of(taken.of(day), Usage::Messages);
        *count = count.saturating_add(1);
    }

    /// A message that was begun came to nothing.
    pub(super) fn came_to_nothing(&self) {
        let mut taken = self.taken.lock();
        taken.pending = taken.pending.saturating_sub(1);
    }

    /// Lets nobody else add to the store, or read from it, while what is given is held.
    pub(super) async fn exchange(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.exchange.lock().await
    }

    /// What has not been added to the store.
    pub(super) fn untold(&self) -> Vec<UsageDay> {
        self.taken.lock().untold.iter().filter(|usage| !usage.is_empty()).copied().collect()
    }

    /// What was told has been added to the store, which has `total` of that day.
    pub(super) fn told(&self, told: &UsageDay, total: UsageDay, until: Timestamp) {
        let mut taken = self.taken.lock();
        if let Some(untold) = taken.untold.iter_mut().find(|usage| usage.day == told.day) {
            *untold = untold.minus(told);
        }
        taken.untold.retain(|usage| !usage.is_empty());
        if taken.stored.is_none_or(|(stored, _)| stored.day <= total.day) {
            taken.stored = Some((total, until));
        }
    }

    /// Whether it is known what is in the store of a day.
    pub(super) fn knows_stored(&self, day: u32, now: Timestamp) -> bool {
        self.taken.lock().stored.is_some_and(|(stored, until)| stored.day == day && now < until)
    }

    /// Takes in what the store has.
    pub(super) fn learn_stored(&self, total: UsageDay, until: Timestamp) {
        self.taken.lock().stored = Some((total, until));
    }

    /// Whether it holds nothing that would be missed.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        let until = self.believed_until.load(Ordering::Relaxed);
        let is_asked_for = Timestamp::from_micros(until) + IDLE_FOR > now;
        !is_asked_for && self.taken.lock().untold.iter().all(UsageDay::is_empty)
    }
}

impl TakenByDay {
    /// Whether one more message of a day is within `most`.
    fn has_room(&mut self, day: u32, most: Option<u64>) -> bool {
        let Some(most) = most else { return true };
        let stored =
            self.stored.filter(|(stored, _)| stored.day == day).map_or(0, |(stored, _)| stored.messages);
        let untold = self.of(day).messages;
        stored.saturating_add(untold).saturating_add(self.pending) < most
    }

    fn of(&mut self, day: u32) -> &mut UsageDay {
        let at = match self.untold.iter().position(|usage| usage.day == day) {
            Some(at) => at,
            None => {
                self.untold.push(UsageDay::of(day));
                self.untold.len() - 1
            }
        };
        &mut self.untold[at]
    }
}

fn count_of(usage: &mut UsageDay, what: Usage) -> &mut u64 {
    match what {
        Usage::Agents => &mut usage.agents,
        Usage::Connections => &mut usage.connections,
        Usage::Messages => &mut usage.messages,
        Usage::Tasks => &mut usage.tasks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_while_the_rest_is_told_is_told_later() {
        let (account, until) = (Account::new(), Timestamp::from_seconds(9));
        account.take(7, Usage::Messages, 3);
        let told = account.untold();
        account.take(7, Usage::Messages, 2);
        let total = UsageDay { messages: 10, ..UsageDay::of(7) };
        account.told(&told[0], total, until);
        assert_eq!(account.untold(), [UsageDay { messages: 2, ..UsageDay::of(7) }]);
        assert!(account.knows_stored(7, Timestamp::from_seconds(8)));
        assert!(!account.knows_stored(7, until), "believed for a while");
        assert!(!account.knows_stored(8, Timestamp::from_seconds(8)), "of another day");
    }

    #[test]
    fn messages_count_once_whatever_is_told_meanwhile() {
        let (account, until) = (Account::new(), Timestamp::from_seconds(9));
        account.learn_stored(UsageDay { messages: 7, ..UsageDay::of(7) }, until);
        let begin = || account.begin_message(7, Some(10));
        assert!(begin() && begin() && begin());
        assert!(!begin(), "what is begun counts");
        account.came_to_nothing();
        account.accepted(7);
        assert!(begin() && !begin());
        // What is accepted is told; what is begun, or was refused, is not.
        let told = account.untold();
        assert_eq!(told, [UsageDay { messages: 1, ..UsageDay::of(7) }]);
        account.told(&told[0], UsageDay { messages: 8, ..UsageDay::of(7) }, until);
        assert!(!begin());
        account.came_to_nothing();
        account.came_to_nothing();
        assert!(account.untold().is_empty());
        assert!(begin() && begin() && !begin());
        assert!(account.begin_message(7, None) && account.begin_message(8, Some(99)));
        account.came_to_nothing();
        // What is accepted at once counts as what was begun before it.
        let accept = || account.accept_message(9, Some(5));
        account.came_to_nothing();
        account.came_to_nothing();
        account.came_to_nothing();
        assert!(account.begin_message(9, Some(5)) && accept() && accept() && accept() && accept());
        assert!(!accept() && !account.begin_message(9, Some(5)));
    }

    #[test]
    fn one_caller_looks_the_limits_up() {
        let account = Account::new();
        let (now, next) = (Timestamp::from_seconds(1), Timestamp::from_seconds(6));
        assert!(account.is_to_look_up(now, next));
        assert!(!account.is_to_look_up(now, next));
        account.forget_limits();
        assert!(account.is_to_look_up(now, next));
        let own = TenantLimits { requests_per_second: Some(0), ..TenantLimits::default() };
        account.learn(own, TenantLimits { requests_per_second: Some(9), ..TenantLimits::default() });
        assert_eq!(account.requests_max(), Some(0));
        account.learn(TenantLimits::default(), TenantLimits::default());
        assert_eq!(account.requests_max(), None);
    }

    #[test]
    fn what_is_being_made_counts_until_its_permit_is_dropped() {
        let account = Arc::new(Account::new());
        let (first, count) = Account::begin(&account, Limit::Agents);
        assert_eq!(count, 1);
        let (_second, count) = Account::begin(&account, Limit::Agents);
        assert_eq!(count, 2);
        assert_eq!(Account::begin(&account, Limit::ApiKeys).1, 1, "of another kind");
        drop(first);
        assert_eq!(Account::begin(&account, Limit::Agents).1, 2);
    }
}
