//! The limit on agents, and what is counted of them, for each surface that registers some.

use signalbox_core::engine;
use signalbox_core::quota::Limit;
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::{AgentId, TenantId};
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
    let is_known = || drive.knows_agent_named(tenant, &operation.name);
    let _permit = permit(quotas, tenant, is_known).await?;
    let reply = drive.answer(tenant, context.claim.as_ref(), operation, tell).await?;
    if reply.status == http::StatusCode::CREATED {
        quotas.count(tenant, Usage::Agents, 1, clock::now());
    }
    Ok(reply)
}

/// An agent of which another service tells that it registered there, within its tenant's limit and counted.
///
/// # Errors
/// The tenant has as many agents as it may and not this one, the engine rejects it, or the store does not answer.
pub(super) async fn announce(
    (store, quotas): (&Store, &Quotas),
    tenant: &TenantId,
    agent: &AgentId,
    told: impl Future<Output = Result<Reply, Refusal>>,
) -> Result<Reply, Refusal> {
    let is_known = store.agent(tenant, agent).await?.is_some();
    let _permit = permit(quotas, tenant, || async move { Ok(is_known) }).await?;
    let reply = told.await?;
    if !is_known {
        quotas.count(tenant, Usage::Agents, 1, clock::now());
    }
    Ok(reply)
}

/// Lets a registration through where the tenant may have one more agent, or has this one: what becomes of that is for the
/// operation to say.
async fn permit<F>(quotas: &Quotas, tenant: &TenantId, is_known: impl Fn() -> F) -> Result<Permit, Refusal>
where
    F: Future<Output = Result<bool, StoreError>>,
{
    match quotas.check(tenant, Limit::Agents, clock::now()).await {
        Err(over @ QuotaError::Over(_)) if !is_known().await? => Err(over.into()),
        Err(QuotaError::Over(_)) => Ok(Permit::free()),
        checked => Ok(checked?),
    }
}
