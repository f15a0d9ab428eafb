//! Where agents connect: the WebSocket, and the inbox for places where WebSockets are blocked.

pub(super) mod connect;
pub(super) mod inbox;

use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::transport::outbox::CloseReason;

/// Seconds after which to try again what cannot be done now.
const RETRY_AFTER_S: u32 = 5;

/// Why a connection ended, or did not come about, as an answer over HTTP.
fn problem_of(reason: CloseReason) -> Problem {
    let text = reason.text();
    match reason {
        CloseReason::TakenOver | CloseReason::Replaced => {
            Problem::new(ProblemKind::ConnectionTakenOver, text)
        }
        CloseReason::Unauthorized => Problem::unauthorized(text),
        CloseReason::Forbidden => Problem::forbidden(text),
        CloseReason::Removed => Problem::new(ProblemKind::UnknownAgent, text),
        _ => Problem::new(ProblemKind::ConnectionsFull, text).retry_after(RETRY_AFTER_S),
    }
}
