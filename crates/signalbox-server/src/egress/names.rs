//! Looking up the names of hosts, so that a slow resolver costs only who asks for the hosts that it is slow for.
//!
//! The system's resolver holds a thread for as long as it likes, of a pool that lists of the store need too. So look-ups
//! in flight are bounded, in all and for each tenant, a host has one at most, and nobody waits longer than
//! [`PATIENCE`]. A tenant may have half of what others leave free: something is free whoever comes. Answers are used
//! again for a moment, and for longer where the resolver is slow.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use signalbox_wire::id::TenantId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// Look-ups in flight at once. One that has begun counts until the resolver is done with it, also when nobody waits.
const LOOKUPS_MAX: usize = 64;
/// How long a call waits for the addresses of its host.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits where there is an earlier answer.
const PATIENCE_WITH_ANSWER: Duration = Duration::from_secs(1);
/// How long an answer is used without another look-up.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// How long an answer is used where the resolver is slow.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Hosts whose answers are kept at once; over it, all are forgotten.
const HOSTS_MAX: usize = 10_000;

/// The addresses of a host.
pub(crate) type Addresses = Arc<[IpAddr]>;
type Outcome = Result<Addresses, (io::ErrorKind, String)>;
type Finding = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
type Find = dyn Fn(String) -> Finding + Send + Sync;

/// For whom a host is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// A tenant.
    Tenant(TenantId),
    /// Nobody says: all names under one domain count as one.
    Domain(String),
}

impl Asker {
    /// That of a host for which nobody says who asks.
    pub(crate) fn unnamed(host: &str) -> Self {
        let mut labels = host.trim_end_matches('.').rsplitn(3, '.');
        let (top, second) = (labels.next().unwrap_or_default(), labels.next());
        Self::Domain(second.map_or_else(|| top.to_owned(), |second| format!("{second}.{top}")))
    }
}

/// The names that are looked up, and those that were; cheap to clone.
#[derive(Clone)]
pub(crate) struct Names(Arc<Inner>);

struct Inner {
    find: Box<Find>,
    /// Look-ups in flight, for the metrics.
    in_flight: Gauge,
    state: Mutex<State>,
    /// Rings when a look-up has ended.
    freed: Notify,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, (Instant, Addresses)>,
    under_way: HashMap<String, watch::Receiver<Option<Outcome>>>,
    askers: HashMap<Asker, usize>,
}

impl Names {
    /// Those that the system's resolver knows.
    pub(crate) fn of_system(in_flight: Gauge) -> Self {
        let find = |host: String| -> Finding {
            Box::pin(async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        };
        Self::by(find, in_flight)
    }

    fn by(find: impl Fn(String) -> Finding + Send + Sync + 'static, in_flight: Gauge) -> Self {
        let (state, freed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { find: Box::new(find), in_flight, state, freed }))
    }

    /// The addresses of `host`.
    ///
    /// # Errors
    /// What the resolver says, or that it has not said anything in time.
    pub(crate) async fn addresses(&self, host: &str, asker: &Asker) -> io::Result<Addresses> {
        let earlier = self.0.state.lock().answers.get(host).cloned();
        let earlier = earlier.filter(|(at, _)| at.elapsed() < KEPT_FOR);
        match earlier {
            Some((at, found)) if at.elapsed() < FRESH_FOR => Ok(found),
            Some((_, found)) => {
                let found_anew = timeout(PATIENCE_WITH_ANSWER, self.look_up(host, asker)).await;
                found_anew.unwrap_or(Ok(found))
            }
            None => timeout(PATIENCE, self.look_up(host, asker)).await.unwrap_or_else(|_| {
                let told = format!("the name '{host}' was not resolved within {} ms", PATIENCE.as_millis());
                Err(io::Error::new(io::ErrorKind::TimedOut, told))
            }),
        }
    }

    async fn look_up(&self, host: &str, asker: &Asker) -> io::Result<Addresses> {
        let mut outcome = loop {
            let mut freed = std::pin::pin!(self.0.freed.notified());
            freed.as_mut().enable();
            match self.begin(host, asker) {
                Some(outcome) => break outcome,
                None => freed.await,
            }
        };
        let ended = outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        match ended.ok().flatten() {
            Some(outcome) => outcome.map_err(|(kind, reason)| io::Error::new(kind, reason)),
            None => Err(interrupted(host)),
        }
    }

    /// What comes of the look-up of `host` that is under way, or of a new one where there is room for it.
    fn begin(&self, host: &str, asker: &Asker) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut state = self.0.state.lock();
        if let Some(outcome) = state.under_way.get(host) {
            return Some(outcome.clone());
        }
        let own = state.askers.get(asker).copied().unwrap_or_default();
        let left_by_others = LOOKUPS_MAX + own - state.under_way.len();
        if own >= left_by_others.div_ceil(2) {
            return None;
        }
        let (told, outcome) = watch::channel(None);
        state.under_way.insert(host.to_owned(), outcome.clone());
        *state.askers.entry(asker.clone()).or_default() += 1;
        self.0.in_flight.inc();
        let look_up = LookUp {
            names: self.clone(),
            host: host.to_owned(),
            asker: asker.clone(),
            told,
            outcome: Err(interrupted(host)),
        };
        drop(state);
        let finding = (self.0.find)(host.to_owned());
        tokio::spawn(look_up.run(finding));
        Some(outcome)
    }
}

