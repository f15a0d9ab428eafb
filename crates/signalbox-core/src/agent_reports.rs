//! Which of two reports of an agent is the newer, and what each does to the task that it is about.
//!
//! Reports are ordered by their own timestamps, as far as those can be: what lies further ahead of its
//! reception than [`CLOCK_AHEAD_MAX`] counts as if it were that far ahead. So one report from a clock that is
//! wrong cannot silence the right ones that follow for longer than that.
//!
//! A report that names no task settles the one that its agent holds only where the agent can have meant it:
//! [`Effect`] says which do.
//!
//! A report that comes again, from a client that lost the answer, is no news. Where the order cannot tell,
//! because the report shares its moment with a newer one or is dated ahead, a fingerprint does.

use std::time::Duration;

use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use crate::agent::{AgentStatus, Held};
use crate::report::{Fingerprint, Meaning, Report};
use crate::task_attempt::TaskAttempt;

/// How far ahead of the server's an agent's clock may be and still order its reports: more than any clock that
/// is kept at all is wrong by, and a small part of the time that a task is given.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(60);
/// Fingerprints that are kept of one agent, the oldest forgotten first.
pub const FINGERPRINTS_MAX: usize = 16;

/// How much later than a report's reception the agent may seem to have answered the delivery that it answered
/// first: the two come over different connections, and are looked at by different threads.
pub const OVERTAKING_MAX: Duration = Duration::from_secs(1);

/// What a report does to the task that it names, or to the only one that its agent holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is about the task.
    Counts,
    /// It is, as soon as the task's delivery is answered with 2xx, if it is still the newest report then.
    AwaitsDelivery,
    /// It cannot be meant.
    Nothing,
}

impl Report {
    /// What this report does to the only task that its agent holds, without naming it.
    ///
    /// | unnamed report              | delivery still open    | task taken, report not older      |
    /// |-----------------------------|------------------------|-----------------------------------|
    /// | `active`, `busy`            | counts, if not older than the dispatch | the same          |
    /// | `finished` … `failed`       | awaits the delivery    | counts                            |
    /// | `idle` with a `result`      | awaits the delivery    | counts                            |
    /// | `idle`                      | nothing                | counts once the task was `active` |
    /// | any other word              | nothing                | nothing                           |
    #[must_use]
    pub fn effect_unnamed(&self, held: &Held) -> Effect {
        let is_idle = self.state.eq_ignore_ascii_case("idle");
        let counts = match (Meaning::of(&self.state), held.taken_at) {
            (Meaning::Away, _) => false,
            (Meaning::Working, _) => self.is_since(held.dispatched_at),
            (Meaning::Done | Meaning::Failed, None) => {
                let awaits = self.is_since(held.dispatched_at) && (!is_idle || self.has_result());
                return if awaits { Effect::AwaitsDelivery } else { Effect::Nothing };
            }
            (Meaning::Done | Meaning::Failed, Some(taken_at)) => {
                self.is_since(taken_at) && (!is_idle || held.is_active || self.has_result())
            }
        };
        if counts { Effect::Counts } else { Effect::Nothing }
    }

    /// Whether its timestamp is not before `at`, as far as it says: clients that round down to milliseconds or to
    /// seconds are not late for it.
    fn is_since(&self, at: Timestamp) -> bool {
        let micros = self.timestamp.as_micros();
        let unit = [1_000_000, 1_000].into_iter().find(|unit| micros % unit == 0).unwrap_or(1);
        micros >= at.as_micros() - at.as_micros().rem_euclid(unit)
    }

    fn has_result(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.to_value().get("result").is_some())
    }
}

impl AgentStatus {
    /// The newest report, where it settles this attempt now that its delivery has been answered.
    #[must_use]
    pub fn report_awaiting(&self, attempt: &TaskAttempt, answered_at: Timestamp) -> Option<&Report> {
        let report = self.report.as_ref()?;
        let awaited = report.awaits_delivery.as_ref().filter(|awaited| awaited.attempt == *attempt)?;
        // An agent that says that it is idle before it answers has said nothing of the task.
        let is_idle = report.state.eq_ignore_ascii_case("idle");
        (!is_idle || awaited.received_at + OVERTAKING_MAX >= answered_at).then_some(report)
    }

