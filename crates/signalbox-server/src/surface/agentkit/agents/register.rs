//! `POST /v1/agents/register` and `POST /v1/agents`: an agent joins, or takes its name over again.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use signalbox_core::engine;
use signalbox_wire::agentkit::{RegisterBody, Registered, Success};
use signalbox_wire::problem::Problem;

use crate::egress::Egress;
use crate::engine::Drive;
use crate::http::context::{Acts, Context, Input};
use crate::http::params::{self, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::quota::Quotas;
use crate::surface::agentkit::convert;
use crate::surface::registering;

/// What the query may ask for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RegisterQuery {
    /// Take over a name that is registered already, as a restarted agent does.
    #[param(value_type = Option<bool>)]
    replace: Option<String>,
}

/// Register an agent
///
/// Registered means durable. A name is unique in its tenant; `replace=true` takes a taken one over, keeping its id. Where the
/// operator has set `restart_by_endpoint`, a taken name with the same `contactEndpoint` is taken over without it.
#[utoipa::path(post, path = "/v1/agents/register", tag = "Agents", params(RegisterQuery), request_body = RegisterBody,
    responses(
        (status = 201, description = "Registered", body = Success<Registered>),
        (status = 200, description = "An earlier registration was taken over", body = Success<Registered>),
        (status = 409, description = "The name is taken", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem),
        (status = 429, description = "The tenant has as many agents as it may", body = Problem)))]
pub(crate) async fn register_agent(
    State(drive): State<Drive>,
    State(egress): State<Egress>,
    State(quotas): State<Quotas>,
    context: Context<Acts>,
    Query(query): Query<RegisterQuery>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: RegisterBody = input.parse()?;
    answer((&drive, &quotas), &egress, &context, &query, RegisterBody { agent_id: None, ..body }).await
}

/// Register an agent under an id of its own
#[utoipa::path(post, path = "/v1/agents", tag = "Agents", params(RegisterQuery), request_body = RegisterBody,
    responses(
        (status = 201, description = "Registered", body = Success<Registered>),
        (status = 200, description = "An earlier registration was taken over", body = Success<Registered>),
        (status = 409, description = "The name or the id is taken", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem),
        (status = 429, description = "The tenant has as many agents as it may", body = Problem)))]
pub(crate) async fn create_agent(
    State(drive): State<Drive>,
    State(egress): State<Egress>,
    State(quotas): State<Quotas>,
    context: Context<Acts>,
    Query(query): Query<RegisterQuery>,
    input: Input,
) -> Result<Reply, Refusal> {
    answer((&drive, &quotas), &egress, &context, &query, input.parse()?).await
}

async fn answer(
    (drive, quotas): (&Drive, &Quotas),
    egress: &Egress,
    context: &Context<Acts>,
    query: &RegisterQuery,
    body: RegisterBody,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let replace = reader.read("replace", query.replace.as_deref(), params::flag).unwrap_or_default();
    reader.finish()?;
    let operation = convert::registration(egress, body, replace, context.trace.clone())?;
    let name = operation.name.clone();
    let tell = move |registered: &engine::Registered| {
        let (status, done) = if registered.is_replaced {
            (StatusCode::OK, "registered anew")
        } else {
            (StatusCode::CREATED, "registered successfully")
        };
        let data = Registered { agent_id: registered.agent.clone(), generation: Some(registered.generation) };
        Reply::json(status, &Success::new(format!("Agent '{name}' {done}."), data))
    };
    registering::register((drive, quotas), context, &operation, tell).await
}
