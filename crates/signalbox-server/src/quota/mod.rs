//! What tenants may have and take: their limits, how fast they ask, and what they took.
//!
//! A node keeps an [`Account`] of each tenant that is active on it, within a bound. It knows the tenant's limits for
//! [`BELIEVED_FOR`], counts requests as they come, and what was taken until a job adds that to the store. A limit
//! that is not set costs next to nothing.

mod account;
mod over;
mod rate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use quick_cache::DefaultHashBuilder;
use signalbox_core::quota::{Limit, TenantLimits, UsageDay};
use signalbox_store::{Counted, Store, StoreError};
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;

use self::account::Account;
pub(crate) use self::account::{Permit, Usage};

/// How long the limits of a tenant are believed; one that was changed on another node holds so much later.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// Tenants that one node keeps an account of at once; those that took nothing since are dropped for others.
const ACCOUNTS_MAX: usize = 100_000;

/// How long a request waits that is over the limit of requests, before it is told so. Refusing costs so little that whoever
/// sends as fast as it is answered would keep the machine from everybody else.
const REFUSED_AFTER: Duration = Duration::from_millis(100);

/// Why something was not let through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuotaError {
    /// It is over a limit.
    #[error("{}", .0.detail)]
    Over(Problem),
    /// Whether it is cannot be told now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The accounts of all tenants that are active on this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Quotas(Arc<Inner>);

struct Inner {
    store: Store,
    /// What holds where a tenant has no limit of its own.
    defaults: TenantLimits,
    accounts: RwLock<HashMap<TenantId, Arc<Account>, DefaultHashBuilder>>,
}

/// What a tenant took on a day and has not been added to the store.
pub(crate) struct Untold {
    pub(crate) tenant: TenantId,
    pub(crate) usage: UsageDay,
}

impl Quotas {
    pub(crate) fn new(store: Store, defaults: TenantLimits) -> Self {
        Self(Arc::new(Inner { store, defaults, accounts: RwLock::default() }))
    }

    /// What holds where a tenant has no limit of its own.
    pub(crate) fn defaults(&self) -> TenantLimits {
        self.0.defaults
    }

    /// Lets one request of a tenant through, or says when to come again, which takes [`REFUSED_AFTER`].
    pub(crate) async fn admit(&self, tenant: &TenantId, now: Timestamp) -> Result<(), QuotaError> {
        let account = self.known(tenant, now).await;
        let Some(most) = account.requests_max() else { return Ok(()) };
        let Err(wait) = account.rate.take(most, now) else { return Ok(()) };
        tokio::time::sleep(REFUSED_AFTER).await;
        Err(QuotaError::Over(over::rate(tenant, most, account.limits(), wait)))
    }

    /// Lets one more of something be made, where the tenant may have as many. What is being made counts while the
    /// permit is held: hold it until the row is there.
    pub(crate) async fn check(
        &self,
        tenant: &TenantId,
        limit: Limit,
        now: Timestamp,
    ) -> Result<Permit, QuotaError> {
        let account = self.known(tenant, now).await;
        let Some(most) = limit.of(&account.effective(self.0.defaults)) else { return Ok(Permit::free()) };
        let (permit, being_made) = Account::begin(&account, limit);
        let there = match counted(limit) {
            Some(what) => self.0.store.count(tenant, what, most.saturating_add(1)).await?,
            None => 0,
        };
        if there.saturating_add(being_made) > most {
            return Err(QuotaError::Over(over::count(tenant, limit, most, account.limits())));
        }
        Ok(permit)
    }

    /// Counts a message of a tenant, where it may send one more today. It counts no more where what is given is dropped
    /// and not kept.
    pub(crate) async fn message(&self, tenant: &TenantId, now: Timestamp) -> Result<Taken, QuotaError> {
        let account = self.known(tenant, now).await;
        let day = day_of(now);
        let most = Limit::MessagesPerDay.of(&account.effective(self.0.defaults));
        if most.is_some() {
            self.read_stored(tenant, &account, now).await?;
        }
        if account.begin_message(day, most) {
            return Ok(Taken { account: Some(account), day });
        }
        Err(QuotaError::Over(over::day(tenant, most.unwrap_or_default(), account.limits(), now)))
    }

