//! An answer to a request, ready to send and ready to keep.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use signalbox_core::decision::Answered;

/// A status and a JSON body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    is_repeated: bool,
}

impl Answer {
    /// `body` as JSON under `status`.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self { status, body: body.into(), is_repeated: false },
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Self { status: StatusCode::INTERNAL_SERVER_ERROR, body: Bytes::new(), is_repeated: false }
            }
        }
    }

    /// 200 with `body`.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 202 with a body that never changes.
    pub(crate) fn accepted(body: &'static str) -> Self {
        Self { status: StatusCode::ACCEPTED, body: Bytes::from_static(body.as_bytes()), is_repeated: false }
    }

    /// The answer that was given before.
    pub(crate) fn kept(kept: &Answered) -> Self {
        Self {
            status: StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK),
            body: Bytes::from(kept.body.clone().into_bytes()),
            is_repeated: true,
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let is_problem = self.status.is_client_error() || self.status.is_server_error();
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let media = if is_problem { signalbox_wire::problem::CONTENT_TYPE } else { "application/json" };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if self.is_repeated {
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}
