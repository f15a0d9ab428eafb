//! `GET /api/v1/tenants`: the tenants, page by page.

use axum::extract::State;
use serde::Deserialize;
use signalbox_store::{Page, Store};
use signalbox_wire::artcafe::TenantList;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;

use crate::http::context::{Administers, Context};
use crate::http::params::Query;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;
use crate::surface::artcafe::tenants::convert;
use crate::surface::artcafe::tenants::platform::only_platform;

/// What the list is called in its cursors.
const LIST: &str = "tenants";

/// Which page of the tenants.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TenantQuery {
    /// How many at most, 1 to 1000; 100 where absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next_token` of the page before.
    next_token: Option<String>,
}

/// List the tenants
///
/// The tenant `default` is always there and not in the list.
#[utoipa::path(get, path = "/api/v1/tenants", operation_id = "list_tenants", tag = "Tenants", params(TenantQuery), responses(
    (status = 200, description = "The tenants by id", body = TenantList),
    (status = 403, description = "Only the platform key sees tenants", body = Problem)))]
pub(crate) async fn list(
    State(store): State<Store>,
    State(quotas): State<Quotas>,
    context: Context<Administers>,
    Query(query): Query<TenantQuery>,
) -> Result<Reply, Refusal> {
    only_platform(&context)?;
    let query = PageQuery { limit: query.limit, cursor: query.next_token };
    let page = query.read(LIST).map_err(|faults| {
        let renamed = |fault: Fault| match fault.pointer.as_str() {
            "/cursor" => Fault::new("/next_token", fault.message),
            _ => fault,
        };
        faults.into_iter().map(renamed).collect::<Vec<Fault>>()
    })?;
    let listed = store.tenants(&Page { limit: page.limit, after: page.after }).await?;
    let defaults = quotas.defaults();
    let others = listed.items.iter().filter(|tenant| tenant.id != TenantId::default_tenant());
    Ok(Reply::ok(&TenantList {
        tenants: others.map(|tenant| convert::view(tenant, defaults)).collect(),
        next_token: listed.next.map(|next| Cursor::encode(LIST, &next)),
    }))
}
