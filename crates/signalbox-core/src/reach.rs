//! How what is sent reaches whoever it is for. Decided here; the server's `transport/` carries it out, one file for each.

use signalbox_wire::id::AgentId;
use signalbox_wire::presence::Presence;
use signalbox_wire::time::Timestamp;

use crate::agent::{Agent, AgentStatus};
use crate::delivery::{Message, MessageKind, Outcome};
use crate::due::Lane;

/// A way to whoever a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A POST to the agent's contact endpoint.
    Endpoint(String),
    /// The connection that the agent holds with some node.
    Connection(AgentId),
    /// The AgentKit surface of another process, which knows where the agent is.
    Service(AgentId),
    /// A signed POST to a URL that a workflow names.
    SessionWebhook(String),
    /// A signed POST to the service that registrations are announced to.
    RegistrationWebhook,
}

/// Why there is no way now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoWay {
    /// The agent is reached over a connection and holds none: what is for it waits for the next one, without a try.
    Away,
    /// What becomes of the message.
    Over(Outcome),
}

/// What an operator has set up, as far as it decides the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    /// Tasks go through the AgentKit surface of another process.
    pub through_service: bool,
}

impl Agent {
    /// The lane of what is sent to it: what goes to one host shares one.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.endpoint.as_deref().map_or_else(|| Lane::agent(&self.id), Lane::endpoint)
    }
}

impl AgentStatus {
    /// Whether there is a way to the agent now: its contact endpoint, or the connection that it holds.
    #[must_use]
    pub fn is_reachable(&self, agent: &Agent) -> bool {
        agent.endpoint.is_some() || self.connection.is_some()
    }
}

/// Whether an agent that is reached over a connection holds one, and since when; nothing for one that has a contact
/// endpoint and holds none.
#[must_use]
pub fn presence(agent: &Agent, status: Option<&AgentStatus>) -> Option<(Presence, Option<Timestamp>)> {
    let connection = status.and_then(|status| status.connection.as_ref());
    match connection {
        Some(connection) => Some((Presence::Connected, Some(connection.since))),
        None if agent.endpoint.is_some() => None,
        None => Some((Presence::Offline, status.and_then(AgentStatus::is_away_since))),
    }
}

impl Message {
    /// The way that the message takes now, `agent` being whom it is for, where that one is registered; with
    /// `is_connected` it holds a connection.
    ///
    /// # Errors
    /// Why there is none now.
    pub fn reach(&self, agent: Option<&Agent>, is_connected: bool, ways: Ways) -> Result<Reach, NoWay> {
        match self.kind {
            MessageKind::RegistrationWebhook => return Ok(Reach::RegistrationWebhook),
            MessageKind::SessionWebhook => {
                let none = || NoWay::Over(Outcome::unwanted("the notice names no address"));
                let url = self.url.clone().ok_or_else(none)?;
                return Ok(Reach::SessionWebhook(url));
            }
            MessageKind::Message | MessageKind::Task => {}
        }
        let Some(id) = &self.agent else {
            return Err(NoWay::Over(Outcome::unwanted("the message names no agent")));
        };
        let Some(agent) = agent else {
            return Err(NoWay::Over(Outcome::failed(format!("agent {id} is no longer registered"), false)));
        };
        if self.kind == MessageKind::Task && ways.through_service {
            return Ok(Reach::Service(id.clone()));
        }
        match &agent.endpoint {
            Some(endpoint) => Ok(Reach::Endpoint(endpoint.clone())),
            None if is_connected => Ok(Reach::Connection(id.clone())),
            None => Err(NoWay::Away),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use signalbox_wire::id::MessageId;

    use super::*;
    use crate::delivery::MessageStatus;

    fn message(kind: MessageKind) -> Message {
        Message {
            id: MessageId::parse("m").expect("valid"),
            kind,
            agent: AgentId::parse("a").ok(),
            task: None,
            url: None,
            lane: Lane::default(),
            body: "{}".into(),
            trace: None,
            status: MessageStatus::Scheduled,
            attempts: 0,
            attempts_max: 8,
            created_at: Timestamp::default(),
            redriven_at: None,
            next_at: None,
            settled_at: None,
            last_status: None,
            last_error: None,
        }
    }

    fn agent(endpoint: Option<&str>) -> Agent {
        Agent {
            id: AgentId::parse("a").expect("valid"),
            name: "reader".into(),
            version: "1".into(),
            endpoint: endpoint.map(str::to_owned),
            capabilities: Vec::new(),
            metadata: Map::new(),
            registered_at: Timestamp::default(),
            generation: 1,
            concurrency: 1,
        }
    }

    #[test]
    fn tasks_go_through_another_service_where_there_is_one_and_messages_do_not() {
        let (here, away) = (Ways::default(), Ways { through_service: true });
        let (at_home, id) = (agent(Some("http://a")), AgentId::parse("a").expect("valid"));
        let endpoint = Ok(Reach::Endpoint("http://a".into()));
        let reach = |kind, agent: &Agent, ways| message(kind).reach(Some(agent), false, ways);
        assert_eq!(reach(MessageKind::Task, &at_home, here), endpoint);
        assert_eq!(reach(MessageKind::Task, &at_home, away), Ok(Reach::Service(id.clone())));
        assert_eq!(reach(MessageKind::Task, &agent(None), away), Ok(Reach::Service(id)));
        assert_eq!(reach(MessageKind::Message, &at_home, away), endpoint);
    }

    #[test]
    fn where_there_is_no_way_it_is_said_whether_there_may_be_one_later() {
        let reach = |kind, agent: Option<&Agent>, is_connected| {
            message(kind).reach(agent, is_connected, Ways::default())
        };
        let gone = reach(MessageKind::Message, None, true);
        assert!(matches!(gone, Err(NoWay::Over(Outcome::Failed { may_retry: false, .. }))), "it is gone");
        let (here, elsewhere) = (agent(None), agent(Some("http://a")));
        let id = here.id.clone();
        for kind in [MessageKind::Message, MessageKind::Task] {
            assert_eq!(reach(kind, Some(&here), false), Err(NoWay::Away), "it may connect");
            assert_eq!(reach(kind, Some(&here), true), Ok(Reach::Connection(id.clone())));
            assert_eq!(reach(kind, Some(&elsewhere), true), Ok(Reach::Endpoint("http://a".into())));
        }
        let notice = reach(MessageKind::SessionWebhook, None, false);
        assert!(matches!(notice, Err(NoWay::Over(Outcome::Unwanted { .. }))));
        let webhook = reach(MessageKind::RegistrationWebhook, None, false);
        assert_eq!(webhook, Ok(Reach::RegistrationWebhook), "also of an agent that is gone");
    }
}
