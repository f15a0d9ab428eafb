//! Retention, as both databases do it: in rounds of a bounded number of rows, and in pieces of a bounded time.
//!
//! A piece is what commits may have to wait for. How many rows it has follows from how long those before it took. In
//! each round each kind of thing has a share, and of that each tenant, so that nobody's backlog keeps the others'
//! things; what one leaves goes to those after it. The next round begins with the tenant after the last one served.

use std::time::Duration;

use signalbox_core::quota::USAGE_DAYS_KEPT;
use tokio::sync::Mutex;

use crate::api::{Cutoffs, Prune, Pruned};
use crate::error::StoreError;

/// Tenants that are served in one round, at most.
pub(crate) const TENANTS_MAX: usize = 256;

/// Channels that one piece removes something of, at most.
pub(crate) const CHANNELS_AT_ONCE: usize = 64;

/// Rows of a piece: in the beginning, the fewest, the most.
const PIECE_ROWS: (usize, usize, usize) = (256, 16, 16_384);

/// A day, in microseconds.
const DAY_US: i64 = 86_400_000_000;

/// What is removed tenant by tenant, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Settled messages.
    Messages,
    /// Commands that are over.
    Commands,
    /// Ended sessions with all that is theirs.
    Sessions,
    /// Entries of the log that belong to no open session.
    Events,
    /// What channels keep no longer, each by what it says itself.
    ChannelMessages,
    /// Figures of use of days that are over for long.
    Usage,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Messages, Self::Commands, Self::Sessions, Self::ChannelMessages, Self::Usage, Self::Events];

    /// The moment before which it goes; of figures of use, the day.
    pub(crate) fn cutoff(self, cutoffs: Cutoffs) -> i64 {
        match self {
            Self::Messages | Self::Commands => cutoffs.messages,
            Self::Sessions => cutoffs.sessions,
            Self::Events => cutoffs.events,
            Self::ChannelMessages => cutoffs.now,
            Self::Usage => cutoffs.now.div_euclid(DAY_US) - i64::from(USAGE_DAYS_KEPT) + 1,
        }
    }
}

/// A tenant with something that may be old enough to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    /// Which.
    pub(crate) name: String,
    /// What is older than this goes; in microseconds since 1970, of figures of use in days.
    pub(crate) before: i64,
}

/// What one piece came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Rows removed.
    pub(crate) removed: usize,
    /// Whether nothing more can go here now.
    pub(crate) is_done: bool,
    /// How long it held up whoever needs the same.
    pub(crate) took: Duration,
}

/// A database from which things are removed.
#[async_trait::async_trait]
pub(crate) trait Removes: Send + Sync {
    /// Removes kept answers and signatures that have expired, at most `limit` of them.
    async fn expired(&self, limit: usize) -> Result<Piece, StoreError>;

    /// Tenants after `after`, in their order, whose oldest thing of this kind may go; at most [`TENANTS_MAX`].
    async fn tenants(&self, kind: Kind, after: &str) -> Result<Vec<Tenant>, StoreError>;

    /// Removes some of it, at most `limit` rows.
    async fn remove(&self, kind: Kind, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError>;
}

/// What one round leaves for the next.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// The tenant that was served last, by kind.
    last: [String; Kind::ALL.len()],
    /// Rows of the next piece.
    rows: usize,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { last: Default::default(), rows: PIECE_ROWS.0 }
    }
}

impl Rounds {
    /// One round.
    pub(crate) async fn go(
        rounds: &Mutex<Self>,
        database: &dyn Removes,
        prune: &Prune,
    ) -> Result<Pruned, StoreError> {
        let mut rounds = rounds.lock().await;
        let mut round = Round { database, prune, rows: rounds.rows, pruned: Pruned::default() };
        let mut left = prune.limit;
        let share = left.div_ceil(Kind::ALL.len() + 1);
        left -= round.expired(share).await?;
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            let share = left.div_ceil(Kind::ALL.len() - number);
            left -= round.kind(kind, share, &mut rounds.last[number]).await?;
        }
        rounds.rows = round.rows;
        Ok(round.pruned)
    }
}

