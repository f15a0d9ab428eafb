//! [`Answer`]: what came of a call, as Python reads it. An error is a part of it, so that Python raises its own.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use signalbox_client::{Error, Problem};

/// What came of a call.
#[pyclass(frozen, module = "agentkit._native")]
#[derive(Debug, Default)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    error: Option<Fault>,
}

/// Why a call did not succeed.
#[pyclass(frozen, module = "agentkit._native")]
#[derive(Debug, Default, Clone)]
pub(crate) struct Fault {
    kind: &'static str,
    message: String,
    status: Option<u16>,
    request_id: Option<String>,
    retry_after: Option<f64>,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    /// Nothing more to tell.
    pub(crate) fn end() -> Self {
        Self { status: 204, ..Self::default() }
    }

    pub(crate) fn unusable(message: impl Into<String>) -> Self {
        Self::fault("unusable", message.into())
    }

    /// The call came to no end of its own.
    pub(crate) fn lost(message: impl Into<String>) -> Self {
        Self::fault("lost", message.into())
    }

    fn fault(kind: &'static str, message: String) -> Self {
        Self { error: Some(Fault { kind, message, ..Fault::default() }), ..Self::default() }
    }
}

impl From<Result<signalbox_client::Answer, Error>> for Answer {
    fn from(outcome: Result<signalbox_client::Answer, Error>) -> Self {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => return error.into(),
        };
        let headers = answer.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Self { status: answer.status, headers: headers.collect(), body: answer.body.to_vec(), error: None }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let fault = |kind| Fault { kind, message: message.clone(), ..Fault::default() };
        match error {
            Error::Problem(problem) => (*problem, message).into(),
            Error::Unusable { .. } => Self { error: Some(fault("unusable")), ..Self::default() },
            Error::Unreachable { .. } => Self { error: Some(fault("unreachable")), ..Self::default() },
            Error::Timeout { .. } => Self { error: Some(fault("timeout")), ..Self::default() },
            Error::Unreadable { .. } => Self { error: Some(fault("unreadable")), ..Self::default() },
            _ => Self { error: Some(fault("local")), ..Self::default() },
        }
    }
}

impl From<(Problem, String)> for Answer {
    fn from((problem, message): (Problem, String)) -> Self {
        let fault = Fault {
            kind: "problem",
            message,
            status: Some(problem.status),
            request_id: problem.request_id,
            retry_after: problem.retry_after.map(|wait| wait.as_secs_f64()),
        };
        Self { status: problem.status, headers: Vec::new(), body: problem.body.to_vec(), error: Some(fault) }
    }
}

#[pymethods]
impl Answer {
    #[getter]
    fn status(&self) -> u16 {
        self.status
    }

    #[getter]
    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.body)
    }

    #[getter]
    fn error(&self) -> Option<Fault> {
        self.error.clone()
    }
}

#[pymethods]
impl Fault {
    #[getter]
    fn kind(&self) -> &'static str {
        self.kind
    }

    #[getter]
    fn message(&self) -> &str {
        &self.message
    }

    #[getter]
    fn status(&self) -> Option<u16> {
        self.status
    }

    #[getter]
    fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    #[getter]
    fn retry_after(&self) -> Option<f64> {
        self.retry_after
    }
}
