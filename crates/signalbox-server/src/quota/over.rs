//! What a tenant is told that is over a limit: which, what it is, who set it, and when to come again.

use std::time::Duration;

use signalbox_core::quota::Limit;
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;

use super::account::Known;

const DAY_S: i64 = 86_400;
/// Seconds after which somebody may have made room.
const RETRY_AFTER_S: u32 = 30;

/// Over the requests of a second.
pub(super) fn rate(tenant: &TenantId, most: u64, known: Known, wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000).max(1)).unwrap_or(u32::MAX);
    let told = told(tenant, Limit::RequestsPerSecond, most, known);
    let detail = format!("{told}; send fewer, or ask again in {seconds} s.");
    Problem::new(ProblemKind::TooManyRequests, detail).retry_after(seconds)
}

/// Over how many of something there may be.
pub(super) fn count(tenant: &TenantId, limit: Limit, most: u64, known: Known) -> Problem {
    let cure = match limit {
        Limit::Connections => "disconnect one of its agents",
        Limit::Agents => "deregister an agent",
        Limit::Channels => "delete a channel",
        Limit::SshKeys => "delete a key",
        _ => "remove one",
    };
    let told = told(tenant, limit, most, known);
    let detail = format!("{told}; {cure}, or have the platform's operator raise the limit.");
    Problem::new(ProblemKind::LimitReached, detail).retry_after(RETRY_AFTER_S)
}

/// Over the messages of a day.
pub(super) fn day(tenant: &TenantId, most: u64, known: Known, now: Timestamp) -> Problem {
    let detail =
        format!("{}; the next day begins at 00:00 UTC.", told(tenant, Limit::MessagesPerDay, most, known));
    let left = DAY_S - now.as_seconds().rem_euclid(DAY_S);
    Problem::new(ProblemKind::LimitReached, detail).retry_after(u32::try_from(left).unwrap_or(1))
}

fn told(tenant: &TenantId, limit: Limit, most: u64, known: Known) -> String {
    let whose = match (limit.of(&known.own), limit.of(&known.defaults)) {
        (Some(_), Some(default)) => format!("its own; the server's is {default}"),
        (Some(_), None) => "its own; the server has none".to_owned(),
        (None, _) => "the server's; it has none of its own".to_owned(),
    };
    format!("Tenant {tenant} is at its limit {} of {most} ({whose})", limit.name())
}

#[cfg(test)]
mod tests {
    use signalbox_core::quota::TenantLimits;

    use super::*;

    #[test]
    fn a_limit_is_told_with_its_value_and_who_set_it() {
        let tenant = TenantId::default_tenant();
        let limits = |most| TenantLimits { agents: most, messages_per_day: most, ..TenantLimits::default() };
        let own = Known { own: limits(Some(3)), defaults: limits(Some(5)) };
        let problem = count(&tenant, Limit::Agents, 3, own);
        assert!(
            problem
                .detail
                .starts_with("Tenant default is at its limit agents of 3 (its own; the server's is 5);"),
            "{}",
            problem.detail
        );
        assert_eq!((problem.status, problem.retry_after_s), (429, Some(30)));
        for (limit, cure) in [
            (Limit::Agents, "; deregister an agent, or"),
            (Limit::Connections, "; disconnect one of its agents, or"),
        ] {
            assert!(count(&tenant, limit, 3, own).detail.contains(cure));
        }
        let defaults = Known { own: limits(None), defaults: limits(Some(5)) };
        let late = day(&tenant, 5, defaults, Timestamp::from_seconds(2 * DAY_S - 60));
        assert!(late.detail.contains("messages_per_day of 5 (the server's;"), "{}", late.detail);
        assert_eq!(late.retry_after_s, Some(60));
        assert_eq!(rate(&tenant, 5, own, Duration::from_millis(1_200)).retry_after_s, Some(2));
    }
}
