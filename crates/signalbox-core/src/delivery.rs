//! Getting one message to one endpoint (a task's message is made when it is sent: [`crate::task_message`]): attempts, backoff, and the dead letter at their end.
//!
//! | status    | delivered   | failed, may be tried again | failed for good | no longer wanted | redrive     |
//! |-----------|-------------|----------------------------|-----------------|------------------|-------------|
//! | scheduled | → delivered | scheduled, or → dead after the last attempt | → dead | → cancelled | –      |
//! | dead      | –           | –                          | –               | –                | → scheduled |
//! | delivered, cancelled | – | –                         | –               | –                | –           |
//!
//! Refused connections, timeouts, 408, 429 and 5xx may be tried again; every other status is final.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{AgentId, MessageId};
use signalbox_wire::time::Timestamp;

use crate::DecisionContext;
use crate::due::Lane;
pub use crate::task_attempt::TaskAttempt;

/// The longest wait that a destination may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// Accepted by `/run`.
    Message,
    /// A task given to an agent.
    Task,
    /// A signed call to a configured address.
    #[serde(rename = "webhook")]
    RegistrationWebhook,
    /// A signed call to the address that a workflow names, when a session is over.
    #[serde(rename = "notice")]
    SessionWebhook,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageStatus {
    /// Will be tried.
    Scheduled,
    /// The destination took it.
    Delivered,
    /// A dead letter: nothing more is tried until it is redriven.
    Dead,
    /// No longer wanted before it was taken.
    Cancelled,
}

/// A try to get something to an agent that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFailure {
    /// When.
    pub at: Timestamp,
    /// What was sent.
    pub message: MessageId,
    /// What kind of thing that is.
    pub kind: MessageKind,
    /// Which try it was, from 1.
    pub tries: u32,
    /// The status of the answer, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    pub error: String,
}

/// One message on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, the same at every attempt.
    pub id: MessageId,
    /// What it is.
    pub kind: MessageKind,
    /// The agent it goes to; its endpoint is looked up at each attempt. A webhook has none.
    pub agent: Option<AgentId>,
    /// The attempt of a task that it carries.
    pub task: Option<TaskAttempt>,
    /// Where a notice goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The lane that it goes by.
    #[serde(default)]
    pub lane: Lane,
    /// What is sent, as JSON.
    pub body: String,
    /// The `traceparent` that goes with it.
    pub trace: Option<String>,
    /// Where it stands.
    pub status: MessageStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts that it may take in all.
    pub attempts_max: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it got new attempts as a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_at: Option<Timestamp>,
    /// When the next attempt is due, while it is scheduled.
    pub next_at: Option<Timestamp>,
    /// When it was delivered, given up or cancelled.
    pub settled_at: Option<Timestamp>,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// What came of one attempt to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination answered with this success status.
    Delivered {
        /// The status.
        status: u16,
    },
    /// It did not.
    Failed {
        /// The status of its answer, when there was one.
        status: Option<u16>,
        /// Why, in words.
        error: String,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
        /// Whether another attempt could succeed.
        may_retry: bool,
    },
    /// Nobody wants it delivered any more.
    Unwanted {
        /// Why.
        reason: String,
    },
}

impl MessageKind {
    /// The kind in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Task => "task",
            Self::RegistrationWebhook => "webhook",
            Self::SessionWebhook => "notice",
        }
    }
}

impl Outcome {
    /// It was not delivered, for this reason.
    #[must_use]
    pub fn failed(error: String, may_retry: bool) -> Self {
        Self::Failed { status: None, error, retry_after: None, may_retry }
    }

    /// Nobody wants it, for this reason.
    #[must_use]
    pub fn unwanted(reason: &str) -> Self {
        Self::Unwanted { reason: reason.to_owned() }
    }

    /// When to try again after this outcome of the try number `tries`, if that is not to be the last one.
    pub(crate) fn next_try(
        &self,
        tries: u32,
        most: u32,
        context: &mut DecisionContext<'_>,
    ) -> Option<Timestamp> {
        let Self::Failed { retry_after, may_retry: true, .. } = self else { return None };
        if tries >= most {
            return None;
        }
        let backoff = context.policy.delivery_backoff.wait(tries, context.fraction());
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        Some(context.now + backoff.max(asked))
    }

