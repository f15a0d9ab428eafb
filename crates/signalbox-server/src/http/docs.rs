//! The API's description, generated from the handlers' types, and the page to browse it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use signalbox_wire::problem;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, Content, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder,
    OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response, ResponseBuilder, SecurityRequirement,
    ServerBuilder, Type,
};

use crate::http::on_demand::OnDemand;

/// What operations are about, in the order of the page: each has one of these as its tag.
const TOPICS: [(&str, &str); 16] = [
    (
        "Agents",
        "Who is there: register, list, change and deregister agents. Under `/v1` in AgentKit's words, under `/api/v1` in ArtCafe's; they are the same agents.",
    ),
    (
        "Agent state",
        "What agents say of themselves: state reports, their history, and taking an agent out of service and back.",
    ),
    (
        "Messages",
        "Send an agent a message or a task, see what became of it, and look after what could not be delivered.",
    ),
    (
        "Tools",
        "Functions behind HTTP endpoints, with a JSON Schema for their arguments, that agents and workflows call.",
    ),
    (
        "Workflows",
        "Definitions of work in several tasks: keep, compare and roll them back, and start sessions of them.",
    ),
    (
        "Sessions",
        "Runs of workflows: follow, pause, resume, cancel, retry, signal and approve them, one or many at once.",
    ),
    ("Schedules", "Sessions that start by themselves at set times."),
    ("Webhook triggers", "Addresses that others call, signed, to start sessions."),
    ("Logs", "One log of what agents write and what the server does, with sessions, tasks and traces in it."),
    ("Connections", "Agents without an address of their own: their WebSocket and their long polls."),
    ("Commands", "Ask a connected agent to do something, and get its answer."),
    ("Channels", "Named subjects with a history that agents publish to and subscribe to."),
    ("Sign-in", "SSH keys of agents, and the challenge by which a key becomes a token."),
    ("API keys", "Keys of the tenant, with their scopes."),
    ("Tenants", "Tenants, what they may have and took, and how long what is over is kept."),
    ("Process", "Whether the server is well, and figures for Prometheus. Open without a key."),
];

/// Makes the API's description. It is large and seldom asked for, so nobody keeps it whole: whoever needs a part of it has
/// it made when the first request does.
pub(crate) type Describe = Arc<dyn Fn() -> OpenApi + Send + Sync>;

/// What holds for every operation is not repeated at each handler: a refusal of any kind is a problem, and a POST
/// takes an `Idempotency-Key`.
pub(crate) fn complete(description: &mut OpenApi) {
    let mut used = HashSet::new();
    for (path, item) in &mut description.paths.paths {
        // Its signature is its key: a repeat is refused by that.
        let is_signed = path.ends_with("/notify");
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for (number, operation) in operations.into_iter().enumerate() {
            let Some(operation) = operation else { continue };
            used.extend(operation.tags.iter().flatten().cloned());
            operation.responses.responses.values_mut().for_each(as_problem);
            let schema = Ref::from_schema_name("Problem");
            let problem = ResponseBuilder::new()
                .description(
                    "Refused, as every operation may be: 400 not well-formed, 401 no or a bad key, 403 not allowed, \
                     413 too large, 415 not JSON, 422 does not fit, 429 over a limit of the tenant, 503 the store cannot answer now",
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
    let topics = TOPICS.into_iter().filter(|(name, _)| used.contains(*name));
    let tags = topics.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    description.tags = Some(tags.collect());
}

/// What is answered with a problem, under the problem's media type.
fn as_problem(response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    let is_problem = |content: &RefOr<Content>| {
        matches!(content, RefOr::T(Content { schema: Some(RefOr::Ref(schema)), .. })
            if schema.ref_location.ends_with("/Problem"))
    };
    if response.content.get(JSON).is_some_and(is_problem)
        && let Some(content) = response.content.shift_remove(JSON)
    {
        response.content.insert(problem::CONTENT_TYPE.to_owned(), content);
    }
}

/// The media type that handlers' bodies have where they say nothing else.
const JSON: &str = "application/json";

/// The page that shows the description, and the files that belong to it: where, what kind, and the text.
const PAGE: [(&str, &str, &str); 3] = [
    ("/docs", "text/html; charset=utf-8", include_str!("docs/page.html")),
    ("/docs/page.css", "text/css; charset=utf-8", include_str!("docs/page.css")),
    ("/docs/page.js", "text/javascript; charset=utf-8", include_str!("docs/page.js")),
];

/// `GET /openapi.json` and `/docs`; nothing in them is loaded from elsewhere.
pub(crate) fn pages<S>(describe: Describe, public_url: Option<&str>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let public_url = public_url.map(str::to_owned);
    let text = OnDemand::new(move || {
        let mut description = describe();
        if let Some(url) = &public_url {
            description.servers = Some(vec![ServerBuilder::new().url(url).build()]);
        }
        // What was made from the handlers' types can always be written.
        Bytes::from(description.to_json().unwrap_or_default())
    });
    let mut router = Router::new()
        .route(
            "/openapi.json",
            get(async move || ([(CONTENT_TYPE, "application/json")], Bytes::clone(&*text.get().await))),
        )
        .route("/docs/", get(async || Redirect::permanent("../docs")));
    for (path, kind, text) in PAGE {
        router = router.route(path, get(async move || ([(CONTENT_TYPE, kind)], text)));
    }
    router
}

/// The description of an API without operations.
pub(crate) fn empty() -> OpenApi {
    let key = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Signalbox")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "A control plane for AI agents: it knows who they are, brings them messages and tasks, runs workflows \
                     over them, and keeps what happened. Requests carry `Authorization: Bearer <key>`; refusals are \
                     `application/problem+json`.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
                .contact(Some(ContactBuilder::new().name(Some("The Signalbox developers")).build()))
                .build(),
        )
        .components(Some(ComponentsBuilder::new().security_scheme("key", key).build()))
        .security(Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]))
        .build()
}
