//! The ArtCafe surface: for now its tenants, which the other surfaces share, and what they take.

mod tenants;
mod usage;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::tenants::{change, create, get, list, remove};
use crate::config;
use crate::surface::description::Description;
use crate::surface::state::AppState;

/// This surface.
pub(crate) const SURFACE: Description = Description {
    name: Some(config::Surface::Artcafe),
    prefixes: &["/api/v1"],
    is_keyless: false,
    routes: router,
    fast_routes: |_| Vec::new(),
};

/// Every route of this surface.
fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(get::get, change::change, remove::remove))
        .routes(routes!(usage::usage))
}
