//! The limit on agents, and what is counted of them, for each surface that registers some.

use signalbox_core::engine;
use signalbox_core::quota::Limit;
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;

use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Acts, Context};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::{Permit, QuotaError, Quotas, Usage};

/// Registers an agent within its tenant's limit, and counts it.
///
/// # Errors
/// The caller is an agent itself, the tenant has as many agents as it may, the engine rejects it, or the store does not answer.
pub(super) async fn register(
    (drive, quotas): (&Drive, &Quotas),
    context: &Context<Acts>,
    operation: &engine::Register,
    tell: impl Fn(&engine::Registered) -> Reply + Send + Sync + 'static,
) -> Result<Reply, Refusal> {
    if context.caller.agent.is_some() {
        let detail = "An agent's token registers no agents; use an API key with the scope 'agent'.";
        return Err(Problem::forbidden(detail).into());
    }
    let tenant = context.tenant();
    let _permit = permit(drive, quotas, tenant, &operation.name).await?;
    let reply = drive.answer(tenant, context.claim.as_ref(), operation, tell).await?;
    if reply.status == http::StatusCode::CREATED {
        quotas.count(tenant, Usage::Agents, 1, clock::now());
    }
    Ok(reply)
}

/// Lets a registration through where the tenant may have one more agent, or has one of that name: what becomes of that
/// is for the operation to say.
async fn permit(drive: &Drive, quotas: &Quotas, tenant: &TenantId, name: &str) -> Result<Permit, Refusal> {
    match quotas.check(tenant, Limit::Agents, clock::now()).await {
        Err(over @ QuotaError::Over(_)) if !drive.knows_agent_named(tenant, name).await? => Err(over.into()),
        Err(QuotaError::Over(_)) => Ok(Permit::free()),
        checked => Ok(checked?),
    }
}
