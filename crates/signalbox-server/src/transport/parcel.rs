//! What is carried, what came of it, and what every way has in common.

use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use signalbox_core::delivery::{Message, Outcome};
use signalbox_core::engine::DeliveredReport;
use signalbox_wire::id::TenantId;

use crate::egress::{Egress, EgressError, OnBehalfOf, Room, USER_AGENT};

const MESSAGE_ID: HeaderName = HeaderName::from_static("x-message-id");
const ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");
/// About how many headers a request gets.
const HEADERS: usize = 8;

/// What is to be carried.
pub(crate) struct Parcel<'a> {
    /// Whose it is: look-ups of names are shared out by tenant.
    pub(crate) tenant: &'a TenantId,
    /// The message.
    pub(crate) message: &'a Message,
    /// What is sent of it, payloads included.
    pub(crate) body: Bytes,
    /// Its share of the bytes under way.
    pub(crate) room: Room,
    /// Which try this is, from 1.
    pub(crate) attempt: u32,
}

/// What came of carrying it.
pub(crate) struct Carried {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// What an agent answered of the task that it was given.
    pub(crate) report: Option<DeliveredReport>,
}

/// A way out over HTTP.
#[derive(Clone)]
pub(super) struct Way {
    /// By which policy.
    pub(super) egress: Egress,
    /// How long a destination may take to answer.
    pub(super) timeout: Duration,
}

impl Parcel<'_> {
    /// The request that carries it to `url`, without its body.
    pub(super) fn request(&self, url: &str) -> Builder {
        let mut request = Request::post(url);
        if let Some(extensions) = request.extensions_mut() {
            extensions.insert(self.room.clone());
            extensions.insert(OnBehalfOf(self.tenant.clone()));
        }
        // In place: the builder moves all that it has with each header that it is given.
        if let Some(headers) = request.headers_mut() {
            headers.reserve(HEADERS);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
            headers.insert(ATTEMPT, self.attempt.into());
        }
        request = request.header(MESSAGE_ID, self.message.id.as_str());
        if let Some(trace) = &self.message.trace {
            request = request.header("traceparent", trace);
        }
        request
    }
}

impl Way {
    /// Sends a request whose answer is nothing but a status.
    pub(super) async fn post(&self, request: Builder, body: Bytes) -> Carried {
        let Ok(request) = request.body(Full::new(body)) else { return Carried::unwritable() };
        match self.egress.status_of(request, self.timeout).await {
            Ok((status, headers)) => Carried::answered(status, &headers),
            Err(error) => Carried::unanswered(&error),
        }
    }
}

impl Carried {
    pub(super) fn answered(status: StatusCode, headers: &HeaderMap) -> Self {
        Self { outcome: Outcome::of_status(status.as_u16(), retry_after(headers)), report: None }
    }

    pub(super) fn unanswered(error: &EgressError) -> Self {
        let may_retry = !matches!(error, EgressError::Forbidden(_));
        Self { outcome: Outcome::failed(error.to_string(), may_retry), report: None }
    }

    pub(super) fn unwritable() -> Self {
        let error = "the message's address or id cannot be written as HTTP".to_owned();
        Self { outcome: Outcome::failed(error, false), report: None }
    }
}

/// `Retry-After` in seconds; its date form is left to the backoff.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
