//! The one shape of an error on every surface: `application/problem+json` (RFC 9457).
//!
//! A [`Problem`] names its kind (`/problems/<kind>`), the status, and in one sentence what is wrong and what
//! to do. A rejected body carries all of its [`Fault`]s. The server turns `retry_after_s` into a header; it is
//! never part of the body. Nothing here may hold what a client must not see.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::BodyError;
pub use crate::fault::Fault;
use crate::problem_kind::{ProblemKind, ProblemType};

/// The media type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An error as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem this is: a slug, written as `/problems/<kind>`.
    #[serde(rename = "type", default)]
    #[schema(required, value_type = String, example = "/problems/unknown-agent")]
    pub kind: ProblemType,
    /// The kind in words; the same for every problem of the kind.
    #[serde(default)]
    #[schema(required, example = "Unknown agent")]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    #[schema(required, example = 404)]
    pub status: u16,
    /// One sentence: what is wrong, and what to do about it.
    #[serde(default)]
    #[schema(required, example = "Agent not found: agt_1")]
    pub detail: String,
    /// Every fault of a rejected body; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Seconds after which to try again, for the `Retry-After` header.
    #[serde(skip)]
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of this kind, under the kind's status; the constructors below say their kind by themselves.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            title: kind.title(),
            status: kind.status(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    /// 401: no credentials, or bad ones.
    #[must_use]
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Unauthorized, detail)
    }

    /// 403: good credentials that do not allow this.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Forbidden, detail)
    }

    /// 413: the body is over the limit.
    #[must_use]
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::TooLarge, detail)
    }

    /// 415: the body is of a type that is not taken here.
    #[must_use]
    pub fn unsupported_media(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::UnsupportedMediaType, detail)
    }

    /// 422: the request does not fit its schema; `detail` tells the first fault and how many there are.
    #[must_use]
    pub fn invalid(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [] => "The request does not fit its schema.".to_owned(),
            [only] => format!("The request does not fit its schema: {only}."),
            [first, rest @ ..] => {
                format!("The request does not fit its schema: {first}; {} more in errors.", rest.len())
            }
        };
        Self { errors: faults, ..Self::new(ProblemKind::Invalid, detail) }
    }

    /// 500: takes no detail, so that none can leak.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            ProblemKind::Internal,
            "The server failed; its log has the reason under this answer's x-request-id.",
        )
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.kind, self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::NotJson { detail } => Self::new(ProblemKind::NotJson, detail),
            BodyError::Invalid(faults) => Self::invalid(faults),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::new(ProblemKind::UnknownAgent, "Agent not found: x").retry_after(3);
        let written = serde_json::to_value(&problem).unwrap();
        let expected = json!({"type": "/problems/unknown-agent", "title": "Unknown agent", "status": 404,
            "detail": "Agent not found: x"});
        assert_eq!(written, expected);
        let read: Problem = serde_json::from_value(written).unwrap();
        assert_eq!(Problem { retry_after_s: Some(3), ..read }, problem);
    }

    #[test]
    fn the_detail_of_a_rejected_body_names_the_first_fault_and_the_count() {
        let fault = |pointer: &str| Fault { pointer: pointer.to_owned(), message: "is required".to_owned() };
        let problem = Problem::invalid(vec![fault("/a"), fault("/b")]);
        assert_eq!(problem.detail, "The request does not fit its schema: /a is required; 1 more in errors.");
        let written = serde_json::to_value(&problem).unwrap();
        assert_eq!(written["errors"][1], json!({"pointer": "/b", "message": "is required"}));
    }

    #[test]
    fn a_stranger_s_problem_can_be_read() {
        let read: Problem = serde_json::from_str(r#"{"title":"No"}"#).unwrap();
        assert_eq!((read.kind.name(), read.title.as_str(), read.status), ("unnamed", "No", 0));
    }

    #[test]
    fn a_body_that_is_not_json_is_400_and_one_that_does_not_fit_422() {
        assert_eq!(Problem::from(BodyError::NotJson { detail: String::new() }).status, 400);
        assert_eq!(Problem::from(BodyError::Invalid(Vec::new())).status, 422);
    }
}