    /// Whether this report was heard before: what it had to say has been taken in.
    #[must_use]
    pub fn has_heard(&self, report: &Report) -> bool {
        self.report.as_ref().is_some_and(|newest| newest.is_same(report))
            || (self.recent.iter().any(|recent| recent.timestamp == report.timestamp)
                && self.recent.contains(&report.fingerprint()))
    }

    /// Whether this report becomes the agent's state: not heard before, not older than the one that is, and not
    /// from an earlier life.
    #[must_use]
    pub fn is_news(&self, report: &Report, now: Timestamp) -> bool {
        let is_older = self.report.as_ref().is_some_and(|newest| {
            report.timestamp < newest.answered_after.unwrap_or(newest.timestamp)
                && report.timestamp.min(now + CLOCK_AHEAD_MAX) < newest.moment()
        });
        let is_of_earlier_life = self.earlier_until.is_some_and(|until| report.timestamp <= until);
        !is_older && !is_of_earlier_life && !self.has_heard(report)
    }

    /// Whether the state that a heartbeat tells is another than the one that is known.
    ///
    /// Agents say with each heartbeat that they are well, whatever they are at. So of one that holds tasks it is not taken
    /// that it is ready, or that something went wrong: how a task ended is told in so many words.
    #[must_use]
    pub fn is_changed_by_heartbeat(&self, state: &str) -> bool {
        let told = Meaning::of(state);
        if !self.held.is_empty() && matches!(told, Meaning::Done | Meaning::Failed) {
            return false;
        }
        let Some(report) = &self.report else { return told != Meaning::Done };
        match (Meaning::of(&report.state), told) {
            (Meaning::Away, Meaning::Away) => !report.state.eq_ignore_ascii_case(state),
            // What went wrong may have been a task, and not the agent.
            (Meaning::Failed, Meaning::Done) => !report.about_task,
            (Meaning::Failed, Meaning::Failed) => report.about_task,
            (known, told) => known != told,
        }
    }

    /// Takes in a report that is news.
    pub fn apply_report(&mut self, mut report: Report, now: Timestamp) {
        let before = self.report.take();
        let counted = report.timestamp.min(now + CLOCK_AHEAD_MAX);
        // Processes whose clocks differ must not turn the order round.
        let moment = before.as_ref().map_or(counted, |before| counted.max(before.moment()));
        report.counts_as = (moment != report.timestamp).then_some(moment);
        self.report = Some(report);
        self.remember(before.as_ref(), now);
    }

    /// Takes in what the agent answered to a delivery. It bears the server's time, so it is ordered as if it had been
    /// said with what came before: an agent whose clock is behind is not silenced by it.
    pub fn apply_answer(&mut self, mut report: Report, now: Timestamp) {
        let before = self.report.take();
        let earliest = self.earlier_until.unwrap_or_default();
        let (after, moment) = before.as_ref().map_or((earliest, earliest), |before| {
            (before.answered_after.unwrap_or(before.timestamp), before.moment())
        });
        (report.answered_after, report.counts_as) = (Some(after), Some(moment));
        self.report = Some(report);
        self.remember(before.as_ref(), now);
    }

    /// Keeps shorter details of the newest report than those that came; it is still known when it comes again.
    pub(crate) fn shorten(&mut self, details: &RawObject) {
        let Some(report) = &mut self.report else { return };
        self.recent.push(report.fingerprint());
        report.details = Some(details.clone());
        let too_many = self.recent.len().saturating_sub(FINGERPRINTS_MAX);
        self.recent.drain(..too_many);
    }

    /// Keeps of a report that is no news what tells it from a new one should it come again.
    pub fn set_aside(&mut self, report: &Report, now: Timestamp) {
        if !self.has_heard(report) {
            self.remember(Some(report), now);
        }
    }

