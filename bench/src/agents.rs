//! The fleet that a case works on: registered through the API like any other, as many as asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::bail;
use serde::Deserialize;

use crate::context::Context;
use crate::load::{self, Extent, Ids, Outcome, Plan, Template};
use crate::{printer, requests};

/// How many connections set a fleet up.
const CONNECTIONS: usize = 64;
/// Where agents say they are reached when a case delivers nothing to them: nobody listens on the discard port.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:9";

/// Registers `count` agents that are reached at `endpoint`, and gives their ids.
pub(crate) async fn register(
    context: &Context,
    addr: SocketAddr,
    count: u64,
    endpoint: &str,
) -> anyhow::Result<Ids> {
    let plan =
        Plan { pick: Some(agent_id), ..counted(context, addr, requests::registration(endpoint)?, count) };
    let outcome = complete("registering the agents", count, load::run(&plan).await?)?;
    let rate = outcome.per_s();
    printer::progress(&format!("  {count} agents registered, {rate:.0} per second"));
    Ids::new(&outcome.picked)
}

/// Lets each agent report once, so that every one has a state to read.
pub(crate) async fn report_each(context: &Context, addr: SocketAddr, ids: &Ids) -> anyhow::Result<()> {
    let count = ids.len() as u64;
    let plan = counted(context, addr, requests::report(ids)?, count);
    complete("reporting for each agent", count, load::run(&plan).await?).map(|_| ())
}

/// A run of exactly `count` requests.
pub(crate) fn counted(context: &Context, addr: SocketAddr, template: Template, count: u64) -> Plan {
    counted_of(context, addr, &Arc::new(template), count)
}

/// The same with a template that is used again.
pub(crate) fn counted_of(context: &Context, addr: SocketAddr, template: &Arc<Template>, count: u64) -> Plan {
    Plan {
        addr,
        others: Vec::new(),
        template: Arc::clone(template),
        connections: CONNECTIONS,
        threads: context.client_threads,
        extent: Extent::Count(count),
        first_ticket: 0,
        pick: None,
        ends: None,
    }
}

/// The id in the answer to a registration.
pub(crate) fn agent_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Registered {
        data: Data,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        agent_id: String,
    }
    serde_json::from_slice::<Registered>(body).ok().map(|registered| registered.data.agent_id)
}

/// Setting up tolerates no fault: a case on half a fleet would measure something else.
pub(crate) fn complete(what: &str, count: u64, outcome: Outcome) -> anyhow::Result<Outcome> {
    if outcome.succeeded != count || !outcome.faults.is_empty() {
        bail!(
            "{what} went wrong, {} of {count} succeeded: {}",
            outcome.succeeded,
            outcome.fault_lines().join("; ")
        );
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::agent_id;

    #[test]
    fn the_id_is_found_in_a_registration_answer() {
        let body = br#"{"status":"success","message":"m","data":{"agentId":"agt_1"}}"#;
        assert_eq!(agent_id(body).as_deref(), Some("agt_1"));
        assert_eq!(agent_id(b"{}"), None);
    }
}
