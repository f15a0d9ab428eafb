//! What belongs to the process and to no surface: health, readiness, metrics, the API's description, keys.

mod health;
mod keys;

use self::keys::{create, list, revoke, rotate};
use crate::surface::api_router::{ApiRouter, routes};
use crate::surface::description::Description;

/// This surface.
pub(crate) const SURFACE: Description = Description {
    name: None,
    prefixes: &["/health", "/ready", "/metrics", "/v1/keys"],
    is_keyless: false,
    routes: router,
    fast_routes: |_| Vec::new(),
};

/// Every route of the process.
fn router() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(create::create, list::list))
        .routes(routes!(revoke::revoke))
        .routes(routes!(rotate::rotate))
}
