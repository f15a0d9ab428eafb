//! Placeholder.
use utoipa_axum::router::OpenApiRouter;
use crate::app::App;
pub(crate) fn router() -> OpenApiRouter<App> { OpenApiRouter::new() }
