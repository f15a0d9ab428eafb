//! Too many tries are told so.

use signalbox_wire::id::AgentId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::clock;
use crate::http::peer::Peer;
use crate::http::problem::Refusal;
use crate::surface::state::SignInTerms;

/// Counts a try of an agent, and refuses it where there were too many.
pub(super) fn count(terms: &SignInTerms, agent: &AgentId, Peer(address): Peer) -> Result<(), Refusal> {
    let Err(wait) = terms.tries.count(agent.as_str(), address, clock::now()) else { return Ok(()) };
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    let detail = format!(
        "Too many tries to sign in came for this agent from this address, or from this address; try again in {seconds} s."
    );
    Err(Problem::new(ProblemKind::TooManyTries, detail).retry_after(seconds).into())
}