    /// What an answer with `status` means.
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            200..=299 => Self::Delivered { status },
            _ => Self::Failed {
                status: Some(status),
                error: format!("the endpoint answered {status}"),
                retry_after,
                may_retry: matches!(status, 408 | 429 | 500..=599),
            },
        }
    }
}

impl Message {
    /// The message after one attempt; `None` when it is settled already and nothing changes.
    #[must_use]
    pub fn after(&self, outcome: &Outcome, context: &mut DecisionContext<'_>) -> Option<Self> {
        if self.status != MessageStatus::Scheduled {
            return None;
        }
        let mut next = self.clone();
        match outcome {
            Outcome::Delivered { status } => {
                next.attempts += 1;
                (next.last_status, next.last_error) = (Some(*status), None);
                next.settle(MessageStatus::Delivered, context.now);
            }
            Outcome::Failed { status, error, .. } => {
                next.attempts += 1;
                (next.last_status, next.last_error) = (*status, Some(crate::limits::bounded(error)));
                match outcome.next_try(next.attempts, next.attempts_max, context) {
                    Some(at) => next.next_at = Some(at),
                    None => next.settle(MessageStatus::Dead, context.now),
                }
            }
            Outcome::Unwanted { reason } => {
                next.last_error = Some(crate::limits::bounded(reason));
                next.settle(MessageStatus::Cancelled, context.now);
            }
        }
        Some(next)
    }

    /// What its last attempt came to, where that failed.
    #[must_use]
    pub fn failure(&self, now: Timestamp) -> Option<DeliveryFailure> {
        if !matches!(self.status, MessageStatus::Scheduled | MessageStatus::Dead) {
            return None;
        }
        Some(DeliveryFailure {
            at: now,
            message: self.id.clone(),
            kind: self.kind,
            tries: self.attempts,
            status: self.last_status,
            error: self.last_error.clone()?,
        })
    }

    /// The message as a dead letter, without another attempt: its time is over. `None` when it is settled already.
    #[must_use]
    pub fn expired(&self, reason: &str, now: Timestamp) -> Option<Self> {
        if self.status != MessageStatus::Scheduled {
            return None;
        }
        let mut next = self.clone();
        let last = self.last_error.as_deref().map(|last| format!("; the last attempt: {last}"));
        next.last_error = Some(crate::limits::bounded(&format!("{reason}{}", last.unwrap_or_default())));
        next.settle(MessageStatus::Dead, now);
        Some(next)
    }

    /// Since when it has the attempts that it has now.
    #[must_use]
    pub fn scheduled_at(&self) -> Timestamp {
        self.redriven_at.unwrap_or(self.created_at)
    }

    /// Whether sending it again has an effect: the attempt that a task's dead letter carried failed when it died, and its
    /// session has gone on or ended since.
    #[must_use]
    pub fn may_be_redriven(&self) -> bool {
        self.task.is_none()
    }

    /// The message with a new set of attempts; `None` unless it is a dead letter.
    #[must_use]
    pub fn redriven(&self, context: &DecisionContext<'_>) -> Option<Self> {
        (self.status == MessageStatus::Dead).then(|| Self {
            status: MessageStatus::Scheduled,
            attempts_max: self.attempts + context.policy.delivery_attempts,
            redriven_at: Some(context.now),
            next_at: Some(context.now),
            settled_at: None,
            ..self.clone()
        })
    }

