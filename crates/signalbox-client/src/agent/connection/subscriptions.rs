//! What an agent is subscribed to, over its connections: each ends with its connection, and is made again on the next after
//! what was seen last.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use signalbox_wire::artcafe::frames::{AFTER_MAX, After};

use super::envelope::subscribe;
use crate::agent::handlers::matches;
use crate::agent::subscription::Subscription;

/// Channels whose last place is remembered; of more, those beyond begin anew with the next connection.
const SEEN_MAX: usize = 4_096;

/// The subscriptions of an agent.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: Vec<Subscription>,
    /// What was seen last, by subject.
    seen: HashMap<String, Seen>,
    /// Subjects of subscriptions that the server has taken once.
    made: HashSet<String>,
    /// How often history was asked for anew: what came before may come again.
    replays: u64,
}

/// The place in a channel; another channel of the same subject has its own sequences.
#[derive(Debug)]
struct Seen {
    channel: Option<String>,
    last: u64,
}

impl Subscriptions {
    pub(super) fn new(all: Vec<Subscription>) -> Self {
        Self { all, ..Self::default() }
    }

    /// Adds one, in place of one of the same subject.
    pub(super) fn add(&mut self, subscription: Subscription) {
        self.remove(&subscription.subject);
        if subscription.after.is_some() {
            self.seen.retain(|subject, _| !matches(&subscription.subject, subject));
            self.replays += 1;
        }
        self.all.push(subscription);
    }

    pub(super) fn remove(&mut self, subject: &str) {
        self.all.retain(|known| known.subject != subject);
        self.made.remove(subject);
    }

    /// The server has taken a subscription.
    pub(super) fn made(&mut self, subject: &str) {
        if self.all.iter().any(|known| known.subject == subject) {
            self.made.insert(subject.to_owned());
        }
    }

    /// The server refused a subscription: the channel may be gone, or be another one. Whether to ask again, without what was
    /// seen, and then without the place that a subscription was first made after.
    pub(super) fn refused(&mut self, subject: &str) -> bool {
        let before = self.seen.len();
        self.seen.retain(|seen, _| !matches(subject, seen));
        if self.seen.len() < before {
            return true;
        }
        let was_made = self.made.contains(subject);
        let known = self.all.iter_mut().find(|known| known.subject == subject && was_made);
        known.is_some_and(|known| known.after.take().is_some())
    }

    /// How often history was asked for anew.
    pub(super) fn replays(&self) -> u64 {
        self.replays
    }

    /// The data of the `subscribe`s of a new connection, each with its subject.
    pub(super) fn again(&self) -> Vec<(String, Value)> {
        self.all.iter().map(|known| (known.subject.clone(), subscribe(&self.resumed(known)))).collect()
    }

    /// Something of a channel came, or the server told where a subscription to it begins.
    pub(super) fn saw(&mut self, subject: &str, channel: Option<&str>, sequence: u64) {
        if let Some(seen) = self.seen.get_mut(subject) {
            if channel.is_none() || seen.channel.as_deref() == channel {
                seen.last = sequence.max(seen.last);
            } else {
                *seen = Seen { channel: channel.map(str::to_owned), last: sequence };
            }
        } else if self.seen.len() < SEEN_MAX {
            let seen = Seen { channel: channel.map(str::to_owned), last: sequence };
            self.seen.insert(subject.to_owned(), seen);
        }
    }

    /// Whether a message of a channel was seen already.
    pub(super) fn has_seen(&self, subject: &str, channel: Option<&str>, sequence: u64) -> bool {
        let seen = self.seen.get(subject).filter(|seen| seen.channel.as_deref() == channel);
        seen.is_some_and(|seen| seen.last >= sequence)
    }

    fn resumed(&self, subscription: &Subscription) -> Subscription {
        let is_pattern = subscription.subject.split('.').any(|part| matches!(part, "*" | ">"));
        let after = if is_pattern {
            let mut sequences = match &subscription.after {
                Some(After::BySubject(sequences)) => sequences.clone(),
                _ => BTreeMap::new(),
            };
            let seen = self.seen.iter().filter(|(subject, _)| matches(&subscription.subject, subject));
            for (subject, Seen { last, .. }) in seen {
                if sequences.len() < AFTER_MAX || sequences.contains_key(subject) {
                    sequences.insert(subject.clone(), *last);
                }
            }
            (!sequences.is_empty()).then_some(After::BySubject(sequences))
        } else {
            self.seen.get(&subscription.subject).map(|seen| After::Sequence(seen.last))
        };
        Subscription { after: after.or_else(|| subscription.after.clone()), ..subscription.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subscription_is_made_again_after_what_was_seen() {
        let mut subscriptions =
            Subscriptions::new(vec![Subscription::new("orders.eu").after(3), Subscription::new("orders.*")]);
        let again = |subscriptions: &Subscriptions| {
            subscriptions.again().into_iter().map(|(_, data)| data).collect::<Vec<_>>()
        };
        assert_eq!(
            again(&subscriptions),
            [json!({"subject": "orders.eu", "after": 3}), json!({"subject": "orders.*"})]
        );
        subscriptions.saw("orders.eu", Some("chn_1"), 12);
        subscriptions.saw("orders.us", None, 5);
        subscriptions.saw("orders.eu", Some("chn_1"), 11);
        let has_seen = |channel, at| subscriptions.has_seen("orders.eu", Some(channel), at);
        assert!(has_seen("chn_1", 12) && !has_seen("chn_1", 13) && !has_seen("chn_2", 1));
        assert_eq!(
            again(&subscriptions),
            [
                json!({"subject": "orders.eu", "after": 12}),
                json!({"subject": "orders.*", "after": {"orders.eu": 12, "orders.us": 5}})
            ]
        );
        subscriptions.remove("orders.*");
        assert_eq!(again(&subscriptions).len(), 1);
    }
}
