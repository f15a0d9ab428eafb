//! Where the words of this surface for agents and the engine's meet.

use serde_json::Value;
use signalbox_core::Rejected;
use signalbox_core::agent::{Agent, AgentStatus, Meaning, capability_name};
use signalbox_core::figures::AgentFigures;
use signalbox_core::limits::bounded;
use signalbox_wire::artcafe::{AgentPresence, AgentView, CapabilityView, FiguresView, SampleView};
use signalbox_wire::id::AgentId;

/// The field of an agent's metadata that is its type here.
pub(super) const TYPE: &str = "type";
/// The type of an agent that has none.
const TYPE_DEFAULT: &str = "agent";

/// The agent that a path names.
pub(super) fn agent_id(text: &str) -> Result<AgentId, Rejected> {
    AgentId::parse(text).map_err(|_| Rejected::UnknownAgent(bounded(text)))
}

/// An agent as this surface shows it; what its heartbeats tell only where that is given.
pub(super) fn agent(
    agent: &Agent,
    status: Option<&AgentStatus>,
    figures: Option<&AgentFigures>,
) -> AgentView {
    let mut metadata = agent.metadata.clone();
    let kind = match metadata.get(TYPE) {
        Some(Value::String(_)) => metadata.remove(TYPE),
        _ => None,
    };
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or(TYPE_DEFAULT).to_owned();
    let connection = status.and_then(|status| status.connection.as_ref());
    let seen = status.map(|status| status.last_seen).max(figures.map(|figures| figures.last_seen));
    AgentView {
        agent_id: agent.id.clone(),
        name: agent.name.clone(),
        r#type: kind,
        status: presence(agent, status),
        capabilities: agent.capabilities.iter().filter_map(capability).collect(),
        last_seen: seen,
        created_at: agent.registered_at,
        metadata,
        version: agent.version.clone(),
        contact_endpoint: agent.endpoint.clone(),
        connected: connection.is_some(),
        connected_since: connection.map(|connection| connection.since),
        connection_id: connection.map(|connection| connection.id.clone()),
        node: connection.map(|connection| connection.node.clone()),
        disconnected_at: status.and_then(AgentStatus::is_away_since),
        figures: figures.filter(|figures| figures.tell_anything()).map(figures_view),
    }
}

/// How an agent is: whether there is a way to it, then what it said last.
fn presence(agent: &Agent, status: Option<&AgentStatus>) -> AgentPresence {
    let is_reachable = agent.endpoint.is_some() || status.is_some_and(|status| status.is_reachable(agent));
    let Some(status) = status.filter(|_| is_reachable) else {
        return if is_reachable { AgentPresence::Online } else { AgentPresence::Offline };
    };
    if status.is_busy(agent) {
        return AgentPresence::Busy;
    }
    let Some(report) = &status.report else { return AgentPresence::Online };
    match Meaning::of(&report.state) {
        Meaning::Away if report.state.eq_ignore_ascii_case("offline") => AgentPresence::Offline,
        // It is starting, or said something that only it knows the meaning of: it gets no tasks.
        Meaning::Away => AgentPresence::Busy,
        Meaning::Failed if !report.about_task => AgentPresence::Error,
        _ => AgentPresence::Online,
    }
}

/// A kept capability; of one that another surface let in with details of its own kind, the name.
fn capability(kept: &Value) -> Option<CapabilityView> {
    let name = capability_name(kept)?.to_owned();
    let text = |field: &str| kept.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(CapabilityView {
        name,
        description: text("description"),
        parameters: kept.get("parameters").and_then(Value::as_object).cloned(),
        version: text("version"),
    })
}

