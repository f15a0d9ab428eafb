//! `GET /api/v1/usage-metrics`: what a tenant took, day by day.

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::quota::{USAGE_DAYS_KEPT, UsageDay};
use signalbox_store::Store;
use signalbox_wire::artcafe::{UsageDayView, UsageMetrics};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;

use super::tenants::convert;
use crate::clock;
use crate::http::context::{Context, Reads};
use crate::http::params::{Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::{self, Quotas};

/// Days that are shown where it is not said how many.
const DAYS: u32 = 30;

/// Which days.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// How many days, today included, 1 to 400; 30 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 400)]
    days: Option<String>,
}

/// Show what the tenant took, by day
///
/// Days are those of UTC. What other nodes counted is in it after five seconds.
#[utoipa::path(get, path = "/api/v1/usage-metrics", operation_id = "usage_metrics", tag = "Tenants", params(UsageQuery), responses(
    (status = 200, description = "Each day, the earliest first, and the limits that hold", body = UsageMetrics),
    (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn usage(
    State(store): State<Store>,
    State(quotas): State<Quotas>,
    context: Context<Reads>,
    Query(query): Query<UsageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let days = reader.read("days", query.days.as_deref(), days).unwrap_or(DAYS);
    reader.finish()?;
    let (tenant, now) = (context.tenant(), clock::now());
    let last = quota::day_of(now);
    let first = last.saturating_sub(days - 1);
    // First what is in memory: what is added to the store meanwhile may be missing from the answer, and is never twice
    // in it.
    let untold = quotas.untold_of(tenant);
    let stored = store.usage(tenant, first, last).await?;
    let of = |day: u32| {
        let counted = stored.iter().chain(&untold).filter(|usage| usage.day == day);
        view(&counted.fold(UsageDay::of(day), |sum, usage| sum.plus(usage)))
    };
    Ok(Reply::ok(&UsageMetrics {
        tenant_id: tenant.clone(),
        days: (first..=last).map(of).collect(),
        limits: convert::limits_out(quotas.effective(tenant, now).await),
    }))
}

fn days(text: &str) -> Result<u32, String> {
    let days = text.parse().ok().filter(|days| (1..=USAGE_DAYS_KEPT).contains(days));
    days.ok_or_else(|| format!("must be a whole number from 1 to {USAGE_DAYS_KEPT}"))
}

fn view(usage: &UsageDay) -> UsageDayView {
    let midnight = Timestamp::from_seconds(i64::from(usage.day) * 86_400).to_string();
    UsageDayView {
        date: midnight.chars().take("2026-11-29".len()).collect(),
        agents: usage.agents,
        connections: usage.connections,
        messages: usage.messages,
        tasks: usage.tasks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_by_its_date() {
        assert_eq!(view(&UsageDay::of(20_786)).date, "2026-11-29");
        assert_eq!((days("400"), days("0").is_err(), days("401").is_err()), (Ok(400), true, true));
    }
}
