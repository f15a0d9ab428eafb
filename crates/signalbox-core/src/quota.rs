//! What a tenant may have and take, and what it took each day.
//!
//! A limit is typed: zero is zero, and one that is not set is none.

use serde::{Deserialize, Serialize};

/// Days that figures of use are kept.
pub const USAGE_DAYS_KEPT: u32 = 400;

/// Defines the limits, each once: its field, its variant, and what it is.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident $kind:ident;)*) => {
        /// The limits of a tenant; what is not set is not limited by it.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct TenantLimits {
            $($(#[doc = $doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<u64>,)*
        }

        /// One of the limits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl Limit {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name, wherever it is set or told.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($field),)*
                }
            }

            /// Its value among these.
            #[must_use]
            pub const fn of(self, limits: &TenantLimits) -> Option<u64> {
                match self {
                    $(Self::$kind => limits.$field,)*
                }
            }
        }

        impl TenantLimits {
            /// These, and where one is not set, that of `defaults`.
            #[must_use]
            pub fn or(self, defaults: Self) -> Self {
                Self { $($field: self.$field.or(defaults.$field),)* }
            }

            /// With those changed that `changes` names: to another value, or back to not set.
            #[must_use]
            pub fn changed(mut self, changes: &LimitChanges) -> Self {
                for (limit, value) in &changes.0 {
                    match limit {
                        $(Limit::$kind => self.$field = *value,)*
                    }
                }
                self
            }
        }
    };
}

limits! {
    /// Registered agents.
    agents Agents;
    /// Agents that are connected at once.
    connections Connections;
    /// Channels.
    channels Channels;
    /// SSH keys.
    ssh_keys SshKeys;
    /// API keys.
    api_keys ApiKeys;
    /// Messages in one day, by UTC.
    messages_per_day MessagesPerDay;
    /// Requests in one second.
    requests_per_second RequestsPerSecond;
}

/// Limits that change: to a value, or back to not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitChanges(pub Vec<(Limit, Option<u64>)>);

/// What a tenant took in one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageDay {
    /// The day: how many whole days after the first of 1970, by UTC.
    pub day: u32,
    /// Agents that registered for the first time.
    pub agents: u64,
    /// Connections that agents opened.
    pub connections: u64,
    /// Messages that were accepted.
    pub messages: u64,
    /// Attempts of tasks that were given to agents.
    pub tasks: u64,
}

impl UsageDay {
    /// Nothing yet.
    #[must_use]
    pub fn of(day: u32) -> Self {
        Self { day, ..Self::default() }
    }

    /// With what `other` has, for the same day.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            day: self.day,
            agents: self.agents.saturating_add(other.agents),
            connections: self.connections.saturating_add(other.connections),
            messages: self.messages.saturating_add(other.messages),
            tasks: self.tasks.saturating_add(other.tasks),
        }
    }

    /// Without what `other` has, for the same day.
    #[must_use]
    pub fn minus(self, other: &Self) -> Self {
        Self {
            day: self.day,
            agents: self.agents.saturating_sub(other.agents),
            connections: self.connections.saturating_sub(other.connections),
            messages: self.messages.saturating_sub(other.messages),
            tasks: self.tasks.saturating_sub(other.tasks),
        }
    }

    /// Whether nothing was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::of(self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_limit_goes_before_the_default_and_zero_is_zero() {
        let defaults = TenantLimits { agents: Some(5), api_keys: Some(2), ..TenantLimits::default() };
        let own = TenantLimits { agents: Some(0), ..TenantLimits::default() };
        let effective = own.or(defaults);
        assert_eq!(Limit::Agents.of(&effective), Some(0));
        assert_eq!(Limit::ApiKeys.of(&effective), Some(2));
        assert_eq!(Limit::Channels.of(&effective), None);
        let changes = LimitChanges(vec![(Limit::Agents, None), (Limit::Channels, Some(7))]);
        let changed = own.changed(&changes);
        assert_eq!(changed, TenantLimits { channels: Some(7), ..TenantLimits::default() });
        let written = serde_json::to_value(changed).unwrap();
        assert_eq!(written, serde_json::json!({"channels": 7}));
    }
}
