//! Where every error becomes an answer: one place for each mapping from what went wrong to a kind of problem.
//!
//! `From<Rejected>` covers what the engine refuses, `From<StoreError>` what the database cannot do. An unknown
//! thing is 404 only where its absence is proven; a store that cannot answer is 503 with `Retry-After`.

use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use signalbox_bus::BusError;
use signalbox_core::Rejected;
use signalbox_store::StoreError;
use signalbox_wire::body::BodyError;
use signalbox_wire::fault::Fault;
use signalbox_wire::problem::{self, Problem};
use signalbox_wire::problem_kind::ProblemKind;

use crate::auth::AuthError;
use crate::quota::QuotaError;

/// A [`Problem`] on its way out of a handler, with what is behind it and no client's business.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Problem, Option<Box<Reason>>);

/// Why a request failed: for the log, where the edge writes it beside the request's id.
#[derive(Debug, Clone)]
pub(crate) struct Reason(pub(crate) String);

/// Seconds after which to try a store again.
const STORE_RETRY_AFTER_S: u32 = 2;
/// Seconds after which to come again where too many wait for their turn.
const TURN_RETRY_AFTER_S: u32 = 5;

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem, None)
    }
}

impl Refusal {
    /// What kind of problem it is; `None` only of one that was read from elsewhere.
    pub(crate) fn kind(&self) -> Option<ProblemKind> {
        self.0.kind.known()
    }

    /// 500, for a reason that only the log is told.
    pub(crate) fn failed(reason: impl Display) -> Self {
        Self(Problem::internal(), Some(Box::new(Reason(reason.to_string()))))
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Problem::from(error).into()
    }
}

