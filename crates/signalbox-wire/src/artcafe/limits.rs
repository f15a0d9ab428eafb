//! What a tenant may have and take, and what it took.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::{Body, Faults, Fields, present};
use crate::id::TenantId;

/// The names of the limits.
pub const LIMITS: [&str; 7] =
    ["agents", "connections", "channels", "ssh_keys", "api_keys", "messages_per_day", "requests_per_second"];

/// The highest value of a limit.
pub const LIMIT_MAX: u64 = 1_000_000_000_000;

/// Limits of a tenant. Zero is zero; one that is absent or null is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TenantLimits {
    /// Registered agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub agents: Option<u64>,
    /// Agents that are connected at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub connections: Option<u64>,
    /// Channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub channels: Option<u64>,
    /// SSH keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub ssh_keys: Option<u64>,
    /// API keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub api_keys: Option<u64>,
    /// Messages in one day, by UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub messages_per_day: Option<u64>,
    /// Requests in one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 1_000_000_000_000_i64)]
    pub requests_per_second: Option<u64>,
}

/// Limits that change: what is absent stays, and null takes a tenant's own limit away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TenantLimitsPatch {
    /// Registered agents.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub agents: Option<Option<u64>>,
    /// Agents that are connected at once.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub connections: Option<Option<u64>>,
    /// Channels.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub channels: Option<Option<u64>>,
    /// SSH keys.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub ssh_keys: Option<Option<u64>>,
    /// API keys.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub api_keys: Option<Option<u64>>,
    /// Messages in one day, by UTC.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub messages_per_day: Option<Option<u64>>,
    /// Requests in one second.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000_000_i64)]
    pub requests_per_second: Option<Option<u64>>,
}

/// `PATCH /api/v1/tenants/{tenant_id}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantPatch {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 256)]
    pub name: Option<String>,
    /// Its own limits that change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TenantLimitsPatch>,
}

/// What a tenant took in one day, by UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageDayView {
    /// The day.
    #[schema(format = Date, example = "2026-11-29")]
    pub date: String,
    /// Agents that registered for the first time.
    pub agents: u64,
    /// Connections that agents opened.
    pub connections: u64,
    /// Messages that were accepted.
    pub messages: u64,
    /// Attempts of tasks that were given to agents.
    pub tasks: u64,
}

/// `GET /api/v1/usage-metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageMetrics {
    /// Whose.
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// Each day of the range, the earliest first; today is the last.
    pub days: Vec<UsageDayView>,
    /// The limits that hold, the tenant's own or the server's.
    pub limits: TenantLimits,
}

/// Adds the faults of the limits in `fields`.
pub(super) fn check_limits(fields: &mut Fields<'_, '_>) {
    for name in LIMITS {
        fields.optional_integer(name, 0..=LIMIT_MAX);
    }
}

impl Body for TenantPatch {
    fn check(value: &Value, faults: &mut Faults) {
        let Some(mut fields) = faults.object("", value) else { return };
        fields.optional_string("name", crate::body::Text::NAME);
        if let Some(mut limits) = fields.optional_object("limits") {
            check_limits(&mut limits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;
    use crate::body::tests::faults_of;

    #[test]
    fn a_limit_is_a_number_and_null_takes_it_away() {
        let patch = parse::<TenantPatch>(br#"{"limits": {"agents": 0, "channels": null}}"#).unwrap();
        let limits = patch.limits.unwrap();
        assert_eq!((limits.agents, limits.channels, limits.api_keys), (Some(Some(0)), Some(None), None));
        let wrong = r#"{"limits": {"agents": -1, "ssh_keys": "5", "messages_per_day": 1.5}}"#;
        let found = faults_of::<TenantPatch>(wrong);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("/limits/agents must be a whole number from 0"), "{found:?}");
    }
}
