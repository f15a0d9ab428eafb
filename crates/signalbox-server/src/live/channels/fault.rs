//! What is wrong with a frame, as the `error` frame tells it.

use signalbox_bus::{BadSubject, BusError};
use signalbox_core::Rejected;
use signalbox_store::StoreError;
use signalbox_wire::body::BodyError;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::engine::DriveError;
use crate::http::problem::Refusal;

/// Why something that an agent sent was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveFault {
    /// The kind of problem, by the name that it has in answers over HTTP.
    pub(crate) code: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
    /// Where in `data`, where it is at one place.
    pub(crate) pointer: Option<String>,
    /// Seconds after which to send it again, where that is of use.
    pub(crate) retry_after: Option<u32>,
}

impl LiveFault {
    /// A fault of this kind.
    pub(crate) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self { code: kind.name().to_owned(), message: message.into(), pointer: None, retry_after: None }
    }

    /// A field of `data` that does not fit.
    pub(crate) fn invalid(pointer: &str, message: impl std::fmt::Display) -> Self {
        let told = format!("{pointer} {message}");
        Self { pointer: Some(pointer.to_owned()), ..Self::new(ProblemKind::Invalid, told) }
    }
}

impl From<Problem> for LiveFault {
    fn from(problem: Problem) -> Self {
        let first = problem.errors.first();
        let message = match first {
            Some(fault) => fault.to_string(),
            None => problem.detail.clone(),
        };
        let pointer = first.map(|fault| fault.pointer.clone());
        Self { code: problem.kind.name().to_owned(), message, pointer, retry_after: problem.retry_after_s }
    }
}

impl From<BusError> for LiveFault {
    fn from(error: BusError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Refusal> for LiveFault {
    fn from(refusal: Refusal) -> Self {
        refusal.0.into()
    }
}

impl From<DriveError> for LiveFault {
    fn from(error: DriveError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<StoreError> for LiveFault {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Rejected> for LiveFault {
    fn from(rejected: Rejected) -> Self {
        Refusal::from(rejected).into()
    }
}

impl From<BodyError> for LiveFault {
    fn from(error: BodyError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<BadSubject> for LiveFault {
    fn from(error: BadSubject) -> Self {
        Self::invalid("/subject", error)
    }
}
