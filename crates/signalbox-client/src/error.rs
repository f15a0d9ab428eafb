//! What can go wrong with a call: [`Error`], which carries the server's [`Problem`] where it answered one.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use signalbox_wire::fault::Fault;
use signalbox_wire::problem_kind::{ProblemKind, ProblemType};
use signalbox_wire::time::Timestamp;

use crate::retry_after;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client was given something it cannot work with; nothing was sent.
    #[error("{what} cannot be used: {reason}")]
    Unusable {
        /// The thing that is at fault.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server could not be reached, or the connection broke before an answer came.
    #[error("{url} could not be reached: {reason}; check the address and that the server runs")]
    Unreachable {
        /// Where the call went.
        url: String,
        /// Why, in words.
        reason: String,
        /// Whether no connection was made at all, so that the server cannot have seen the request.
        unsent: bool,
    },
    /// No whole answer came in time.
    #[error("{url} did not answer within {} s", after.as_secs_f64())]
    Timeout {
        /// Where the call went.
        url: String,
        /// How long the client waited.
        after: Duration,
    },
    /// The server answered with an error status.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not what this call is answered with.
    #[error("{url} answered something this client cannot read: {reason}")]
    Unreadable {
        /// Where the call went.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// This machine refused something, such as a port to listen on.
    #[error("{what}: {source}")]
    Local {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// An error answer: `application/problem+json`, or as much of one as the body gives.
#[derive(Debug, Clone, Default)]
pub struct Problem {
    /// The HTTP status code.
    pub status: u16,
    /// The kind of problem: one that this client knows, or the text of another.
    pub kind: ProblemType,
    /// The kind of problem, in a few words.
    pub title: String,
    /// What is wrong and what to do.
    pub detail: String,
    /// Every fault of a rejected body.
    pub errors: Vec<Fault>,
    /// How long the server asks to wait before the next try.
    pub retry_after: Option<Duration>,
    /// The answer's `x-request-id`, to be named when asking an operator.
    pub request_id: Option<String>,
    /// The body as it came.
    pub body: Bytes,
}

impl Error {
    /// The HTTP status of the answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// The kind of the server's problem, where it answered one that this client knows.
    #[must_use]
    pub fn kind(&self) -> Option<ProblemKind> {
        match self {
            Self::Problem(problem) => problem.kind.known(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later, without a change to it. A conflict may when the server says
    /// when to come again, as it does while the first call under an idempotency key is not answered yet.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Problem(problem) => {
                matches!(problem.status, 408 | 429 | 502 | 503 | 504)
                    || (problem.status == 409 && problem.retry_after.is_some())
            }
            Self::Unusable { .. } | Self::Unreadable { .. } | Self::Local { .. } => false,
        }
    }

    pub(crate) fn unusable(what: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Unusable { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn unreadable(url: &str, reason: impl fmt::Display) -> Self {
        Self::Unreadable { url: url.to_owned(), reason: reason.to_string() }
    }
}

impl Problem {
    /// Reads an error answer; a body that is not problem+json still gives its text as the detail.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Body {
            #[serde(rename = "type")]
            kind: ProblemType,
            title: Option<String>,
            detail: Option<String>,
            errors: Vec<Fault>,
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let parsed: Body = serde_json::from_slice(body).unwrap_or_default();
        let reason = || status.canonical_reason().unwrap_or("Unknown status").to_owned();
        Self {
            status: status.as_u16(),
            kind: parsed.kind,
            title: parsed.title.unwrap_or_else(reason),
            detail: parsed.detail.unwrap_or_else(|| excerpt(body)),
            errors: parsed.errors,
            retry_after: text(header::RETRY_AFTER.as_str()).and_then(|value| retry_after::parse(value, now)),
            request_id: text("x-request-id").map(str::to_owned),
            body: Bytes::copy_from_slice(body),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The detail repeats the first of them.
        if !self.errors.is_empty() {
            let faults: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
            return write!(f, "{}: {}", self.status, faults.join("; "));
        }
        write!(f, "{} {}", self.status, self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// An error and its causes in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A proxy's HTML page is of no use in one line of an error; its beginning is.
fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_every_fault_and_the_wait() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        headers.insert("x-request-id", "req_1".parse().unwrap());
        let body =
            br#"{"type":"/problems/invalid","title":"Invalid body","status":422,"detail":"Mend the body.",
            "errors":[{"pointer":"/a","message":"is missing"},{"pointer":"/b","message":"is no text"}]}"#;
        let problem = Problem::read(StatusCode::UNPROCESSABLE_ENTITY, &headers, body, Timestamp::default());
        assert_eq!(problem.errors.len(), 2);
        assert_eq!(problem.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(problem.request_id.as_deref(), Some("req_1"));
        assert_eq!(problem.to_string(), "422: /a is missing; /b is no text");
        assert_eq!(Error::Problem(Box::new(problem)).kind(), Some(ProblemKind::Invalid));
    }

    #[test]
    fn an_answer_that_is_no_problem_document_still_says_something() {
        let page = b"<html>\n  bad   gateway</html>";
        let problem = Problem::read(StatusCode::BAD_GATEWAY, &HeaderMap::new(), page, Timestamp::default());
        assert_eq!(problem.to_string(), "502 Bad Gateway: <html> bad gateway</html>");
        assert_eq!(problem.kind, ProblemType::default());
        let oddly = br#"{"detail": 5}"#;
        let problem = Problem::read(StatusCode::IM_A_TEAPOT, &HeaderMap::new(), oddly, Timestamp::default());
        assert_eq!(problem.detail, r#"{"detail": 5}"#);
    }

    #[test]
    fn a_kind_that_this_client_does_not_know_stays_text() {
        let body = br#"{"type":"/problems/of-tomorrow","title":"Of tomorrow"}"#;
        let problem = Problem::read(StatusCode::CONFLICT, &HeaderMap::new(), body, Timestamp::default());
        assert_eq!(problem.kind.name(), "of-tomorrow");
        assert_eq!(Error::Problem(Box::new(problem)).kind(), None);
    }

    #[test]
    fn only_what_time_may_cure_is_transient() {
        let cures = |status, retry_after| {
            Error::Problem(Box::new(Problem { status, retry_after, ..Problem::default() })).is_transient()
        };
        for (status, expected) in
            [(400, false), (404, false), (409, false), (429, true), (500, false), (503, true)]
        {
            assert_eq!(cures(status, None), expected, "{status}");
        }
        assert!(cures(409, Some(Duration::from_secs(1))));
        assert!(!cures(404, Some(Duration::from_secs(1))));
    }
}
