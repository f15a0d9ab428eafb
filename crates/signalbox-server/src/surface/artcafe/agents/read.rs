//! `GET /api/v1/agents` and `GET /api/v1/agents/{agent_id}`.

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_store::{AgentFilter, Presence, Store};
use signalbox_wire::artcafe::{AgentList, AgentView};
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::paging::Cursor;
use signalbox_wire::problem::Problem;
use signalbox_wire::text::Text;

use super::convert;
use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::absent;
use crate::surface::artcafe::pages::TokenQuery;

const LIST: &str = "connectable agents";

/// Which agents to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentsQuery {
    /// Those that offer this capability.
    capability: Option<String>,
    /// The one with this name.
    name: Option<String>,
    /// `true`: those that hold a connection; `false`: those with neither a contact endpoint nor a connection.
    connected: Option<String>,
}

/// List the agents
#[utoipa::path(get, path = "/api/v1/agents", operation_id = "list_connectable_agents", tag = "Agents",
    params(AgentsQuery, TokenQuery),
    responses(
        (status = 200, description = "A page of the agents", body = AgentList),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<AgentsQuery>,
    Query(page): Query<TokenQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let fits = |text: &str| Text::NAME.check(text).map(|()| text.to_owned());
    let filter = AgentFilter {
        capability: reader.read("capability", query.capability.as_deref(), fits),
        name: reader.read("name", query.name.as_deref(), fits),
        presence: reader.read("connected", query.connected.as_deref(), presence),
        state: None,
    };
    reader.finish()?;
    let listed = store.agents(context.tenant(), &filter, &page.read(LIST)?).await?;
    let agents = listed.items.iter().map(|(agent, status)| convert::agent(agent, status.as_deref(), None));
    Ok(Reply::ok(&AgentList {
        agents: agents.collect(),
        next_token: listed.next.map(|next| Cursor::encode(LIST, &next)),
    }))
}

fn presence(text: &str) -> Result<Presence, String> {
    match text {
        "true" => Ok(Presence::Connected),
        "false" => Ok(Presence::Offline),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Show an agent
///
/// With what its heartbeats tell.
#[utoipa::path(get, path = "/api/v1/agents/{agent_id}", operation_id = "get_connectable_agent", tag = "Agents",
    params(("agent_id" = String, Path, description = "Which agent")),
    responses(
        (status = 200, description = "The agent", body = AgentView),
        (status = 404, description = "No such agent", body = Problem)))]
pub(crate) async fn get(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(id): Path,
) -> Result<Reply, Refusal> {
    let view = shown(&store, context.tenant(), &convert::agent_id(&id)?).await;
    Ok(Reply::ok(&absent::hinted(&store, context.tenant(), &id, view).await?))
}

/// An agent with what its heartbeats tell.
pub(super) async fn shown(store: &Store, tenant: &TenantId, id: &AgentId) -> Result<AgentView, Refusal> {
    let agent = store.agent(tenant, id).await?.ok_or_else(|| Rejected::UnknownAgent(id.to_string()))?;
    let status = store.status(tenant, id).await?;
    let figures = store.agent_figures(tenant, id).await?;
    let (status, figures) = (status.map(|status| status.value), figures.map(|figures| figures.value));
    Ok(convert::agent(&agent.value, status.as_deref(), figures.as_deref()))
}
