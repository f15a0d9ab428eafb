//! `GET /v1/opscore/payloads/{sha256}`: a large value that a session refers to.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use signalbox_store::Store;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::http::context::{Context, Reads};
use crate::http::params::Path;
use crate::http::problem::Refusal;

/// A payload never changes, and is no business of those who share a cache.
const KEPT_BY_CLIENTS: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Fetch a payload
///
/// Values of a session that are longer than `payload_inline_max` bytes are kept apart, and shown as
/// `{"$payload": {"sha256": …, "bytes": …}}`. This is such a value as JSON, byte for byte what the hash was made of;
/// large parts of it may be references themselves. It is kept as long as a session that refers to it.
#[utoipa::path(get, path = "/v1/opscore/payloads/{sha256}", tag = "Sessions",
    params(("sha256" = String, Path, description = "The hash that its reference names")),
    responses(
        (status = 200, description = "The value", body = serde_json::Value),
        (status = 404, description = "No session refers to such a payload", body = Problem)))]
pub(super) async fn get_payload(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(sha256): Path,
) -> Result<Response, Refusal> {
    let Some(payload) = store.payload(context.tenant(), &sha256).await? else {
        let detail = format!(
            "Payload not found: {sha256}; it is kept as long as a session refers to it, and GET \
             /v1/opscore/sessions/{{id}} shows what one refers to."
        );
        return Err(Problem::new(ProblemKind::UnknownPayload, detail).into());
    };
    let mut response = payload.body.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, KEPT_BY_CLIENTS);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", payload.sha256)) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}
