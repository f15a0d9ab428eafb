//! `DELETE /api/v1/tenants/{tenant_id}`: a tenant goes with everything that it has.

use axum::extract::State;
use http::StatusCode;
use signalbox_bus::{Ended, WakeUps};
use signalbox_store::{Removal, Store};
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::auth::Authenticator;
use crate::engine::Drive;
use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::quota::Quotas;
use crate::surface::artcafe::tenants::platform::{only_platform, tenant_id, unknown};

/// Remove a tenant with everything that it has
///
/// Its keys end at once (on another node after five seconds at most); the answer comes when nothing is left. A large
/// tenant takes a while; where the answer is lost, ask again until it is 404.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant_id}", operation_id = "remove_tenant", tag = "Tenants",
    params(("tenant_id" = String, Path, description = "Which tenant")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "Only the platform key removes tenants", body = Problem),
        (status = 404, description = "No such tenant", body = Problem),
        (status = 409, description = "The tenant `default` cannot be removed", body = Problem)))]
pub(crate) async fn remove(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(authenticator): State<Authenticator>,
    State(quotas): State<Quotas>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<StatusCode, Refusal> {
    only_platform(&context)?;
    let tenant = tenant_id(&id)?;
    if tenant == TenantId::default_tenant() {
        let detail = "The tenant 'default' cannot be removed; it is where calls without a key belong.";
        return Err(Problem::new(ProblemKind::DefaultTenant, detail).into());
    }
    if store.tenant(&tenant).await?.is_none() {
        return Err(unknown(&id).into());
    }
    // On its own, so that it goes on when the client does not wait.
    let ways = (authenticator, drive.wake_ups().clone(), quotas);
    let removal = tokio::spawn(removal(store, ways, tenant));
    removal.await.unwrap_or_else(|error| Err(Refusal::failed(error)))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn removal(
    store: Store,
    (authenticator, wake_ups, quotas): (Authenticator, WakeUps, Quotas),
    tenant: TenantId,
) -> Result<(), Refusal> {
    // The keys go with the first part; what calls under way add goes with the parts that follow.
    let mut removed = store.remove_tenant(&tenant).await?;
    authenticator.end(&wake_ups, Ended::Tenant(tenant.clone()));
    while removed == Removal::Goes {
        removed = store.remove_tenant(&tenant).await?;
    }
    // Who came by the platform key rests on the tenant itself, which goes last.
    authenticator.end(&wake_ups, Ended::Tenant(tenant.clone()));
    quotas.drop_account(&tenant);
    tracing::info!(%tenant, "a tenant was removed");
    Ok(())
}