/// A look-up under way. It ends with this, whatever ends it.
struct LookUp {
    names: Names,
    host: String,
    asker: Asker,
    told: watch::Sender<Option<Outcome>>,
    outcome: io::Result<Addresses>,
}

impl LookUp {
    async fn run(mut self, finding: Finding) {
        self.outcome = finding.await.map(Addresses::from);
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        let inner = &self.names.0;
        let mut state = inner.state.lock();
        state.under_way.remove(&self.host);
        if let Some(count) = state.askers.get_mut(&self.asker) {
            *count -= 1;
            if *count == 0 {
                state.askers.remove(&self.asker);
            }
        }
        if let Ok(found) = &self.outcome {
            if state.answers.len() >= HOSTS_MAX {
                state.answers.clear();
            }
            state.answers.insert(std::mem::take(&mut self.host), (Instant::now(), Arc::clone(found)));
        }
        drop(state);
        inner.in_flight.dec();
        let outcome = self.outcome.as_ref().map(Arc::clone);
        let _ = self.told.send(Some(outcome.map_err(|error| (error.kind(), error.to_string()))));
        inner.freed.notify_waiters();
    }
}

fn interrupted(host: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, format!("the look-up of '{host}' was cut short"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Hosts that end with `slow` are never resolved, all others are, to this machine.
    pub(crate) fn with_slow_ones() -> Names {
        let find = |host: String| -> Finding {
            Box::pin(async move {
                if host.ends_with("slow") {
                    std::future::pending::<()>().await;
                }
                Ok(vec![HOME])
            })
        };
        Names::by(find, Gauge::default())
    }

    fn tenant(name: &str) -> Asker {
        Asker::Tenant(TenantId::parse(name).expect("valid"))
    }

    async fn ask_for_slow_ones(names: &Names, asker: &Asker, count: usize) -> Vec<io::ErrorKind> {
        let mut asking = JoinSet::new();
        for number in 0..count {
            let (names, asker) = (names.clone(), asker.clone());
            asking.spawn(async move { names.addresses(&format!("{number}.slow"), &asker).await });
        }
        let ended = asking.join_all().await;
        ended.into_iter().filter_map(|ended| ended.err().map(|error| error.kind())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_hang_take_nothing_from_others() {
        let names = with_slow_ones();
        let failed = ask_for_slow_ones(&names, &tenant("hostile"), 500).await;
        assert_eq!(failed, [io::ErrorKind::TimedOut; 500], "each within its time");
        assert_eq!(names.0.in_flight.get(), 32, "half of all is the most that one may have");
        for (other, left) in [("a", 48), ("b", 56)] {
            ask_for_slow_ones(&names, &tenant(other), 500).await;
            assert_eq!(names.0.in_flight.get(), left, "half of what is left");
        }
        let good = tenant("good");
        for number in 0..100 {
            let host = format!("{number}.fast");
            let found = timeout(Duration::from_millis(1), names.addresses(&host, &good));
            assert_eq!(found.await.expect("at once").expect("found").as_ref(), [HOME]);
        }
        for number in 0..100 {
            ask_for_slow_ones(&names, &tenant(&format!("tenant-{number}")), 100).await;
        }
        assert_eq!(names.0.in_flight.get(), 64, "and never more than all");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_says_who_asks_the_domain_counts() {
        let names = with_slow_ones();
        ask_for_slow_ones(&names, &Asker::unnamed("x.evil.slow"), 500).await;
        assert_eq!(names.0.in_flight.get(), 32);
        assert_eq!(Asker::unnamed("a.b.evil.slow."), Asker::unnamed("evil.slow"));
        assert_eq!(Asker::unnamed("localhost"), Asker::Domain("localhost".to_owned()));
        let found = names.addresses("good.example", &Asker::unnamed("good.example")).await;
        assert_eq!(found.expect("found").as_ref(), [HOME]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_used_again_and_for_longer_where_the_resolver_hangs() {
        let (count, hangs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, hanging) = (Arc::clone(&count), Arc::clone(&hangs));
        let find = move |_| -> Finding {
            counted.fetch_add(1, Ordering::Relaxed);
            let hangs = hanging.load(Ordering::Relaxed);
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(vec![HOME])
            })
        };
        let names = Names::by(find, Gauge::default());
        let asker = tenant("a");
        let (one, other) =
            tokio::join!(names.addresses("a.example", &asker), names.addresses("a.example", &asker));
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(count.load(Ordering::Relaxed), 1, "one look-up for two that ask at once");
        tokio::time::advance(FRESH_FOR - Duration::from_secs(1)).await;
        assert!(names.addresses("a.example", &asker).await.is_ok());
        assert_eq!(count.load(Ordering::Relaxed), 1, "and for who asks soon after");
        hangs.store(true, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(2)).await;
        let began = Instant::now();
        assert!(names.addresses("a.example", &asker).await.is_ok(), "the earlier answer");
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert!(began.elapsed() <= PATIENCE_WITH_ANSWER + Duration::from_millis(1));
        tokio::time::advance(KEPT_FOR).await;
        assert!(names.addresses("a.example", &asker).await.is_err(), "it is too old");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_resolver_refuses_is_told_and_holds_nothing() {
        let find = |_| -> Finding { Box::pin(async { Err(io::Error::other("no such host")) }) };
        let names = Names::by(find, Gauge::default());
        let error = names.addresses("x.example", &tenant("a")).await.expect_err("refused");
        assert!(error.to_string().contains("no such host"), "{error}");
        assert_eq!(names.0.in_flight.get(), 0);
        assert!(names.0.state.lock().askers.is_empty());
    }
}
