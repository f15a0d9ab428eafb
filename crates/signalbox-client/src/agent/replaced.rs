//! Another process in an agent's place: how an agent that listens gets to know of it, and what is said of it.
//!
//! A connection is closed by the server with 4001. Nothing tells an agent that listens: it is sent nothing any more, and its
//! reports are taken and change nothing. So it looks now and then whether its registration is still the newest.

use std::time::Duration;

use signalbox_wire::problem_kind::ProblemKind;
use tokio::time::sleep;

use super::connection::{Acting, Backoff, Fault};
use super::happening::{Happening, Observer};
use crate::edge;
use crate::error::Error;

/// What happened, and what to do.
pub(super) const REPLACED: &str = "another process has registered or connected under the same name and has taken its place; run \
    one process for each name: where two are to share the work, give each a name of its own and both the same capability";
/// The same of an agent that is not registered any more.
const REMOVED: &str = "the agent was removed from the server; start it again to register it";

/// Waits until the agent was registered after this generation of it, or removed, and answers why the agent is over. That the
/// server cannot be asked is no sign of it, and is told once, as is that it can be asked again; nor is what an operator changes
/// of the agent. A server that tells no generations is asked for the removal alone.
pub(super) async fn replaced(
    acting: &Acting,
    agent_id: &str,
    generation: Option<u64>,
    every: Duration,
    observer: &Observer,
) -> &'static str {
    let mut backoff = Backoff::default();
    // Up to a quarter more, so that agents that were started together do not ask together.
    let usual = || every + every.mul_f64(edge::fraction() / 4.0);
    let (mut wait, mut is_away) = (usual(), false);
    loop {
        sleep(wait).await;
        wait = usual();
        let asked = acting.client().agent(agent_id).await;
        if let Err(error) = &asked
            && error.is_transient()
        {
            wait = backoff.wait(&Fault::of(error), edge::fraction()).unwrap_or(wait);
            if !is_away {
                observer.tell(Happening::Disconnected { reason: error.to_string(), retry_in: wait });
            }
            is_away = true;
            continue;
        }
        if is_away {
            is_away = false;
            backoff.good();
            observer.tell(Happening::Back);
        }
        match asked {
            // An older one is what another node still has.
            Ok(agent) if generation.is_some_and(|own| agent.generation > own) => return REPLACED,
            Err(Error::Problem(problem)) if problem.kind.known() == Some(ProblemKind::UnknownAgent) => {
                return REMOVED;
            }
            _ => {}
        }
    }
}
