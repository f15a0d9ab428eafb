//! A hook: an address to which something outside POSTs a signed webhook, each of which starts a session.
//!
//! Its secret has to be kept as it is, since signatures are computed with it. It is shown in the answer that made
//! it and nowhere else: not in a list, not in the log, not by `Debug`.

use std::fmt;

use serde::{Deserialize, Serialize};
use signalbox_wire::id::{AgentId, HookId, WorkflowId};
use signalbox_wire::time::Timestamp;

/// A hook as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTrigger {
    /// Its author's id for it, unique in the tenant.
    pub id: HookId,
    /// The workflow that it starts, at its newest revision.
    pub workflow: WorkflowId,
    /// The agent of tasks that name neither an agent nor a capability.
    pub agent: Option<AgentId>,
    /// What it is for.
    pub note: Option<String>,
    /// What its webhooks are signed with.
    pub secret: HookSecret,
    /// What they were signed with before, and until when that is good too.
    pub earlier: Option<(HookSecret, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its secret was last changed.
    pub rotated_at: Option<Timestamp>,
}

impl WebhookTrigger {
    /// The secrets that are good at `now`.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &HookSecret> {
        let earlier = self.earlier.as_ref().filter(|(_, until)| now < *until);
        std::iter::once(&self.secret).chain(earlier.map(|(secret, _)| secret))
    }
}

/// The secret of a hook. It goes into the hook's row and is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HookSecret(String);

impl HookSecret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, where it is really needed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook() -> WebhookTrigger {
        WebhookTrigger {
            id: HookId::parse("h").expect("valid"),
            workflow: WorkflowId::parse("w").expect("valid"),
            agent: None,
            note: None,
            secret: HookSecret::new("whsec_new"),
            earlier: Some((HookSecret::new("whsec_old"), Timestamp::from_seconds(60))),
            created_at: Timestamp::default(),
            rotated_at: None,
        }
    }

    #[test]
    fn an_earlier_secret_is_good_until_its_time() {
        let good = |now: i64| -> Vec<String> {
            let hook = hook();
            hook.secrets(Timestamp::from_seconds(now)).map(|secret| secret.expose().to_owned()).collect()
        };
        assert_eq!(good(59), ["whsec_new", "whsec_old"]);
        assert_eq!(good(60), ["whsec_new"]);
    }

    #[test]
    fn a_secret_is_kept_and_not_printed() {
        let text = serde_json::to_string(&hook()).expect("written");
        assert_eq!(serde_json::from_str::<WebhookTrigger>(&text).expect("read"), hook());
        assert!(!format!("{:?}", hook()).contains("whsec"));
    }
}