    /// Counts a request that is a message and is accepted at once, or says why it is not let through; as
    /// [`Quotas::admit`] and [`Quotas::message`] do. `None`, and nothing is counted, where something has to be looked up
    /// for that, or it is over the limit of requests.
    pub(crate) fn message_at_once(
        &self,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Option<Result<(), QuotaError>> {
        let accounts = self.0.accounts.read();
        let account = accounts.get(tenant).filter(|account| account.is_believed(now))?;
        let day = day_of(now);
        let most = Limit::MessagesPerDay.of(&account.effective(self.0.defaults));
        if most.is_some() && !account.knows_stored(day, now) {
            return None;
        }
        if let Some(requests) = account.requests_max()
            && account.rate.take(requests, now).is_err()
        {
            return None;
        }
        if account.accept_message(day, most) {
            return Some(Ok(()));
        }
        Some(Err(QuotaError::Over(over::day(tenant, most.unwrap_or_default(), account.limits(), now))))
    }

    /// Counts something that a tenant took.
    pub(crate) fn count(&self, tenant: &TenantId, what: Usage, number: u64, now: Timestamp) {
        self.account(tenant).take(day_of(now), what, number);
    }

    /// The limits that hold for a tenant.
    pub(crate) async fn effective(&self, tenant: &TenantId, now: Timestamp) -> TenantLimits {
        self.known(tenant, now).await.effective(self.0.defaults)
    }

    /// What this node counted of a tenant and has not added to the store.
    pub(crate) fn untold_of(&self, tenant: &TenantId) -> Vec<UsageDay> {
        self.0.accounts.read().get(tenant).map(|account| account.untold()).unwrap_or_default()
    }

    /// Everything that this node counted and has not added to the store. Accounts of tenants that have taken nothing
    /// for a while are dropped.
    pub(crate) fn untold(&self, now: Timestamp) -> Vec<Untold> {
        let untold = {
            let accounts = self.0.accounts.read();
            let of = |(tenant, account): (&TenantId, &Arc<Account>)| {
                let owned = |usage| Untold { tenant: tenant.clone(), usage };
                account.untold().into_iter().map(owned).collect::<Vec<_>>()
            };
            accounts.iter().flat_map(of).collect()
        };
        self.0.accounts.write().retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now));
        untold
    }

    /// Has `add` add to the store what was taken; it answers what that then has of the day. Meanwhile nothing is read of it.
    pub(crate) async fn tell<E>(
        &self,
        untold: &Untold,
        now: Timestamp,
        add: impl Future<Output = Result<UsageDay, E>>,
    ) -> Result<(), E> {
        let Some(account) = self.0.accounts.read().get(&untold.tenant).cloned() else { return Ok(()) };
        let _alone = account.exchange().await;
        account.told(&untold.usage, add.await?, now + BELIEVED_FOR);
        Ok(())
    }

    /// What is known of a tenant's limits is looked up again before the next request.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        if let Some(account) = self.0.accounts.read().get(tenant) {
            account.forget_limits();
        }
    }

    /// A tenant is gone with all that it took.
    pub(crate) fn drop_account(&self, tenant: &TenantId) {
        self.0.accounts.write().remove(tenant);
    }

    fn account(&self, tenant: &TenantId) -> Arc<Account> {
        if let Some(account) = self.0.accounts.read().get(tenant) {
            return Arc::clone(account);
        }
        let mut accounts = self.0.accounts.write();
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(tenant) {
            // It is looked up each time, and what it takes is not counted, until others have gone.
            tracing::warn!(%tenant, "more tenants are active than this node keeps accounts of");
            return Arc::new(Account::new());
        }
        Arc::clone(accounts.entry(tenant.clone()).or_insert_with(|| Arc::new(Account::new())))
    }

    /// The account of a tenant with limits that are believed. All wait for the first look-up. Where they are due to be
    /// looked up again, one caller does that; the others go on with what was known, and so do all while the store cannot
    /// answer.
    async fn known(&self, tenant: &TenantId, now: Timestamp) -> Arc<Account> {
        let account = self.account(tenant);
        let is_due = account.is_to_look_up(now, now + BELIEVED_FOR);
        if !account.is_known.initialized() {
            // Where it fails, the next who asks tries again.
            let _ = account.is_known.get_or_try_init(|| self.look_up(tenant, &account)).await;
        } else if is_due {
            let _ = self.look_up(tenant, &account).await;
        }
        account
    }

    /// Looks a tenant's limits up. Where the store cannot answer, what is known of its own stays.
    async fn look_up(&self, tenant: &TenantId, account: &Account) -> Result<(), StoreError> {
        match self.0.store.tenant(tenant).await {
            Ok(row) => {
                account.learn(row.map(|row| row.limits).unwrap_or_default(), self.0.defaults);
                Ok(())
            }
            Err(error) => {
                account.learn_defaults(self.0.defaults);
                tracing::debug!(%error, %tenant, "the limits of a tenant could not be looked up");
                Err(error)
            }
        }
    }

    /// Sees to it that the account knows what the store has of today, as of a moment ago.
    async fn read_stored(
        &self,
        tenant: &TenantId,
        account: &Account,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let day = day_of(now);
        if account.knows_stored(day, now) {
            return Ok(());
        }
        let _alone = account.exchange().await;
        // Another may have read it meanwhile, or added to it.
        if account.knows_stored(day, now) {
            return Ok(());
        }
        let read = self.0.store.usage_day(tenant, day).await?;
        let total = read.map_or_else(|| UsageDay::of(day), |read| *read.value);
        account.learn_stored(total, now + BELIEVED_FOR);
        Ok(())
    }
}

/// A message that was counted.
#[must_use = "it counts no more where it is dropped"]
pub(crate) struct Taken {
    account: Option<Arc<Account>>,
    day: u32,
}

impl Taken {
    /// A message that nobody counts.
    pub(crate) fn uncounted() -> Self {
        Self { account: None, day: 0 }
    }

    /// The message was accepted.
    pub(crate) fn keep(mut self) {
        if let Some(account) = self.account.take() {
            account.accepted(self.day);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(account) = self.account.take() {
            account.came_to_nothing();
        }
    }
}

/// The day of a moment, by UTC: how many whole days after the first of 1970.
pub(crate) fn day_of(now: Timestamp) -> u32 {
    u32::try_from(now.as_seconds().div_euclid(86_400)).unwrap_or(0)
}

/// Where the store has what a limit counts.
fn counted(limit: Limit) -> Option<Counted> {
    match limit {
        Limit::Agents => Some(Counted::Agents),
        Limit::Connections => Some(Counted::Connections),
        Limit::Channels => Some(Counted::Channels),
        Limit::SshKeys => Some(Counted::SshKeys),
        Limit::ApiKeys => Some(Counted::ApiKeys),
        Limit::MessagesPerDay | Limit::RequestsPerSecond => None,
    }
}
