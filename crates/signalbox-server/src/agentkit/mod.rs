//! The AgentKit surface: register agents, route messages, run tools, look after dead letters.

mod convert;
mod register;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Every route of this surface.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(register::register)).routes(routes!(register::create))
}
