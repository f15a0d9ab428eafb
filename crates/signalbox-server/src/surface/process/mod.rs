//! What belongs to the process and to no surface: health, readiness, metrics, the API's description, keys.

mod health;
mod keys;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Every route of the process.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
}
