//! `GET /v1/agents` and `GET /v1/agents/{agentId}`: who is registered, and what each last said of itself.

use std::collections::BTreeSet;

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::agent::{AgentStatus, Held};
use signalbox_store::{AgentFilter, Page, Presence, Store, StoreError};
use signalbox_wire::agentkit::{AgentView, HeldTaskView, Success, SuccessList};
use signalbox_wire::id::TenantId;
use signalbox_wire::paging::{Cursor, PageQuery};
use signalbox_wire::problem::Problem;
use signalbox_wire::text::Text;

use crate::engine::Drive;
use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query, Reader, flag};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::absent;
use crate::surface::agentkit::convert;
use crate::surface::agentkit::pages;
use crate::surface::seen;

const LIST: &str = "agents";

/// Tasks of one agent that are shown with it, at most.
const HELD_SHOWN: usize = 100;

/// What is told of one agent besides what is kept of it.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HeldQuery {
    /// Whether the tasks that it holds are shown (`heldTasks`), for which their sessions are read: true or false.
    #[param(value_type = Option<bool>)]
    held: Option<String>,
}

/// Which agents to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentQuery {
    /// Those that offer this capability.
    capability: Option<String>,
    /// Those whose newest report has this state, compared without case.
    state: Option<String>,
    /// The one with this name.
    name: Option<String>,
    /// `connected`: those that hold a connection; `offline`: those with neither a contact endpoint nor a connection.
    presence: Option<String>,
}

/// List agents
#[utoipa::path(get, path = "/v1/agents", tag = "Agents", params(AgentQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the agents", body = SuccessList<AgentView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_agents(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<AgentQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let filter = filter(&query, &mut reader);
    let page = reader.page(LIST, &page);
    reader.finish()?;
    let (store, tenant, filter) = (&store, context.tenant(), &filter);
    let list = |page: Page| async move { store.agents(tenant, filter, &page).await };
    let listed =
        pages::gather(page, list, |(agent, status)| Some(convert::agent(agent, status.as_deref()))).await?;
    let next_cursor = listed.next.map(|next| Cursor::encode(LIST, &next));
    Ok(Reply::ok(&SuccessList::new("Agents retrieved successfully.", listed.items, next_cursor)))
}

fn presence(text: &str) -> Result<Presence, String> {
    match text {
        "connected" => Ok(Presence::Connected),
        "offline" => Ok(Presence::Offline),
        _ => Err("must be connected or offline".to_owned()),
    }
}

fn filter(query: &AgentQuery, reader: &mut Reader) -> AgentFilter {
    let fits = |rule: Text| move |text: &str| rule.check(text).map(|()| text.to_owned());
    AgentFilter {
        capability: reader.read("capability", query.capability.as_deref(), fits(Text::NAME)),
        state: reader.read("state", query.state.as_deref(), fits(Text::STATE)),
        name: reader.read("name", query.name.as_deref(), fits(Text::NAME)),
        presence: reader.read("presence", query.presence.as_deref(), presence),
    }
}

/// Show an agent
#[utoipa::path(get, path = "/v1/agents/{agentId}", tag = "Agents",
    params(("agentId" = String, Path, description = "Which agent"), HeldQuery),
    responses(
        (status = 200, description = "The agent", body = Success<AgentView>),
        (status = 404, description = "No such agent", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn get_agent(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Reads>,
    Path(id): Path,
    Query(query): Query<HeldQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let shows_held = reader.read("held", query.held.as_deref(), flag).unwrap_or_default();
    reader.finish()?;
    let id = convert::agent_id(&id)?;
    let agent = store.agent(context.tenant(), &id).await?;
    let agent = agent.ok_or_else(|| Rejected::UnknownAgent(id.to_string()).into());
    let agent = absent::hinted(&store, context.tenant(), id.as_str(), agent).await?;
    let status = seen::status(&store, context.tenant(), &id).await?;
    let mut view = convert::agent(&agent.value, status.as_deref());
    if let Some(status) = status.as_ref().filter(|_| shows_held) {
        view.held_tasks = held(&store, &drive, context.tenant(), status).await?;
    }
    Ok(Reply::ok(&Success::new("Agent retrieved successfully.", view)))
}

/// The tasks that an agent holds, each with when its time is over.
async fn held(
    store: &Store,
    drive: &Drive,
    tenant: &TenantId,
    status: &AgentStatus,
) -> Result<Vec<HeldTaskView>, StoreError> {
    let held = || status.held.iter().take(HELD_SHOWN);
    let sessions: BTreeSet<_> = held().map(|held| held.session.clone()).collect();
    let sessions: Vec<_> = sessions.into_iter().collect();
    let states = store.sessions_among(tenant, &sessions).await?;
    let view = |held: &Held| {
        let state = states.iter().find(|state| state.session.id == held.session);
        let task = state.and_then(|state| state.task(&held.task));
        HeldTaskView {
            session_id: held.session.clone(),
            task_id: held.step.clone(),
            attempt: held.attempt,
            dispatched_at: held.dispatched_at,
            times_out_at: task.and_then(|task| task.times_out_at(drive.policy().task_timeout)),
        }
    };
    Ok(held().map(view).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_nothing_can_match_is_told() {
        let query = AgentQuery {
            capability: Some("a\0".to_owned()),
            state: Some("two words".to_owned()),
            name: Some(String::new()),
            presence: Some("here".to_owned()),
        };
        let mut reader = Reader::default();
        filter(&query, &mut reader);
        let refusal = reader.finish().expect_err("faults");
        let pointers: Vec<&str> = refusal.0.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/capability", "/state", "/name", "/presence"]);
    }
}
