//! How what is sent reaches whoever it is for. Decided here; the server's `transport/` carries it out, one file for each.

use signalbox_wire::id::AgentId;

use crate::agent::Agent;
use crate::delivery::{Message, MessageKind, Outcome};
use crate::due::Lane;

/// A way to whoever a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// A POST to the agent's contact endpoint.
    Endpoint(String),
    /// The AgentKit surface of another process, which knows where the agent is.
    Service(AgentId),
    /// A signed POST to a URL that a workflow names.
    SessionWebhook(String),
    /// A signed POST to the service that registrations are announced to.
    RegistrationWebhook,
}

/// What an operator has set up, as far as it decides the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ways {
    /// Tasks go through the AgentKit surface of another process.
    pub through_service: bool,
}

impl Agent {
    /// Whether there is a way to it.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.endpoint.is_some()
    }

    /// The lane of what is sent to it: what goes to one host shares one.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.endpoint.as_deref().map_or_else(|| Lane::agent(&self.id), Lane::endpoint)
    }
}

impl Message {
    /// The way that the message takes now, `agent` being whom it is for, where that one is registered.
    ///
    /// # Errors
    /// What becomes of it where there is none.
    pub fn reach(&self, agent: Option<&Agent>, ways: Ways) -> Result<Reach, Outcome> {
        match self.kind {
            MessageKind::RegistrationWebhook => return Ok(Reach::RegistrationWebhook),
            MessageKind::SessionWebhook => {
                let url = self.url.clone().ok_or_else(|| Outcome::unwanted("the notice names no address"))?;
                return Ok(Reach::SessionWebhook(url));
            }
            MessageKind::Message | MessageKind::Task => {}
        }
        let Some(id) = &self.agent else { return Err(Outcome::unwanted("the message names no agent")) };
        let Some(agent) = agent else {
            return Err(Outcome::failed(format!("agent {id} is no longer registered"), false));
        };
        if self.kind == MessageKind::Task && ways.through_service {
            return Ok(Reach::Service(id.clone()));
        }
        let endpoint = agent.endpoint.clone();
        endpoint.map(Reach::Endpoint).ok_or_else(|| {
            Outcome::failed(format!("agent {} ({id}) has no contact endpoint", agent.name), true)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use signalbox_wire::id::MessageId;
    use signalbox_wire::time::Timestamp;

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
        assert_eq!(message(MessageKind::Task).reach(Some(&at_home), here), endpoint);
        assert_eq!(message(MessageKind::Task).reach(Some(&at_home), away), Ok(Reach::Service(id.clone())));
        assert_eq!(message(MessageKind::Task).reach(Some(&agent(None)), away), Ok(Reach::Service(id)));
        assert_eq!(message(MessageKind::Message).reach(Some(&at_home), away), endpoint);
    }

    #[test]
    fn where_there_is_no_way_it_is_said_whether_there_may_be_one_later() {
        let may_retry =
            |agent: Option<&Agent>| match message(MessageKind::Message).reach(agent, Ways::default()) {
                Err(Outcome::Failed { may_retry, .. }) => Some(may_retry),
                _ => None,
            };
        assert_eq!(may_retry(None), Some(false), "it is gone");
        assert_eq!(may_retry(Some(&agent(None))), Some(true), "it may get an endpoint");
        let notice = message(MessageKind::SessionWebhook).reach(None, Ways::default());
        assert!(matches!(notice, Err(Outcome::Unwanted { .. })));
        let webhook = message(MessageKind::RegistrationWebhook).reach(None, Ways::default());
        assert_eq!(webhook, Ok(Reach::RegistrationWebhook), "also of an agent that is gone");
    }
}
