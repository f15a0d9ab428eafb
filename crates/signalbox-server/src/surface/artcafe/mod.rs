//! The ArtCafe surface: for now its tenants, which the other surfaces share.

mod tenants;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Every route of this surface.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(tenants::create, tenants::list)).routes(routes!(tenants::remove))
}
