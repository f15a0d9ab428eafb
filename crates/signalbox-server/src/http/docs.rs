//! The API's description, generated from the handlers' types, and the page to browse it.

use axum::Router;
use signalbox_wire::problem;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi,
    OpenApiBuilder, Ref, Required, ResponseBuilder, SecurityRequirement, ServerBuilder, Type,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::config::Surface;
use crate::http::edge;
use crate::surface::{agentkit, artcafe, opscore, process};

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
    complete(routes.get_openapi_mut());
    routes
}

/// What holds for every operation is not repeated at each handler: a refusal of any kind is a problem, and a POST
/// takes an `Idempotency-Key`.
fn complete(description: &mut OpenApi) {
    for (path, item) in &mut description.paths.paths {
        // Its signature is its key: a repeat is refused by that.
        let is_signed = path.ends_with("/notify");
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for (number, operation) in operations.into_iter().enumerate() {
            let Some(operation) = operation else { continue };
            let schema = Ref::from_schema_name("Problem");
            let problem = ResponseBuilder::new()
                .description(
                    "Refused, as every operation may be: 400 not well-formed, 401 no or a bad key, 403 not allowed, \
                     413 too large, 415 not JSON, 422 does not fit, 503 the store cannot answer now",
                )
                .content(problem::CONTENT_TYPE, ContentBuilder::new().schema(Some(schema)).build())
                .build();
            operation.responses.responses.insert("default".to_owned(), problem.into());
            if number == 1 && !is_signed {
                let parameter = ParameterBuilder::new()
                    .name("Idempotency-Key")
                    .parameter_in(ParameterIn::Header)
                    .required(Required::False)
                    .description(Some(
                        "The same key with the same body gets the first answer again, for 24 hours",
                    ))
                    .schema(Some(
                        ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).build(),
                    ))
                    .build();
                operation.parameters.get_or_insert_default().push(parameter.into());
            }
        }
    }
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
