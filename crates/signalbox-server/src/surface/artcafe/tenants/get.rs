//! `GET /api/v1/tenants/{tenant_id}`: a tenant with its limits.

use axum::extract::State;
use signalbox_core::decision::Tenant;
use signalbox_core::quota::TenantLimits;
use signalbox_store::Store;
use signalbox_wire::artcafe::TenantView;
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;

use crate::http::context::{Administers, Context};
use crate::http::params::Path;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;
use crate::surface::artcafe::tenants::convert;
use crate::surface::artcafe::tenants::platform::{only_platform, tenant_id, unknown};

/// Show a tenant with its limits
#[utoipa::path(get, path = "/api/v1/tenants/{tenant_id}", operation_id = "get_tenant", tag = "Tenants",
    params(("tenant_id" = String, Path, description = "Which tenant")),
    responses(
        (status = 200, description = "The tenant", body = TenantView),
        (status = 403, description = "Only the platform key sees tenants", body = Problem),
        (status = 404, description = "No such tenant", body = Problem)))]
pub(crate) async fn get(
    State(store): State<Store>,
    State(quotas): State<Quotas>,
    context: Context<Administers>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    only_platform(&context)?;
    let tenant = tenant_id(&id)?;
    let kept = match store.tenant(&tenant).await? {
        Some(kept) => kept,
        // It is always there, also before anything was said of it.
        None if tenant == TenantId::default_tenant() => Tenant {
            name: tenant.to_string(),
            id: tenant,
            created_at: Timestamp::default(),
            limits: TenantLimits::default(),
        },
        None => return Err(unknown(&id).into()),
    };
    Ok(Reply::ok(&convert::view(&kept, quotas.defaults())))
}
