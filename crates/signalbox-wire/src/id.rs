//! Typed identifiers: each names its kind by a prefix, and a wrong one does not compile.
//!
//! An id is made from a passed-in time and randomness ([`Ulid`] order: ids made later sort later) or taken
//! from a caller. Ids that come from outside may be any text of 1 to [`MAX_LENGTH`] characters without
//! control characters: the surfaces accept a caller's own agent ids, and an unknown id is simply not found.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::time::Timestamp;

/// The longest id that is accepted from outside, in characters.
pub const MAX_LENGTH: usize = 256;

/// Why a text cannot be an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_LENGTH} characters, none of them a control character")]
pub struct BadId;

/// Whether an id is of the kind that nearly all are, which is quicker to tell than whether it is one at all.
fn is_usual(text: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&text.len())
        && text.iter().fold(true, |so_far, byte| so_far & matches!(byte, b' '..=b'~'))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What ids of this kind begin with when Signalbox makes them.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after those made before `now`; `random` gives its last 80 bits.
            #[must_use]
            pub fn new(now: Timestamp, random: u128) -> Self {
                let ulid = Ulid::from_parts(now.as_millis().max(0).unsigned_abs(), random);
                let mut buffer = [0_u8; 26];
                let text = ulid.array_to_str(&mut buffer);
                Self(Arc::from([$prefix, &text.to_ascii_lowercase()].concat()))
            }

            /// Takes an id from outside.
            ///
            /// # Errors
            /// [`BadId`] when the text is empty, too long, or holds a control character.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                if is_usual(text.as_bytes()) {
                    return Ok(Self(Arc::from(text)));
                }
                let fits = !text.is_empty()
                    && text.len() <= MAX_LENGTH * 4
                    && (text.len() <= MAX_LENGTH || text.chars().count() <= MAX_LENGTH);
                if fits && !text.chars().any(char::is_control) { Ok(Self(Arc::from(text))) } else { Err(BadId) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Who owns everything else.
    TenantId, "tnt_";
    /// A registered agent.
    AgentId, "agt_";
    /// What `/run` accepts, and every other delivery to one endpoint.
    MessageId, "msg_";
    /// A workflow definition, named by its author.
    WorkflowId, "wfl_";
    /// One run of a workflow.
    SessionId, "ses_";
    /// One step of a session.
    TaskId, "tsk_";
    /// A schedule, named by its author.
    ScheduleId, "sch_";
    /// A hook, named by its author.
    HookId, "hok_";
    /// An API key's public name; never the key itself.
    KeyId, "key_";
    /// A channel: a named subject with history.
    ChannelId, "chn_";
    /// A registered tool, named by its author.
    ToolName, "";
    /// A server process, for as long as it runs: who holds a lease.
    NodeId, "nod_";
    /// One connection of an agent, from its beginning to its end.
    ConnectionId, "con_";
    /// A request to an agent over its connection.
    CommandId, "cmd_";
}

impl TenantId {
    /// The tenant of a deployment that has only one.
    #[must_use]
    pub fn default_tenant() -> Self {
        static DEFAULT: std::sync::OnceLock<TenantId> = std::sync::OnceLock::new();
        DEFAULT.get_or_init(|| Self(Arc::from("default"))).clone()
    }
}

impl TaskId {
    /// The name under which attempt `attempt` of this task is given to an agent. A report that carries it
    /// back is known to be about that attempt and no other.
    #[must_use]
    pub fn attempt_name(&self, attempt: u32) -> String {
        [&self.0, "-", itoa::Buffer::new().format(attempt)].concat()
    }

    /// The id of the message that carries an attempt of the task: it follows from the two, and is the same at every try.
    #[must_use]
    pub fn message(&self, attempt: u32) -> MessageId {
        let own = self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0);
        MessageId(Arc::from([MessageId::PREFIX, own, "-", itoa::Buffer::new().format(attempt)].concat()))
    }

    /// Whether `named` is this task, or one attempt of it: `Some(None)` the task, `Some(Some(n))` attempt n.
    #[must_use]
    pub fn matches(&self, named: &str) -> Option<Option<u32>> {
        let rest = named.strip_prefix(self.as_str())?;
        if rest.is_empty() {
            return Some(None);
        }
        rest.strip_prefix('-')?.parse().ok().map(Some)
    }
}

impl MessageId {
    /// The task and the attempt that a message with this id would carry, if it is one that carries a task.
    #[must_use]
    pub fn task_attempt(&self) -> Option<(TaskId, u32)> {
        let (own, attempt) = self.0.strip_prefix(Self::PREFIX)?.rsplit_once('-')?;
        let task = TaskId::parse(&format!("{}{own}", TaskId::PREFIX)).ok()?;
        Some((task, attempt.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn made_ids_carry_their_prefix_and_sort_by_time() {
        let early = SessionId::new(Timestamp::from_micros(1_000_000), 7);
        let late = SessionId::new(Timestamp::from_micros(9_000_000), 1);
        assert!(early.as_str().starts_with("ses_") && early < late);
    }

    #[test]
    fn ids_from_outside_are_bounded_text() {
        assert!(AgentId::parse("agent-123").is_ok());
        for bad in ["", "a\nb", "\0", &"x".repeat(MAX_LENGTH + 1), &"é".repeat(MAX_LENGTH + 1)] {
            assert_eq!(AgentId::parse(bad), Err(BadId), "{bad:?}");
        }
        assert!(AgentId::parse(&"é".repeat(MAX_LENGTH)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_usual_is_an_id(text in "[ -~]{0,12}|\\PC{0,12}|[\\x00-\\x20a]{0,6}|a{250,260}") {
            let count = text.chars().count();
            let is_id = (1..=MAX_LENGTH).contains(&count) && !text.chars().any(char::is_control);
            prop_assert_eq!(AgentId::parse(&text).is_ok(), is_id);
            prop_assert!(!is_usual(text.as_bytes()) || is_id);
        }
    }

    #[test]
    fn an_attempt_is_told_apart_from_its_task() {
        let task = TaskId::parse("tsk_a").expect("valid");
        assert_eq!(task.matches("tsk_a"), Some(None));
        assert_eq!(task.matches(&task.attempt_name(3)), Some(Some(3)));
        for other in ["tsk_b", "tsk_ab", "tsk_a-", "tsk_a-x"] {
            assert_eq!(task.matches(other), None, "{other}");
        }
    }

    #[test]
    fn a_task_and_its_message_name_each_other() {
        let task = TaskId::parse("tsk_a-b").expect("valid");
        assert_eq!(task.message(3).as_str(), "msg_a-b-3");
        assert_eq!(task.message(3).task_attempt(), Some((task, 3)));
        for other in ["msg_a", "msg_a-x", "order-1", "msg_-1x"] {
            assert_eq!(MessageId::parse(other).expect("valid").task_attempt(), None, "{other}");
        }
    }
}
