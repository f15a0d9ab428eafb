//! An answer to a request, ready to send and ready to keep.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use signalbox_core::decision::IdempotencyRecord;
use signalbox_wire::json;
use signalbox_wire::problem::Problem;

/// A status and a JSON body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    is_repeated: bool,
    stand_in: Option<Box<Self>>,
}

/// What is kept in place of an answer that must not be.
#[derive(Debug, Clone)]
pub(crate) struct StandIn(pub(crate) Reply);

impl Reply {
    /// `body` as JSON under `status`.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match json::to_string(body) {
            Ok(body) => Self::new(status, body.into()),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new())
            }
        }
    }

    fn new(status: StatusCode, body: Bytes) -> Self {
        Self { status, body, is_repeated: false, stand_in: None }
    }

    /// The answer shows a secret: where an `Idempotency-Key` would have it kept, `problem` is kept in its place
    /// and is what a repeat of the request gets.
    pub(crate) fn shown_once(self, problem: &Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::CONFLICT);
        Self { stand_in: Some(Box::new(Self::json(status, problem))), ..self }
    }

    /// What is kept of it under an `Idempotency-Key`.
    pub(crate) fn to_keep(&self) -> &Self {
        self.stand_in.as_deref().unwrap_or(self)
    }

    /// 200 with `body`.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// 200 with a body that is JSON already.
    pub(crate) fn written(body: String) -> Self {
        Self::new(StatusCode::OK, body.into())
    }

    /// 202 with a body that never changes.
    pub(crate) fn accepted(body: &'static str) -> Self {
        Self::new(StatusCode::ACCEPTED, Bytes::from_static(body.as_bytes()))
    }

    /// The answer that was given before.
    pub(crate) fn kept(kept: &IdempotencyRecord) -> Self {
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        Self { is_repeated: true, ..Self::new(status, Bytes::from(kept.body.clone().into_bytes())) }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        self.into_parts_and(Body::from)
    }
}

impl Reply {
    /// The answer as a response whose body `wrap` makes of its bytes.
    pub(crate) fn into_parts_and<B>(self, wrap: impl FnOnce(Bytes) -> B) -> Response<B> {
        let is_problem = self.status.is_client_error() || self.status.is_server_error();
        let mut response = Response::new(wrap(self.body));
        *response.status_mut() = self.status;
        let media = if is_problem { signalbox_wire::problem::CONTENT_TYPE } else { "application/json" };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if self.is_repeated {
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        if let Some(stand_in) = self.stand_in {
            response.extensions_mut().insert(StandIn(*stand_in));
        }
        response
    }
}
