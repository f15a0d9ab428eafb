//! `PATCH /api/v1/tenants/{tenant_id}`: a tenant gets another name or other limits.

use axum::extract::State;
use signalbox_core::engine::ChangeTenant;
use signalbox_store::Store;
use signalbox_wire::artcafe::{TenantPatch, TenantView};
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;

use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;
use crate::surface::artcafe::tenants::convert;
use crate::surface::artcafe::tenants::platform::{only_platform, tenant_id, unknown};

/// Change a tenant's name or limits
///
/// What is absent stays; a limit that is null is the server's again. Another node may go by the old limits for five
/// seconds more. What a tenant has already stays, also above a new limit.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant_id}", operation_id = "change_tenant", tag = "Tenants",
    request_body = TenantPatch,
    params(("tenant_id" = String, Path, description = "Which tenant")),
    responses(
        (status = 200, description = "The tenant as it is now", body = TenantView),
        (status = 403, description = "Only the platform key changes tenants", body = Problem),
        (status = 404, description = "No such tenant", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn change(
    State(store): State<Store>,
    State(drive): State<Drive>,
    State(quotas): State<Quotas>,
    context: Context<Administers>,
    Path(id): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    only_platform(&context)?;
    let tenant = tenant_id(&id)?;
    let body: TenantPatch = input.parse()?;
    // A tenant that never was has no rows to decide on; one that was removed takes no commits.
    if tenant != TenantId::default_tenant() && store.tenant(&tenant).await?.is_none() {
        return Err(unknown(&id).into());
    }
    let limits = body.limits.as_ref().map(convert::changes).unwrap_or_default();
    let operation = ChangeTenant { tenant: tenant.clone(), name: body.name, limits };
    let changed = drive.run(&tenant, &operation).await?;
    quotas.forget(&tenant);
    Ok(Reply::ok(&convert::view(&changed, quotas.defaults())))
}
