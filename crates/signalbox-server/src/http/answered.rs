//! What every answer carries and is measured by, whichever way its request took.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::{self, Stopwatch};
use crate::http::access::{self, Visit};
use crate::http::problem::Reason;
use crate::telemetry::metrics::{Metrics, RouteMetrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest `x-request-id` that is taken over from a client.
const REQUEST_ID_LENGTH_MAX: usize = 128;

/// The client's own id for the request, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(REQUEST_ID).filter(|id| {
        !id.is_empty() && id.len() <= REQUEST_ID_LENGTH_MAX && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    match own {
        Some(id) => id.clone(),
        None => {
            let mut made = *b"req_0000000000000000";
            let random = clock::seed();
            for (place, letter) in made.iter_mut().skip(4).enumerate() {
                let digit = (random >> (4 * place)) & 0xf;
                *letter = b"0123456789abcdef".get(digit as usize).copied().unwrap_or(b'0');
            }
            HeaderValue::from_bytes(&made).unwrap_or_else(|_| HeaderValue::from_static("req_"))
        }
    }
}

/// What every answer goes through: it gets its request's id, is measured, and told of where it is a failure.
pub(crate) fn finish<B>(
    metrics: &Metrics,
    method: &'static str,
    route: &RouteMetrics,
    (id, visit): (HeaderValue, Option<Visit>),
    watch: Stopwatch,
    response: &mut Response<B>,
) {
    response.headers_mut().insert(REQUEST_ID, id);
    let status = response.status();
    let took = watch.elapsed();
    metrics.answered(method, route, status.as_u16(), took);
    access::tell(
        visit.as_ref(),
        &access::Outcome {
            method,
            route: route.name(),
            status: status.as_u16(),
            took,
            request_id: response.headers().get(REQUEST_ID),
        },
    );
    if status.is_server_error() {
        let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let reason = response.extensions().get::<Reason>().map(|reason| reason.0.as_str());
        let (status, route) = (status.as_u16(), route.name());
        if status == 500 {
            tracing::error!(method, route, status, request_id = id, reason, "a request failed");
        } else {
            tracing::warn!(method, route, status, request_id = id, reason, "a request failed");
        }
    }
}
