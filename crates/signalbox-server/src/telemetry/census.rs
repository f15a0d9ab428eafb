//! How many sessions, tasks, agents and dead letters there are, as far as the store counts them cheaply, and how many
//! sessions came to their end here.
//!
//! What is stored is counted at most every [`COUNTED_EVERY`], however often it is asked for. Over a shared database each
//! node shows the same numbers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_core::Decision;
use signalbox_store::{Census, Store};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old the numbers may be.
const COUNTED_EVERY: Duration = Duration::from_secs(10);
/// The statuses of a session that is not over.
const OPEN: [&str; 3] = ["started", "running", "paused"];
/// The words that carry meaning in reports; agents may report any other.
const STATES: [&str; 9] =
    ["initializing", "idle", "active", "busy", "finished", "completed", "error", "failed", "offline"];
/// The events that end a session, each with its status.
const ENDS: [(&str, &str); 3] =
    [("session.completed", "completed"), ("session.failed", "failed"), ("session.cancelled", "cancelled")];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// The numbers.
pub(super) struct Counts {
    sessions: Family<StatusLabels, Gauge>,
    sessions_ended: Family<StatusLabels, Counter>,
    /// Those of each status, in the order of [`ENDS`], found without labels.
    ended: [Counter; 3],
    tasks_waiting: Gauge,
    tasks_running: Gauge,
    agents: Family<StateLabels, Gauge>,
    dead_letters: Gauge,
    counted_at: Mutex<Option<Instant>>,
}

/// How many sessions a decision ends, by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ended([u64; 3]);

impl Ended {
    /// Those that `decision` ends.
    pub(crate) fn by(decision: &Decision) -> Self {
        let mut ended = Self::default();
        for event in &decision.events {
            if let Some(place) = ENDS.iter().position(|(kind, _)| *kind == event.kind)
                && let Some(count) = ended.0.get_mut(place)
            {
                *count += 1;
            }
        }
        ended
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        let sessions_ended = Family::<StatusLabels, Counter>::default();
        let ended = ENDS.map(|(_, status)| sessions_ended.get_or_create(&StatusLabels { status }).clone());
        Self {
            sessions: Family::default(),
            sessions_ended,
            ended,
            tasks_waiting: Gauge::default(),
            tasks_running: Gauge::default(),
            agents: Family::default(),
            dead_letters: Gauge::default(),
            counted_at: Mutex::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("sessions", "Sessions that are not over", self.sessions.clone());
        registry.register("sessions_ended", "Sessions that ended here", self.sessions_ended.clone());
        registry.register("tasks_waiting", "Tasks that wait for an agent", self.tasks_waiting.clone());
        registry.register("tasks_running", "Tasks that agents hold", self.tasks_running.clone());
        registry.register("agents", "Agents by what they reported last", self.agents.clone());
        registry.register("dead_letters_kept", "Deliveries given up, and kept", self.dead_letters.clone());
    }

    /// What a commit ended.
    pub(super) fn ended(&self, ended: Ended) {
        for (counter, count) in self.ended.iter().zip(ended.0) {
            if count > 0 {
                counter.inc_by(count);
            }
        }
    }

    /// Counts anew where the numbers are too old. A store that cannot answer leaves them as they are.
    pub(super) async fn refresh(&self, store: &Store) {
        let mut counted_at = self.counted_at.lock().await;
        if counted_at.is_some_and(|at| at.elapsed() < COUNTED_EVERY) {
            return;
        }
        match store.census().await {
            Ok(census) => self.set(&census),
            Err(error) => tracing::warn!(%error, "sessions, tasks and agents could not be counted"),
        }
        *counted_at = Some(Instant::now());
    }

    fn set(&self, census: &Census) {
        for status in OPEN {
            let count = census.open_sessions.iter().find(|(name, _)| name == status);
            let count = count.map_or(0, |(_, count)| *count);
            self.sessions.get_or_create(&StatusLabels { status }).set(as_gauge(count));
        }
        for state in STATES.into_iter().chain(["other", "none"]) {
            let of_state = census.agents.iter().filter(|(word, _)| label_of(word.as_deref()) == state);
            let count = of_state.map(|(_, count)| count).sum();
            self.agents.get_or_create(&StateLabels { state }).set(as_gauge(count));
        }
        self.tasks_waiting.set(as_gauge(census.tasks_waiting));
        self.tasks_running.set(as_gauge(census.tasks_held));
        self.dead_letters.set(as_gauge(census.dead_letters));
    }
}

/// The label of a reported word: agents may make up words, labels must not grow.
fn label_of(word: Option<&str>) -> &'static str {
    match word {
        None => "none",
        Some(word) => STATES.into_iter().find(|state| *state == word).unwrap_or("other"),
    }
}

fn as_gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use signalbox_core::event::{Level, NewEvent};
    use signalbox_core::session::SessionStatus;
    use signalbox_wire::time::Timestamp;

    use super::*;

    #[test]
    fn labels_are_few_whatever_agents_report() {
        assert_eq!(label_of(Some("idle")), "idle");
        assert_eq!(label_of(Some("making-coffee-17")), "other");
        assert_eq!(label_of(None), "none");
    }

    #[test]
    fn sessions_that_a_decision_ends_are_counted_by_status() {
        let event = |kind: &str| NewEvent::written(kind, Level::Info, Timestamp::default(), "{}".to_owned());
        let kinds =
            ["session.failed", "task.failed", "session.completed", "session.failed", "session.paused"];
        let decision = Decision { events: kinds.map(event).into(), ..Decision::default() };
        assert_eq!(Ended::by(&decision), Ended([1, 2, 0]));
    }

    #[test]
    fn every_status_of_a_session_is_counted_one_way_or_the_other() {
        for status in SessionStatus::ALL {
            let name = serde_json::to_value(status).expect("a name");
            let name = name.as_str().expect("text");
            let is_ended = ENDS.iter().any(|(_, ended)| *ended == name);
            assert_eq!((OPEN.contains(&name), is_ended), (!status.is_over(), status.is_over()), "{name}");
        }
    }
}