    /// What the next life of the agent keeps of what this one said: until when its timestamps count as said
    /// before, and what was dated later than that.
    pub(crate) fn last_words(&self, now: Timestamp) -> (Option<Timestamp>, Vec<Fingerprint>) {
        let now = self.latest(now);
        let newest = self.report.as_ref().map(Report::moment);
        let mut kept = self.clone();
        kept.remember(self.report.as_ref(), now);
        (newest.max(self.earlier_until).map(|until| until.min(now)), kept.recent)
    }

    /// Now, by the clock that is furthest ahead of those that have served this agent.
    pub(crate) fn latest(&self, now: Timestamp) -> Timestamp {
        self.last_seen.min(now + CLOCK_AHEAD_MAX).max(now)
    }

    /// Keeps the fingerprints of what the order does not tell: neither within this life, where what is older
    /// than the newest report is no news, nor in the next, where what is dated before its start is not.
    fn remember(&mut self, report: Option<&Report>, now: Timestamp) {
        let ordered_from = self.report.as_ref().map(Report::moment).or(self.earlier_until);
        let since = ordered_from.map_or(now, |from| from.min(now));
        self.recent.retain(|recent| recent.timestamp >= since);
        let comes_again = |report: &&Report| report.timestamp >= since && !report.is_answer();
        self.recent.extend(report.filter(comes_again).map(Report::fingerprint));
        let too_many = self.recent.len().saturating_sub(FINGERPRINTS_MAX);
        self.recent.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use signalbox_wire::id::AgentId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn report(state: &str, timestamp: Timestamp) -> Report {
        Report::plain(state.to_owned(), timestamp)
    }

    fn status() -> AgentStatus {
        AgentStatus::fresh(AgentId::parse("a").expect("valid"), 1, NOW)
    }

    fn apply_report(status: &mut AgentStatus, report: &Report, now: Timestamp) -> bool {
        let is_news = status.is_news(report, now);
        if is_news {
            status.apply_report(report.clone(), now);
        }
        is_news
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_heartbeat_changes_a_state_only_to_another() {
        for (known, about_task, told, is_change) in [
            (None, false, "idle", false),
            (None, false, "active", true),
            (Some("finished"), true, "idle", false),
            (Some("busy"), false, "active", false),
            (Some("active"), false, "idle", true),
            (Some("error"), false, "idle", true),
            (Some("error"), false, "error", false),
            (Some("failed"), true, "idle", false),
            (Some("failed"), true, "error", true),
            (Some("Offline"), false, "offline", false),
            (Some("offline"), false, "tired", true),
        ] {
            let mut status = status();
            status.report = known.map(|known| Report { about_task, ..report(known, NOW) });
            assert_eq!(status.is_changed_by_heartbeat(told), is_change, "{known:?} {about_task} {told}");
        }
    }

    #[test]
    fn an_older_report_is_no_news_and_an_equal_moment_is() {
        let mut status = status();
        assert!(apply_report(&mut status, &report("idle", NOW), NOW));
        assert!(!apply_report(&mut status, &report("busy", NOW - s(1)), NOW));
        assert!(apply_report(&mut status, &report("busy", NOW), NOW), "clocks may be coarse");
        assert!(!apply_report(&mut status, &report("idle", NOW), NOW), "but a repeat stays one");
        assert!(apply_report(&mut status, &report("idle", NOW + s(1)), NOW));
        assert!(!apply_report(&mut status, &report("busy", NOW), NOW + s(600)));
        assert!(!apply_report(&mut status, &report("idle", NOW), NOW + s(600)));
    }

    #[test]
    fn a_report_from_the_future_silences_nobody_for_long() {
        let mut status = status();
        let tomorrow = report("idle", NOW + s(86_400));
        assert!(apply_report(&mut status, &tomorrow, NOW));
        assert_eq!(status.report.as_ref().map(|report| report.timestamp), Some(tomorrow.timestamp));
        assert!(!apply_report(&mut status, &report("busy", NOW + s(59)), NOW + s(59)));
        assert!(apply_report(&mut status, &report("busy", NOW + s(60)), NOW + s(60)));
        assert!(!apply_report(&mut status, &tomorrow, NOW + s(61)), "it was recent");
        assert!(apply_report(&mut status, &report("idle", NOW + s(62)), NOW + s(62)));
    }

    #[test]
    fn a_clock_that_is_always_ahead_orders_its_own_reports() {
        let mut status = status();
        for second in 0..100 {
            let ahead = NOW + s(7_200 + second);
            // The next process's clock is a little behind.
            assert!(
                apply_report(&mut status, &report("idle", ahead), NOW + s(second) - s(second % 2 * 3)),
                "{second}"
            );
        }
        assert!(status.recent.len() <= FINGERPRINTS_MAX);
    }

    #[test]
    fn the_next_life_is_heard_at_once_and_the_last_one_not_again() {
        let mut last = status();
        let words = [report("a", NOW + s(2)), report("b", NOW + s(3)), report("c", NOW + s(86_400))];
        for word in &words {
            assert!(apply_report(&mut last, word, NOW));
        }
        let mut next = last.restarted(2, NOW + s(1));
        for word in &words {
            assert!(!apply_report(&mut next, word, NOW + s(2)), "{}", word.state);
        }
        assert!(apply_report(&mut next, &report("idle", NOW + s(2)), NOW + s(2)));
    }

    #[test]
    fn an_answer_that_is_taken_in_late_turns_no_order_round() {
        for behind in [s(0), s(3_600)] {
            let mut status = status();
            let said = report("busy", NOW + s(5) - behind);
            assert!(apply_report(&mut status, &said, NOW + s(5)));
            assert!(apply_report(&mut status, &report("idle", NOW + s(10) - behind), NOW + s(10)));
            status.apply_answer(report("finished", NOW), NOW + s(11));
            status.apply_answer(report("finished", NOW + s(1)), NOW + s(12));
            assert!(!apply_report(&mut status, &said, NOW + s(13)), "heard before");
            assert!(apply_report(&mut status, &report("busy", NOW + s(13) - behind), NOW + s(13)));
        }
    }

    #[test]
    fn what_was_dated_ahead_is_no_news_after_two_restarts_in_silence() {
        let mut first = status();
        let ahead = report("a", NOW + s(19));
        assert!(apply_report(&mut first, &ahead, NOW + s(6)));
        let silent = first.restarted(2, NOW + s(18));
        let mut third = silent.restarted(3, NOW + s(24));
        assert!(!apply_report(&mut third, &ahead, NOW + s(27)));
        assert!(apply_report(&mut third, &report("b", NOW + s(27)), NOW + s(27)));
    }

    proptest! {
        /// However reports are dated, repeated and interrupted by restarts: none is news twice, and the moments
        /// that count never go back within a life.
        #[test]
        fn nothing_is_news_twice(
            steps in prop::collection::vec((0..40_i64, any::<bool>(), 0..8_usize, 0..10_u8), 1..14),
        ) {
            let (mut status, mut now, mut said) = (status(), NOW, Vec::<Report>::new());
            for (index, (offset, is_far, repeat, dice)) in steps.into_iter().enumerate() {
                now = now + s(3);
                let again = said.get(repeat).filter(|_| dice < 5).cloned();
                let is_again = again.is_some();
                let far = if is_far { 86_400_000_000 } else { 0 };
                let dated = Timestamp::from_micros(now.as_micros() + (offset - 20) * 1_000_000 + far);
                let report = again.unwrap_or_else(|| report(&index.to_string(), dated));
                let before = status.report.as_ref().map(Report::moment);
                let is_news = apply_report(&mut status, &report, now);
                if is_news {
                    prop_assert!(!said.iter().any(|said| said.is_same(&report)), "{report:?}");
                    prop_assert!(status.report.as_ref().map(Report::moment) >= before);
                    said.push(report);
                }
                prop_assert!(!(is_news && is_again));
                if dice == 9 {
                    status = status.restarted(2, now);
                }
            }
        }
    }
}
