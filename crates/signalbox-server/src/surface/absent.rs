//! What was perhaps meant by a name that is not there, added to the refusal where it can be told cheaply.

use signalbox_store::{AgentFilter, Page, Store, StoreError};
use signalbox_wire::id::TenantId;
use signalbox_wire::nearest::nearest;
use signalbox_wire::problem_kind::ProblemKind;

use crate::http::problem::Refusal;
use crate::tools::BuiltIn;

/// Names that are looked at to find the nearest one.
const LOOKED_AT_MAX: usize = 200;

/// An answer, with what was perhaps meant by `named` where that is what is not there.
pub(crate) async fn hinted<T>(
    store: &Store,
    tenant: &TenantId,
    named: &str,
    answered: Result<T, Refusal>,
) -> Result<T, Refusal> {
    let Err(mut refusal) = answered else { return answered };
    let hint = match refusal.kind() {
        Some(ProblemKind::UnknownAgent) => id_of_agent(store, tenant, named).await,
        Some(ProblemKind::UnknownWorkflow) => nearest_workflow(store, tenant, named).await,
        Some(ProblemKind::UnknownTool) => nearest_tool(store, tenant, named).await,
        _ => return Err(refusal),
    };
    // A store that cannot answer now takes nothing from the refusal.
    if let Ok(Some(hint)) = hint {
        refusal.0.detail.push_str(&hint);
    }
    Err(refusal)
}

/// Agents are named by their ids; whoever gives the name instead is told the id.
async fn id_of_agent(store: &Store, tenant: &TenantId, named: &str) -> Result<Option<String>, StoreError> {
    let filter = AgentFilter { name: Some(named.to_owned()), ..AgentFilter::default() };
    let found = store.agents(tenant, &filter, &Page { limit: 1, after: None }).await?.items.pop();
    Ok(found.map(|(agent, _)| format!("; the agent of that name has the id '{}'", agent.id)))
}

async fn nearest_workflow(
    store: &Store,
    tenant: &TenantId,
    named: &str,
) -> Result<Option<String>, StoreError> {
    let listed = store.workflows(tenant, &Page { limit: LOOKED_AT_MAX, after: None }).await?;
    Ok(meant(nearest(named, listed.items.iter().map(|workflow| workflow.id.as_str()))))
}

async fn nearest_tool(store: &Store, tenant: &TenantId, named: &str) -> Result<Option<String>, StoreError> {
    let listed = store.tools(tenant, &Page { limit: LOOKED_AT_MAX, after: None }).await?;
    let registered = listed.items.iter().map(|tool| tool.name.as_str());
    Ok(meant(nearest(named, registered.chain(BuiltIn::ALL.map(BuiltIn::name)))))
}

fn meant(nearest: Option<&str>) -> Option<String> {
    nearest.map(|nearest| format!("; did you mean '{nearest}'?"))
}