    fn settle(&mut self, status: MessageStatus, now: Timestamp) {
        self.status = status;
        self.next_at = None;
        self.settled_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::Policy;

    fn message(status: MessageStatus) -> Message {
        Message {
            id: MessageId::parse("m").expect("valid"),
            kind: MessageKind::Message,
            agent: None,
            task: None,
            url: None,
            lane: Lane::default(),
            body: "{}".into(),
            trace: None,
            status,
            attempts: 0,
            attempts_max: 3,
            created_at: Timestamp::default(),
            redriven_at: None,
            next_at: None,
            settled_at: None,
            last_status: None,
            last_error: None,
        }
    }

    fn failed(may_retry: bool) -> Outcome {
        Outcome::Failed { status: None, error: "refused".into(), retry_after: None, may_retry }
    }

    #[test]
    fn every_pair_of_status_and_event() {
        use MessageStatus::{Cancelled, Dead, Delivered, Scheduled};
        let policy = Policy::default();
        let mut context = DecisionContext::new(Timestamp::from_seconds(9), 1, &policy);
        let outcomes = [
            Outcome::Delivered { status: 200 },
            failed(true),
            failed(false),
            Outcome::Unwanted { reason: "late".into() },
        ];
        for (outcome, expected) in outcomes.iter().zip([Delivered, Scheduled, Dead, Cancelled]) {
            let after = message(Scheduled).after(outcome, &mut context).map(|message| message.status);
            assert_eq!(after, Some(expected), "{outcome:?}");
            for settled in [Delivered, Dead, Cancelled] {
                assert_eq!(
                    message(settled).after(outcome, &mut context),
                    None,
                    "{settled:?} and {outcome:?}"
                );
            }
        }
        for status in [Scheduled, Delivered, Cancelled] {
            assert!(message(status).redriven(&context).is_none());
        }
        assert!(message(Dead).redriven(&context).is_some_and(|message| message.status == Scheduled));
    }

    #[test]
    fn attempts_end_in_a_dead_letter_and_a_redrive_gives_new_ones() {
        let policy = Policy::default();
        let mut context = DecisionContext::new(Timestamp::from_seconds(9), 1, &policy);
        let mut current = message(MessageStatus::Scheduled);
        let mut attempts = 0;
        while current.status == MessageStatus::Scheduled {
            current = current.after(&failed(true), &mut context).expect("scheduled");
            attempts += 1;
        }
        assert_eq!((current.status, attempts), (MessageStatus::Dead, 3));
        assert_eq!(current.redriven(&context).map(|message| message.attempts_max), Some(3 + 8));
    }

    #[test]
    fn a_destination_that_asks_for_time_gets_it_within_bounds() {
        let policy = Policy::default();
        let mut context = DecisionContext::new(Timestamp::from_seconds(0), 1, &policy);
        for (asked, at_least) in [(30, 30), (1_000_000, RETRY_AFTER_MAX.as_secs())] {
            let outcome = Outcome::of_status(429, Some(Duration::from_secs(asked)));
            let next = message(MessageStatus::Scheduled).after(&outcome, &mut context).expect("scheduled");
            let wait = next.next_at.expect("scheduled").since(context.now).as_secs();
            assert_eq!(wait, at_least);
        }
    }

    #[test]
    fn statuses_are_told_apart() {
        for (status, retried) in
            [(400, false), (404, false), (408, true), (429, true), (500, true), (503, true), (301, false)]
        {
            assert!(
                matches!(Outcome::of_status(status, None), Outcome::Failed { may_retry, .. } if may_retry == retried),
                "{status}"
            );
        }
        assert_eq!(Outcome::of_status(204, None), Outcome::Delivered { status: 204 });
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        let wait = prop::option::of((0..2_000_u64).prop_map(Duration::from_secs));
        prop_oneof![
            (200..600_u16, wait).prop_map(|(status, wait)| Outcome::of_status(status, wait)),
            any::<bool>().prop_map(failed),
            Just(Outcome::Unwanted { reason: "late".into() }),
        ]
    }

    proptest! {
        /// Outcomes and redrives in any order: nothing is tried too often, and what is settled stays so.
        #[test]
        fn attempts_are_bounded_and_settled_is_settled(
            steps in prop::collection::vec((any_outcome(), any::<bool>()), 1..40),
            seed: u64,
        ) {
            let policy = Policy::default();
            let mut context = DecisionContext::new(Timestamp::from_seconds(9), seed, &policy);
            let mut current = message(MessageStatus::Scheduled);
            for (outcome, redrive) in steps {
                let before = current.clone();
                let next = if redrive { before.redriven(&context) } else { before.after(&outcome, &mut context) };
                let takes = if redrive { MessageStatus::Dead } else { MessageStatus::Scheduled };
                prop_assert_eq!(next.is_some(), before.status == takes);
                current = next.unwrap_or(before);
                let is_open = current.status == MessageStatus::Scheduled;
                prop_assert!(current.attempts <= current.attempts_max);
                prop_assert!(!is_open || current.attempts < current.attempts_max, "an attempt is left");
                prop_assert_eq!(current.settled_at.is_some(), !is_open);
                if let Some(next) = current.next_at {
                    prop_assert!(is_open && next >= context.now && next <= context.now + RETRY_AFTER_MAX);
                }
            }
        }
    }
}