fn figures_view(figures: &AgentFigures) -> FiguresView {
    let last = figures.samples.last();
    FiguresView {
        cpu_usage: last.and_then(|sample| sample.cpu_usage),
        memory_usage: last.and_then(|sample| sample.memory_usage),
        metrics: figures.metrics.clone(),
        samples: figures
            .samples
            .iter()
            .map(|sample| SampleView {
                at: sample.at,
                cpu_usage: sample.cpu_usage,
                memory_usage: sample.memory_usage,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use signalbox_core::agent::{Connection, Report};
    use signalbox_core::figures::Sample;
    use signalbox_wire::id::{ConnectionId, NodeId};
    use signalbox_wire::time::Timestamp;

    use super::*;

    fn registered(endpoint: Option<&str>) -> Agent {
        Agent {
            id: AgentId::parse("a").expect("valid"),
            name: "reader".into(),
            version: "1".into(),
            endpoint: endpoint.map(str::to_owned),
            capabilities: vec![json!("read"), json!({"name": "write", "description": "writes"})],
            metadata: Map::from_iter([(TYPE.to_owned(), json!("worker")), ("zone".to_owned(), json!(1))]),
            registered_at: Timestamp::from_seconds(1),
            generation: 1,
            concurrency: 1,
        }
    }

    fn status(state: Option<&str>, about_task: bool, is_connected: bool) -> AgentStatus {
        let mut status =
            AgentStatus::fresh(AgentId::parse("a").expect("valid"), 1, Timestamp::from_seconds(5));
        status.report = state.map(|state| Report {
            state: state.to_owned(),
            details: None,
            timestamp: Timestamp::default(),
            about_task,
            counts_as: None,
            answered_after: None,
            awaits_delivery: None,
        });
        status.connection = is_connected.then(|| Connection {
            node: NodeId::parse("nod_1").expect("valid"),
            id: ConnectionId::parse("con_1").expect("valid"),
            since: Timestamp::from_seconds(4),
            key: None,
            is_resumed: false,
        });
        status
    }

    #[test]
    fn how_an_agent_is_follows_from_its_reach_and_its_newest_report() {
        use AgentPresence::{Busy, Error, Offline, Online};
        for (endpoint, is_connected, state, about_task, expected) in [
            (None, false, None, false, Offline),
            (None, false, Some("idle"), false, Offline),
            (None, true, None, false, Online),
            (Some("http://a"), false, None, false, Online),
            (None, true, Some("idle"), false, Online),
            (None, true, Some("Busy"), false, Busy),
            (None, true, Some("initializing"), false, Busy),
            (None, true, Some("error"), false, Error),
            (None, true, Some("error"), true, Online),
            (Some("http://a"), false, Some("offline"), false, Offline),
        ] {
            let view = agent(&registered(endpoint), Some(&status(state, about_task, is_connected)), None);
            assert_eq!(view.status, expected, "{endpoint:?} {is_connected} {state:?} {about_task}");
        }
    }

    #[test]
    fn an_agent_is_shown_in_this_surface_s_words() {
        let figures = AgentFigures {
            agent: AgentId::parse("a").expect("valid"),
            last_seen: Timestamp::from_seconds(9),
            metrics: Map::from_iter([("queue".to_owned(), json!(3))]),
            samples: vec![Sample {
                at: Timestamp::from_seconds(9),
                cpu_usage: Some(12.5),
                memory_usage: None,
            }],
        };
        let view = agent(&registered(None), Some(&status(None, false, true)), Some(&figures));
        let shown = serde_json::to_value(&view).expect("JSON");
        assert_eq!((&shown["type"], &shown["metadata"]), (&json!("worker"), &json!({"zone": 1})));
        let capabilities = json!([
            {"name": "read", "description": null, "parameters": null, "version": null},
            {"name": "write", "description": "writes", "parameters": null, "version": null},
        ]);
        assert_eq!(shown["capabilities"], capabilities);
        assert_eq!(view.last_seen, Some(Timestamp::from_seconds(9)), "the newest of both");
        assert_eq!(shown["figures"]["cpu_usage"], json!(12.5));
        assert_eq!((view.connected, view.connected_since), (true, Some(Timestamp::from_seconds(4))));
    }
}
