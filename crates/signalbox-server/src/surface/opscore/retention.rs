//! `GET | PUT /v1/opscore/retention`: how long the tenant keeps what is over.

use std::time::Duration;

use axum::extract::State;
use signalbox_core::decision::Retention;
use signalbox_core::engine::SetRetention;
use signalbox_store::Store;
use signalbox_wire::duration::Period;
use signalbox_wire::opscore::{EffectiveRetention, RetentionBody, RetentionView};
use signalbox_wire::problem::Problem;

use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input, Reads};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::state::OperatorRetention;

/// Show how long what is over is kept
#[utoipa::path(get, path = "/v1/opscore/retention", tag = "Tenants",
    responses((status = 200, description = "What the tenant has set, and what holds", body = RetentionView)))]
pub(super) async fn get_retention(
    State(store): State<Store>,
    State(operator): State<OperatorRetention>,
    context: Context<Reads>,
) -> Result<Reply, Refusal> {
    let own = store.retention(context.tenant()).await?.map(|read| *read.value).unwrap_or_default();
    Ok(Reply::ok(&view(own, operator)))
}

/// Set how long what is over is kept
///
/// What is not given is kept as long as the operator does. It holds from the next round of removal on, within a minute.
#[utoipa::path(put, path = "/v1/opscore/retention", tag = "Tenants", request_body = RetentionBody,
    responses(
        (status = 200, description = "What the tenant has set, and what holds", body = RetentionView),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(super) async fn put_retention(
    State(drive): State<Drive>,
    State(operator): State<OperatorRetention>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: RetentionBody = input.parse()?;
    let retention = Retention {
        sessions: body.sessions.map(Duration::from),
        events: body.events.map(Duration::from),
        messages: body.messages.map(Duration::from),
    };
    let kept = drive.run(context.tenant(), &SetRetention { retention }).await?;
    Ok(Reply::ok(&view(kept, operator)))
}

fn view(own: Retention, operator: OperatorRetention) -> RetentionView {
    let shown = |kept: Option<Duration>| kept.and_then(|kept| Period::try_from(kept).ok());
    RetentionView {
        own: RetentionBody {
            sessions: shown(own.sessions),
            events: shown(own.events),
            messages: shown(own.messages),
        },
        effective: EffectiveRetention {
            sessions: told(own.sessions.unwrap_or(operator.sessions)),
            events: told(own.events.unwrap_or(operator.events)),
            messages: told(own.messages.unwrap_or(operator.messages)),
        },
    }
}

/// A duration in words. An operator may keep things for longer, or for less, than a period can say.
fn told(kept: Duration) -> String {
    match Period::try_from(kept) {
        Ok(period) => period.to_string(),
        Err(_) => format!("{}d", kept.as_secs() / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_keeps_for_years_or_not_at_all_is_told_too() {
        assert_eq!(told(Duration::from_secs(30 * 86_400)), "30d");
        assert_eq!(told(Duration::from_secs(1_000 * 86_400)), "1000d");
        assert_eq!(told(Duration::ZERO), "0d");
    }
}
