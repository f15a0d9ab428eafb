//! `GET /api/v1/ws/agent/{agent_id}`: an agent's WebSocket.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::ConnectionId;
use signalbox_wire::problem::Problem;

use crate::http::params::{Path, Query, Reader, id};
use crate::http::problem::Refusal;
use crate::http::route_table::RouteTable;
use crate::live::Live;
use crate::live::admission::{Verdict, credentials};
use crate::transport::connection::Resume;

/// What paths of this surface begin with, as far as who may call is concerned.
const PATH: &str = "/api/v1/ws/agent";

/// What the query says.
#[derive(Deserialize)]
pub(crate) struct Asked {
    token: Option<String>,
    connection: Option<String>,
    after: Option<String>,
}

/// Open an agent's WebSocket
///
/// The token, or an API key with the scope `agent`, is sent as `Authorization: Bearer`, or by browsers as `?token=`.
/// Where it is not good the WebSocket opens and is closed with 4401, 4403 or 4404. What goes over it is in the
/// [reference](https://github.com/signalbox-dev/signalbox/blob/main/docs/reference/agent-websocket.md).
#[utoipa::path(get, path = "/api/v1/ws/agent/{agent_id}", operation_id = "connect_agent", tag = "Connections", params(
    ("agent_id" = String, Path, description = "Which agent connects"),
    ("token" = Option<String>, Query, description = "The token, where a header cannot be sent"),
    ("connection" = Option<String>, Query, description = "The earlier connection that this one goes on with"),
    ("after" = Option<u64>, Query, description = "The last sequence that was received over it; only beside `connection`")),
    responses(
        (status = 101, description = "It is open"),
        (status = 401, description = "No token", body = Problem),
        (status = 403, description = "From a page of an origin that is not allowed", body = Problem),
        (status = 429, description = "The tenant has as many agents connected as it may, or asks faster than it may",
            body = Problem),
        (status = 422, description = "The query does not fit", body = Problem),
        (status = 426, description = "The request opens no WebSocket", body = Problem),
        (status = 503, description = "No further agent can be connected now", body = Problem)))]
pub(crate) async fn connect(
    State(live): State<Live>,
    State(routes): State<RouteTable>,
    Path(agent): Path,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    live.check_origin(&headers)?;
    let resume = resume(&asked)?;
    let credentials = credentials(&headers, asked.token.as_deref());
    let verdict = live.admit((&credentials, PATH), &agent).await?;
    let (parts, body) = request.into_parts();
    if matches!(verdict, Verdict::Admitted(_)) {
        routes.check(&parts).await?;
    }
    let mut request = Request::from_parts(parts, body);
    let mut response = live.open(&mut request, verdict, resume).await?;
    // A token in a query must be kept by nobody on the way.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the connection goes on with, where it says so.
fn resume(asked: &Asked) -> Result<Option<Resume>, Refusal> {
    let mut reader = Reader::default();
    let connection = reader.read("connection", asked.connection.as_deref(), id(ConnectionId::parse));
    let after = reader.read("after", asked.after.as_deref(), sequence);
    reader.finish()?;
    if connection.is_none() && after.is_some() {
        let told = "must name the connection that 'after' is a sequence of";
        return Err(vec![Fault::new("/connection", told)].into());
    }
    Ok(connection.map(|connection| Resume { connection, after: after.unwrap_or_default() }))
}

/// A sequence.
pub(super) fn sequence(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "must be a sequence: a whole number from 0".to_owned())
}
