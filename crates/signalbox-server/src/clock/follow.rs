//! Keeping the clock: what it follows, and how far off the machine's own is.
//!
//! Nodes of one PostgreSQL follow its clock, so that they agree on leases and due times whatever their machines'
//! clocks say. One process over a file follows its machine's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use signalbox_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{CLOCK, Stopwatch, monotonic, system};

/// How often the reference is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Looks at the reference at the start; the quickest counts.
const LOOKS: usize = 3;
/// An answer that took longer says too little of when it was given.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Differences up to this are nobody's concern.
pub(crate) const DIFFERENCE_MAX: Duration = Duration::from_secs(1);

/// How far the machine's clock is ahead of the reference, in microseconds.
static SYSTEM_AHEAD: AtomicI64 = AtomicI64::new(0);

/// Takes over the time of the store's database, where it has one.
///
/// # Errors
/// [`StoreError`] when the database does not say.
pub(crate) async fn set(store: &Store) -> Result<(), StoreError> {
    let mut best: Option<(Duration, i64)> = None;
    for _ in 0..LOOKS {
        let Some((took, ahead)) = look(store).await? else { return Ok(()) };
        if best.is_none_or(|(quickest, _)| took < quickest) {
            best = Some((took, ahead));
        }
    }
    if let Some((_, ahead)) = best {
        note(ahead);
        let now = system().as_micros() - ahead;
        *CLOCK.write() = super::SteadyClock::set(monotonic(), now);
    }
    Ok(())
}

/// Follows the reference until the server drains.
pub(crate) async fn run(store: Store, draining: CancellationToken) {
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match look(&store).await {
            Ok(Some((took, _))) if took > ANSWER_MAX => {}
            Ok(Some((_, ahead))) => {
                note(ahead);
                CLOCK.write().follow(monotonic(), system().as_micros() - ahead);
            }
            Ok(None) => CLOCK.write().follow(monotonic(), system().as_micros()),
            // Monotonic time goes on well without it.
            Err(error) => tracing::debug!(%error, "the database does not say its time"),
        }
    }
}

/// How far the machine's clock is ahead of the database's, and how long it took to find out.
async fn look(store: &Store) -> Result<Option<(Duration, i64)>, StoreError> {
    let (watch, before) = (Stopwatch::start(), system().as_micros());
    let Some(there) = store.database_time().await? else { return Ok(None) };
    let took = watch.elapsed();
    let half = i64::try_from(took.as_micros() / 2).unwrap_or(0);
    Ok(Some((took, before + half - there.as_micros())))
}

fn note(ahead: i64) {
    let before = SYSTEM_AHEAD.swap(ahead, Ordering::Relaxed);
    if is_off(ahead) && !is_off(before) {
        tracing::warn!(
            ahead_seconds = seconds(ahead),
            "this machine's clock is not the database's; its time is followed, set the machine's clock by NTP"
        );
    }
}

/// What is not as it should be, in words.
pub(crate) fn complaints() -> Vec<String> {
    let (system, behind) = (SYSTEM_AHEAD.load(Ordering::Relaxed), CLOCK.read().behind(monotonic()));
    let mut complaints = Vec::new();
    if is_off(system) {
        let difference = difference(system);
        complaints.push(format!(
            "the clock of this machine is {difference} the database's, whose time is followed; set it by NTP"
        ));
    }
    if is_off(behind) {
        let difference = difference(-behind);
        complaints.push(format!(
            "a clock has jumped: the time that is worked by is {difference} it and goes on evenly until both agree"
        ));
    }
    complaints
}

fn is_off(micros: i64) -> bool {
    micros.unsigned_abs() > DIFFERENCE_MAX.as_micros() as u64
}

fn seconds(micros: i64) -> f64 {
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64() * if micros < 0 { -1.0 } else { 1.0 }
}

fn difference(ahead: i64) -> String {
    let seconds = ahead.unsigned_abs() / 1_000_000;
    format!("{seconds} s {}", if ahead < 0 { "behind" } else { "ahead of" })
}
