//! What an agent is subscribed to, over its connections: each ends with its connection, and is made again on the next after
//! what was seen last.

use std::collections::{BTreeMap, HashMap};

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
    /// The last sequence that was seen, by channel.
    seen: HashMap<String, u64>,
}

impl Subscriptions {
    pub(super) fn new(all: Vec<Subscription>) -> Self {
        Self { all, seen: HashMap::new() }
    }

    /// Adds one, in place of one of the same subject.
    pub(super) fn add(&mut self, subscription: Subscription) {
        self.remove(&subscription.subject);
        self.all.push(subscription);
    }

    pub(super) fn remove(&mut self, subject: &str) {
        self.all.retain(|known| known.subject != subject);
    }

    /// The data of the `subscribe`s of a new connection, each with its subject.
    pub(super) fn again(&self) -> Vec<(String, Value)> {
        self.all.iter().map(|known| (known.subject.clone(), subscribe(&self.resumed(known)))).collect()
    }

    /// Something of a channel came, or the server told where a subscription to it begins.
    pub(super) fn saw(&mut self, subject: &str, sequence: u64) {
        if let Some(last) = self.seen.get_mut(subject) {
            *last = sequence.max(*last);
        } else if self.seen.len() < SEEN_MAX {
            self.seen.insert(subject.to_owned(), sequence);
        }
    }

    /// Whether a message of a channel was seen already.
    pub(super) fn has_seen(&self, subject: &str, sequence: u64) -> bool {
        self.seen.get(subject).is_some_and(|last| *last >= sequence)
    }

    fn resumed(&self, subscription: &Subscription) -> Subscription {
        let is_pattern = subscription.subject.split('.').any(|part| matches!(part, "*" | ">"));
        let after = if is_pattern {
            let mut sequences = match &subscription.after {
                Some(After::BySubject(sequences)) => sequences.clone(),
                _ => BTreeMap::new(),
            };
            let seen = self.seen.iter().filter(|(subject, _)| matches(&subscription.subject, subject));
            for (subject, sequence) in seen {
                if sequences.len() < AFTER_MAX || sequences.contains_key(subject) {
                    sequences.insert(subject.clone(), *sequence);
                }
            }
            (!sequences.is_empty()).then_some(After::BySubject(sequences))
        } else {
            self.seen.get(&subscription.subject).map(|last| After::Sequence(*last))
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
        subscriptions.saw("orders.eu", 12);
        subscriptions.saw("orders.us", 5);
        subscriptions.saw("orders.eu", 11);
        assert!(subscriptions.has_seen("orders.eu", 12) && !subscriptions.has_seen("orders.eu", 13));
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
