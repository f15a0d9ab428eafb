//! `POST /v1/opscore/agent/{agentId}/drain` and `…/undrain`: an agent finishes what it holds and gets nothing
//! new, until it is taken back into service.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_wire::opscore::Done;
use signalbox_wire::problem::Problem;

use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup;

/// Give an agent nothing new
///
/// It may finish the tasks that it holds.
#[utoipa::path(post, path = "/v1/opscore/agent/{agentId}/drain", tag = "Agent state",
    params(("agentId" = String, Path, description = "Which agent")),
    responses(
        (status = 200, description = "It drains", body = Done),
        (status = 404, description = "No such agent", body = Problem)))]
pub(crate) async fn drain_agent(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(agent): Path,
) -> Result<Reply, Refusal> {
    set(&drive, &context, &agent, true).await
}

/// Take an agent back into service
#[utoipa::path(post, path = "/v1/opscore/agent/{agentId}/undrain", tag = "Agent state",
    params(("agentId" = String, Path, description = "Which agent")),
    responses(
        (status = 200, description = "It may be given tasks again", body = Done),
        (status = 404, description = "No such agent", body = Problem)))]
pub(crate) async fn undrain_agent(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(agent): Path,
) -> Result<Reply, Refusal> {
    set(&drive, &context, &agent, false).await
}

async fn set(
    drive: &Drive,
    context: &Context<Administers>,
    agent: &str,
    draining: bool,
) -> Result<Reply, Refusal> {
    let operation = engine::Drain { agent: lookup::agent(agent)?, draining };
    let message = if draining {
        format!("Agent {agent} is draining: it gets no new tasks.")
    } else {
        format!("Agent {agent} is back in service.")
    };
    drive
        .answer(context.tenant(), context.claim.as_ref(), &operation, move |()| {
            Reply::ok(&Done::new(message.as_str()))
        })
        .await
}
