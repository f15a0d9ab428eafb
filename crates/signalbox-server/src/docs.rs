//! The API's description, generated from the handlers' types, and the page to browse it.

use axum::Router;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder,
    SecurityRequirement, ServerBuilder,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::config::Surface;
use crate::{agentkit, artcafe, edge, opscore, process};

/// The routes of the process and of each surface that `serves` says yes to.
pub(crate) fn routes(serves: impl Fn(Surface) -> bool) -> OpenApiRouter<App> {
    let mut routes = OpenApiRouter::with_openapi(empty()).merge(process::router());
    if serves(Surface::Agentkit) {
        routes = routes.merge(agentkit::router());
    }
    if serves(Surface::Opscore) {
        routes = routes.merge(opscore::router());
    }
    if serves(Surface::Artcafe) {
        routes = routes.merge(artcafe::router());
    }
    routes
}

/// `GET /openapi.json` and `/docs`; nothing in them is loaded from elsewhere.
pub(crate) fn pages(mut description: OpenApi, public_url: Option<&str>) -> Router<App> {
    if let Some(url) = public_url {
        description.servers = Some(vec![ServerBuilder::new().url(url).build()]);
    }
    Router::from(SwaggerUi::new("/docs").url("/openapi.json", description))
        .layer(axum::middleware::from_fn(edge::pages))
}

/// The description of everything that can be served.
#[must_use]
pub fn openapi() -> OpenApi {
    routes(|_| true).split_for_parts().1
}

fn empty() -> OpenApi {
    let key = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Signalbox")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "A control plane for AI agents: who they are, how to reach them, what they do.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
                .contact(Some(ContactBuilder::new().name(Some("The Signalbox developers")).build()))
                .build(),
        )
        .components(Some(ComponentsBuilder::new().security_scheme("key", key).build()))
        .security(Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]))
        .build()
}