struct Round<'a> {
    database: &'a dyn Removes,
    prune: &'a Prune,
    rows: usize,
    pruned: Pruned,
}

impl Round<'_> {
    async fn expired(&mut self, share: usize) -> Result<usize, StoreError> {
        let mut left = share;
        while left > 0 {
            let asked = left.min(self.rows);
            let piece = self.database.expired(asked).await?;
            left -= self.took(asked, piece);
            if piece.is_done {
                return Ok(share - left);
            }
        }
        self.pruned.has_more = true;
        Ok(share)
    }

    async fn kind(&mut self, kind: Kind, share: usize, last: &mut String) -> Result<usize, StoreError> {
        let mut tenants = self.database.tenants(kind, last).await?;
        if tenants.len() < TENANTS_MAX && !last.is_empty() {
            let first = self.database.tenants(kind, "").await?;
            tenants.extend(first.into_iter().take_while(|tenant| tenant.name <= *last));
            tenants.truncate(TENANTS_MAX);
        }
        self.pruned.has_more |= tenants.len() == TENANTS_MAX;
        let mut left = share;
        while left > 0 && !tenants.is_empty() {
            let (before, count) = (left, tenants.len());
            let mut unfinished = Vec::new();
            for (number, tenant) in tenants.into_iter().enumerate() {
                let part = left.div_ceil(count - number);
                if part > 0 {
                    last.clone_from(&tenant.name);
                }
                let (used, is_done) = self.tenant(kind, &tenant, part).await?;
                left -= used;
                if !is_done {
                    unfinished.push(tenant);
                }
            }
            tenants = unfinished;
            // Those that are kept by open sessions are looked through a part at a time.
            if left == before {
                break;
            }
        }
        self.pruned.has_more |= !tenants.is_empty();
        Ok(share - left)
    }

    /// Removes up to `share` rows of a tenant; answers how many, and whether that was all.
    async fn tenant(
        &mut self,
        kind: Kind,
        tenant: &Tenant,
        share: usize,
    ) -> Result<(usize, bool), StoreError> {
        let mut left = share;
        while left > 0 {
            let asked = left.min(self.rows);
            let piece = self.database.remove(kind, tenant, asked).await?;
            left -= self.took(asked, piece);
            if piece.is_done {
                return Ok((share - left, true));
            }
            if piece.removed == 0 {
                break;
            }
        }
        Ok((share - left, false))
    }

    /// Counts a piece, and makes the next one so large that it takes about the time that it may take. Answers how many
    /// rows of the share it used.
    fn took(&mut self, asked: usize, piece: Piece) -> usize {
        self.pruned.removed += piece.removed as u64;
        let (target, took) = (self.prune.piece, piece.took.max(Duration::from_micros(1)));
        if took > target {
            let fewer = piece.removed.max(1) as u128 * target.as_micros() / took.as_micros();
            self.rows = usize::try_from(fewer).unwrap_or(usize::MAX).min(self.rows / 2);
        } else if took * 2 < target && piece.removed >= self.rows {
            self.rows *= 2;
        }
        self.rows = self.rows.clamp(PIECE_ROWS.1, PIECE_ROWS.2);
        piece.removed.min(asked)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex as Lock;
    use signalbox_wire::time::Timestamp;

    use super::*;

    /// Counts of rows that may go, each of which takes this long.
    struct Counts {
        events: Lock<BTreeMap<String, usize>>,
        messages: Lock<usize>,
        row: Duration,
        asked: Lock<Vec<(String, usize)>>,
    }

    fn counts(events: &[(&str, usize)], row: Duration) -> Counts {
        let events = events.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let (events, asked) = (Lock::new(events), Lock::default());
        Counts { events, messages: Lock::default(), row, asked }
    }

    impl Counts {
        fn piece(&self, name: &str, have: &mut usize, limit: usize) -> Piece {
            let removed = limit.min(*have);
            *have -= removed;
            self.asked.lock().push((name.to_owned(), limit));
            let took = self.row * u32::try_from(removed).expect("few");
            Piece { removed, is_done: *have == 0, took }
        }
    }

    #[async_trait::async_trait]
    impl Removes for Counts {
        async fn expired(&self, _: usize) -> Result<Piece, StoreError> {
            Ok(Piece { is_done: true, ..Piece::default() })
        }

        async fn tenants(&self, kind: Kind, after: &str) -> Result<Vec<Tenant>, StoreError> {
            let named = |name: &str| Tenant { name: name.to_owned(), before: 0 };
            Ok(match kind {
                Kind::Events => {
                    let events = self.events.lock();
                    let some = events.iter().filter(|(name, count)| **count > 0 && name.as_str() > after);
                    some.map(|(name, _)| named(name)).collect()
                }
                Kind::Messages if *self.messages.lock() > 0 && after < "m" => vec![named("m")],
                _ => Vec::new(),
            })
        }

        async fn remove(&self, kind: Kind, tenant: &Tenant, limit: usize) -> Result<Piece, StoreError> {
            Ok(match kind {
                Kind::Messages => self.piece("m", &mut self.messages.lock(), limit),
                _ => {
                    let mut events = self.events.lock();
                    self.piece(&tenant.name, events.get_mut(&tenant.name).expect("known"), limit)
                }
            })
        }
    }

    fn prune(limit: usize) -> Prune {
        let now = Timestamp::default();
        let piece = Duration::from_millis(5);
        Prune { events_before: now, sessions_before: now, messages_before: now, now, limit, piece }
    }

    #[tokio::test]
    async fn nobodys_backlog_keeps_what_is_others() {
        let counts = counts(&[("big", 1_000_000), ("small", 10)], Duration::ZERO);
        *counts.messages.lock() = 1_000_000;
        let rounds = Mutex::default();
        let pruned = Rounds::go(&rounds, &counts, &prune(2_000)).await.expect("pruned");
        assert_eq!((pruned.removed, pruned.has_more), (2_000, true));
        assert_eq!(counts.events.lock()["small"], 0, "another tenant's backlog");
        assert!(counts.events.lock()["big"] < 1_000_000, "a backlog of another kind");
        assert!(*counts.messages.lock() < 1_000_000);
    }

    #[tokio::test]
    async fn a_round_goes_on_with_the_tenant_after_the_last_one_and_ends() {
        let counts = counts(&[("a", 3), ("b", 3), ("c", 3)], Duration::ZERO);
        let rounds = Mutex::default();
        let mut served = Vec::new();
        loop {
            let pruned = Rounds::go(&rounds, &counts, &prune(1)).await.expect("pruned");
            served.extend(counts.asked.lock().drain(..).map(|(name, _)| name));
            if !pruned.has_more {
                break;
            }
        }
        assert_eq!(served[..6], ["a", "b", "c", "a", "b", "c"]);
        assert!(counts.events.lock().values().all(|count| *count == 0));
    }

    #[tokio::test]
    async fn a_piece_has_as_many_rows_as_its_time_allows() {
        let slow = counts(&[("a", 100_000)], Duration::from_micros(50));
        let rounds = Mutex::default();
        for _ in 0..3 {
            Rounds::go(&rounds, &slow, &prune(5_000)).await.expect("pruned");
        }
        let last = slow.asked.lock().last().map(|(_, rows)| *rows);
        assert!(last.is_some_and(|rows| (40..=100).contains(&rows)), "5 ms of 50 µs each: {last:?}");

        let quick = counts(&[("a", 1_000_000)], Duration::from_micros(1));
        Rounds::go(&rounds, &quick, &prune(100_000)).await.expect("pruned");
        let largest = quick.asked.lock().iter().map(|(_, rows)| *rows).max();
        assert!(largest.is_some_and(|rows| (2_500..=5_000).contains(&rows)), "{largest:?}");
    }
}
