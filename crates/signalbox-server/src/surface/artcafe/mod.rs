//! The ArtCafe surface: tenants, which the other surfaces share, and how agents sign in.

mod sign_in;
mod ssh_keys;
mod tenants;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::sign_in::{challenge, jwks, verify};
use self::tenants::{create, list, remove};
use crate::config;
use crate::surface::description::Description;
use crate::surface::state::AppState;

/// This surface.
pub(crate) const SURFACE: Description = Description {
    name: Some(config::Surface::Artcafe),
    prefixes: &["/api/v1", "/.well-known"],
    is_keyless: false,
    routes: router,
    fast_routes: |_| Vec::new(),
};

/// Every route of this surface.
fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create::create, list::list))
        .routes(routes!(remove::remove))
        .routes(routes!(challenge::challenge))
        .routes(routes!(verify::verify))
        .routes(routes!(jwks::jwks))
        .routes(routes!(ssh_keys::create::create, ssh_keys::list::list))
        .routes(routes!(ssh_keys::show::show, ssh_keys::delete::delete))
        .routes(routes!(ssh_keys::revoke::revoke))
}
