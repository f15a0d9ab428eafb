//! What an agent subscribes to.

use std::collections::BTreeMap;

use signalbox_wire::artcafe::frames::After;

/// A subject or pattern that an agent is told of, as long as it is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The subject, or a pattern: `*` is one part, `>` at the end one or more.
    pub subject: String,
    /// The history after this comes first; without it only what is published from now on.
    pub after: Option<After>,
    /// Whether the observer is told who else subscribes, and who ends that.
    pub presence: bool,
}

impl Subscription {
    /// A subscription from now on.
    #[must_use]
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), after: None, presence: false }
    }

    /// The same subscription with what is kept of the channel after a sequence; 0 for all of it.
    #[must_use]
    pub fn after(mut self, sequence: u64) -> Self {
        self.after = Some(After::Sequence(sequence));
        self
    }

    /// The same subscription with what is kept of several channels that a pattern matches, by subject.
    #[must_use]
    pub fn after_each(mut self, sequences: BTreeMap<String, u64>) -> Self {
        self.after = Some(After::BySubject(sequences));
        self
    }

    /// The same subscription, with word of who else is subscribed.
    #[must_use]
    pub fn presence(mut self) -> Self {
        self.presence = true;
        self
    }
}

impl From<&str> for Subscription {
    fn from(subject: &str) -> Self {
        Self::new(subject)
    }
}

impl From<String> for Subscription {
    fn from(subject: String) -> Self {
        Self::new(subject)
    }
}
