//! An answer, and what must hold of every answer of its kind.

use serde_json::Value;

use super::http;

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A refusal, in the one shape that refusals have.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: String,
    pub(crate) detail: String,
    pub(crate) pointers: Vec<String>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        http::header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.shown());
        self.json()
    }

    /// The body of a 2xx; null where it has none.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}", self.shown());
        self.json()
    }

    #[track_caller]
    fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.shown()))
    }

    /// A refusal with this status and everything that every refusal must have.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Problem {
        assert_eq!(self.status, status, "{}", self.shown());
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/problem+json"), "{content_type:?}: {}", self.shown());
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{}", self.shown());
        let body = self.json();
        assert_eq!(body["status"], status, "{}", self.shown());
        for name in ["type", "title", "detail"] {
            assert!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", self.shown());
        }
        if status == 503 {
            assert!(self.header("retry-after").is_some(), "503 says when to try again: {}", self.shown());
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Problem { kind: text("type"), detail: text("detail"), pointers: self.pointers(&body) }
    }

    /// Faults of a body, sorted; each has a place and a message.
    #[track_caller]
    fn pointers(&self, body: &Value) -> Vec<String> {
        let mut pointers = Vec::new();
        for fault in body["errors"].as_array().into_iter().flatten() {
            let pointer = fault["pointer"].as_str();
            assert!(fault["message"].as_str().is_some_and(|text| !text.is_empty()), "{}", self.shown());
            pointers.push(pointer.unwrap_or_else(|| panic!("no pointer: {}", self.shown())).to_owned());
        }
        pointers.sort();
        pointers
    }

    /// A 404 of a thing, which is not that of a route.
    #[track_caller]
    pub(crate) fn absent(&self) -> Problem {
        let problem = self.problem(404);
        assert!(!problem.kind.ends_with("/unknown-route"), "{}", self.shown());
        problem
    }

    /// The pointers of a 422.
    #[track_caller]
    pub(crate) fn faults(&self) -> Vec<String> {
        self.problem(422).pointers
    }

    pub(crate) fn shown(&self) -> String {
        let body: String = self.text().chars().take(2_000).collect();
        format!("{} was answered {} {body}", self.request, self.status)
    }
}
