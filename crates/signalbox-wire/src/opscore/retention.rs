//! How long a tenant keeps what is over.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults};
use crate::duration::Period;

/// `PUT /v1/opscore/retention`: what is absent or null is kept as long as the operator does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionBody {
    /// Sessions after their end, with their tasks and history.
    #[serde(default)]
    pub sessions: Option<Period>,
    /// Entries of the log that belong to no open session.
    #[serde(default)]
    pub events: Option<Period>,
    /// Delivered messages.
    #[serde(default)]
    pub messages: Option<Period>,
}

/// How long a tenant keeps what is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionView {
    /// What the tenant has set.
    #[serde(flatten)]
    pub own: RetentionBody,
    /// What holds: the tenant's, else the operator's.
    pub effective: EffectiveRetention,
}

/// How long things are kept, whoever has set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveRetention {
    /// Sessions after their end.
    #[schema(example = "30d")]
    pub sessions: String,
    /// Entries of the log.
    #[schema(example = "7d")]
    pub events: String,
    /// Delivered messages.
    #[schema(example = "1d")]
    pub messages: String,
}

impl Body for RetentionBody {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        for name in ["sessions", "events", "messages"] {
            if let Some(Err(error)) = fields.optional(name).map(Period::from_value) {
                fields.fault(name, error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn each_is_a_duration_or_nothing() {
        let body = parse::<RetentionBody>(br#"{"sessions": "90d", "events": null}"#).unwrap();
        assert_eq!((body.sessions.map(|kept| kept.to_string()).as_deref(), body.events), (Some("90d"), None));
        let wrong = faults_of::<RetentionBody>(r#"{"sessions": "long", "messages": 0}"#);
        assert!(wrong[0].starts_with("/sessions must be a duration"), "{wrong:?}");
        assert!(wrong[1].starts_with("/messages must be a duration"), "{wrong:?}");
    }
}