impl From<Vec<Fault>> for Refusal {
    fn from(faults: Vec<Fault>) -> Self {
        Problem::invalid(faults).into()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let reason = Box::new(Reason(error.to_string()));
        let problem = match &error {
            StoreError::Conflict => Problem::new(
                ProblemKind::Contended,
                "Too many requests change the same thing at once; try again in a moment.",
            ),
            StoreError::Unavailable(_) => Problem::new(
                ProblemKind::StoreUnavailable,
                "The store cannot answer now, and whether it took a change is not known; try again later, a POST under \
                 the same Idempotency-Key.",
            ),
            StoreError::Busy(_) => Problem::new(
                ProblemKind::StoreBusy,
                "Too much is waiting to be written; nothing was changed, try again later.",
            ),
            StoreError::Removed => {
                let problem = Problem::new(
                    ProblemKind::TenantRemoved,
                    "The tenant has been removed; the platform key makes one anew with POST /api/v1/tenants.",
                );
                return Self(problem, Some(reason));
            }
            StoreError::Corrupt(_) | StoreError::Open(_) => return Self(Problem::internal(), Some(reason)),
        };
        Self(problem.retry_after(STORE_RETRY_AFTER_S), Some(reason))
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        let reason = Box::new(Reason(error.to_string()));
        let detail =
            "The servers cannot tell each other anything now, and nothing of this is kept; repeat it later.";
        Self(Problem::new(ProblemKind::BusUnavailable, detail).retry_after(1), Some(reason))
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Denied(problem) | AuthError::Over(problem) => problem.into(),
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<QuotaError> for Refusal {
    fn from(error: QuotaError) -> Self {
        match error {
            QuotaError::Over(problem) => problem.into(),
            QuotaError::Store(error) => error.into(),
        }
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        let detail = match next_step(&rejected) {
            Some(next) => format!("{rejected}; {next}"),
            None => rejected.to_string(),
        };
        let kind = kind_of(&rejected);
        match rejected {
            Rejected::UnfitInput(faults) => {
                let faults = faults.into_iter().map(|(pointer, message)| Fault::new(pointer, message));
                Problem::invalid(faults.collect()).into()
            }
            Rejected::InvalidTransition(_) => Self::failed(detail),
            Rejected::SignalsFull(_) | Rejected::ConcurrencyQueueFull { .. } => {
                Problem::new(kind, detail).retry_after(TURN_RETRY_AFTER_S).into()
            }
            _ => Problem::new(kind, detail).into(),
        }
    }
}

/// What kind of problem it is that the engine refuses this.
fn kind_of(rejected: &Rejected) -> ProblemKind {
    match rejected {
        Rejected::UnknownAgent(_) => ProblemKind::UnknownAgent,
        Rejected::UnknownChannel(_) => ProblemKind::UnknownChannel,
        Rejected::ChannelTaken(_) => ProblemKind::ChannelTaken,
        Rejected::UnknownWorkflow(_) => ProblemKind::UnknownWorkflow,
        Rejected::UnknownRevision { .. } => ProblemKind::UnknownRevision,
        Rejected::RevisionInUse { .. } => ProblemKind::RevisionInUse,
        Rejected::CurrentRevision { .. } => ProblemKind::CurrentRevision,
        Rejected::UnknownSession(_) => ProblemKind::UnknownSession,
        Rejected::UnknownMessage(_) => ProblemKind::UnknownMessage,
        Rejected::UnknownDeadLetter(_) => ProblemKind::UnknownDeadLetter,
        Rejected::DeadLetterOfTask(_) => ProblemKind::DeadLetterOfTask,
        Rejected::UnknownHook(_) => ProblemKind::UnknownHook,
        Rejected::UnknownCommand(_) => ProblemKind::UnknownCommand,
        Rejected::CommandOver { .. } => ProblemKind::CommandOver,
        Rejected::UnknownSchedule(_) => ProblemKind::UnknownSchedule,
        Rejected::UnknownTool(_) => ProblemKind::UnknownTool,
        Rejected::UnknownKey(_) => ProblemKind::UnknownKey,
        Rejected::UnknownTenant(_) => ProblemKind::UnknownTenant,
        Rejected::KeyExpired { .. } => ProblemKind::KeyExpired,
        Rejected::UnknownSshKey(_) => ProblemKind::UnknownSshKey,
        Rejected::SshKeyTaken { .. } => ProblemKind::SshKeyTaken,
        Rejected::NameTaken(_) => ProblemKind::NameTaken,
        Rejected::IdTaken(_) => ProblemKind::IdTaken,
        Rejected::MessageIdTaken(_) => ProblemKind::MessageIdTaken,
        Rejected::MessageIdReused(_) => ProblemKind::MessageIdReused,
        Rejected::ToolTaken(_) => ProblemKind::ToolTaken,
        Rejected::WorkflowInUse(_) => ProblemKind::WorkflowInUse,
        Rejected::WrongStatus { .. } => ProblemKind::WrongStatus,
        Rejected::NothingWaits { .. } => ProblemKind::NothingWaits,
        Rejected::NothingToApprove { .. } => ProblemKind::NothingToApprove,
        Rejected::ApprovalChanged { .. } => ProblemKind::ApprovalChanged,
        Rejected::SignalsFull(_) => ProblemKind::SignalsFull,
        Rejected::ConcurrencyFull { .. } => ProblemKind::WorkflowBusy,
        Rejected::ConcurrencyQueueFull { .. } => ProblemKind::WorkflowQueueFull,
        Rejected::ConcurrencyKey { .. } => ProblemKind::NoConcurrencyKey,
        Rejected::TooDeep(_) => ProblemKind::TooDeep,
        Rejected::Undone(_) => ProblemKind::SessionUndone,
        Rejected::AgentBusy(_) => ProblemKind::AgentBusy,
        Rejected::HookTaken(_) => ProblemKind::HookTaken,
        Rejected::BackfillFull { .. } => ProblemKind::BackfillFull,
        Rejected::BackfillTooLong { .. } => ProblemKind::BackfillTooLong,
        Rejected::BadRhythm { .. } => ProblemKind::BadRhythm,
        Rejected::Unreachable(_) => ProblemKind::UnreachableAgent,
        Rejected::Replayed | Rejected::NotBelieved | Rejected::SshKeyEnded(_) => ProblemKind::Unauthorized,
        Rejected::KeyReused => ProblemKind::IdempotencyKeyReused,
        Rejected::UnfitInput(_) => ProblemKind::Invalid,
        Rejected::InvalidTransition(_) => ProblemKind::Internal,
    }
}

/// What to do about something that is not there.
fn next_step(rejected: &Rejected) -> Option<&'static str> {
    Some(match rejected {
        Rejected::UnknownAgent(_) => {
            "GET /v1/agents lists the agents with their ids; POST /v1/agents registers one under an id of yours (agentId)"
        }
        Rejected::UnknownWorkflow(_) => "GET /v1/opscore/workflows lists those that are kept",
        Rejected::UnknownRevision { .. } => {
            "GET /v1/opscore/workflows/{id}/versions lists those that are kept"
        }
        Rejected::UnknownSession(_) => {
            "GET /v1/opscore/sessions lists the sessions; those that are over are removed when their time to be kept ends"
        }
        Rejected::UnknownMessage(_) => {
            "what was delivered is forgotten after a while, and GET /v1/dead-letters lists what was given up"
        }
        Rejected::UnknownDeadLetter(_) => {
            "GET /v1/dead-letters lists those that there are, and GET /v1/messages/{id} tells where a message is"
        }
        Rejected::UnknownTool(_) => "GET /v1/tools lists the tools, and POST /v1/tools registers one",
        Rejected::UnknownChannel(_) => {
            "GET /api/v1/channels lists the channels, and POST /api/v1/channels makes one"
        }
        Rejected::UnknownSchedule(_) => "GET /v1/opscore/schedules lists the schedules",
        Rejected::UnknownHook(_) => "GET /v1/opscore/hooks lists the hooks",
        Rejected::UnknownCommand(_) => {
            "GET /api/v1/agents/{agent_id}/commands lists an agent's commands; those that are over are removed after a while"
        }
        Rejected::UnknownKey(_) => "GET /v1/keys lists the keys with their ids",
        Rejected::UnknownTenant(_) => "GET /api/v1/tenants lists them",
        Rejected::UnknownSshKey(_) => "GET /api/v1/ssh-keys lists the keys with their ids",
        _ => return None,
    })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"signalbox\""));
        }
        if let Some(reason) = self.1 {
            response.extensions_mut().insert(*reason);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_cannot_do_is_503_with_a_time_and_never_404() {
        for error in [StoreError::Conflict, StoreError::Unavailable("disk".into()), StoreError::Busy(3)] {
            let response = Refusal::from(error).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key(header::RETRY_AFTER));
        }
        for error in [StoreError::Corrupt("secret".into()), StoreError::Open("secret".into())] {
            let refusal = Refusal::from(error);
            assert_eq!(refusal.0.status, 500);
            assert!(!refusal.0.detail.contains("secret"));
            let response = refusal.into_response();
            let reason = response.extensions().get::<Reason>().expect("for the log");
            assert!(reason.0.contains("secret"), "{reason:?}");
        }
    }

    #[test]
    fn a_401_says_how_to_authenticate() {
        let response = Refusal::from(Problem::unauthorized("no key")).into_response();
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
