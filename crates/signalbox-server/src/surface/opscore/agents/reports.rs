//! Reports of agents as they are shown: written straight from what is stored, without a copy of the details.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signalbox_core::agent::Report;
use signalbox_store::StoredEvent;
use signalbox_wire::id::AgentId;
use signalbox_wire::presence::Presence;
use signalbox_wire::quote;
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

/// A state as it is written: [`signalbox_wire::opscore::StateView`] without a copy of anything, and by hand, since
/// states are read often.
#[derive(Debug)]
pub(crate) struct StateAnswer<'a> {
    agent_id: &'a AgentId,
    state: &'a str,
    details: Option<&'a str>,
    timestamp: Timestamp,
    presence: Option<(Presence, Option<Timestamp>)>,
    last_seen: Option<Timestamp>,
}

impl<'a> StateAnswer<'a> {
    pub(crate) fn of(agent_id: &'a AgentId, report: &'a Report) -> Self {
        let details = report.details.as_ref().map(RawObject::as_str);
        let (state, timestamp) = (report.state.as_str(), report.timestamp);
        Self { agent_id, state, details, timestamp, presence: None, last_seen: None }
    }

    /// With whether the agent is connected, and since when, where it is reached so, and when it was last seen then.
    pub(crate) fn with(
        self,
        presence: Option<(Presence, Option<Timestamp>)>,
        last_seen: Option<Timestamp>,
    ) -> Self {
        Self { presence, last_seen: last_seen.filter(|_| presence.is_some()), ..self }
    }

    /// The state of an agent that has not reported since it registered.
    pub(crate) fn before_any(agent_id: &'a AgentId, registered_at: Timestamp) -> Self {
        let (state, timestamp) = ("unknown", registered_at);
        Self { agent_id, state, details: None, timestamp, presence: None, last_seen: None }
    }

    /// The answer as JSON.
    pub(crate) fn written(&self) -> String {
        let details = self.details.unwrap_or("null");
        let length = self.agent_id.as_str().len() + self.state.len() + details.len();
        let mut text = String::with_capacity(96 + length);
        text.push_str("{\"agentId\":");
        quote(&mut text, self.agent_id.as_str());
        text.push_str(",\"state\":");
        quote(&mut text, self.state);
        text.push_str(",\"details\":");
        text.push_str(details);
        text.push_str(",\"timestamp\":");
        self.timestamp.quote(&mut text);
        if let Some((presence, since)) = self.presence {
            text.push_str(",\"presence\":");
            quote(&mut text, presence.name());
            if let Some(since) = since {
                text.push_str(",\"presenceSince\":");
                since.quote(&mut text);
            }
        }
        if let Some(seen) = self.last_seen {
            text.push_str(",\"lastSeen\":");
            seen.quote(&mut text);
        }
        text.push('}');
        text
    }
}

/// A report of the history as it is written: [`signalbox_wire::opscore::HistoryEntry`] without a copy of its details.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryAnswer<'a> {
    state: Cow<'a, str>,
    details: Option<&'a RawValue>,
    timestamp: Timestamp,
    received_at: Timestamp,
}

#[derive(Deserialize)]
struct Reported<'a> {
    #[serde(borrow)]
    state: Cow<'a, str>,
    timestamp: Timestamp,
    #[serde(borrow, default)]
    details: Option<&'a RawValue>,
}

impl<'a> HistoryAnswer<'a> {
    pub(crate) fn of(event: &'a StoredEvent) -> Option<Self> {
        let Reported { state, timestamp, details } = serde_json::from_str(&event.data).ok()?;
        Some(Self { state, details, timestamp, received_at: event.at })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_core::event::Level;
    use signalbox_wire::opscore::{HistoryEntry, StateView};

    use super::*;

    #[test]
    fn states_are_written_as_the_wire_names_them() {
        let agent = AgentId::parse("a").expect("valid");
        let report = Report {
            state: "Idle".into(),
            details: Some(RawObject::parse("{\"x\": 1.0}".into()).expect("JSON")),
            timestamp: Timestamp::from_seconds(1_704_110_400),
            about_task: false,
            counts_as: None,
            answered_after: None,
            awaits_delivery: None,
        };
        let written = StateAnswer::of(&agent, &report).written();
        let read: StateView = serde_json::from_str(&written).expect("a state");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
        let offline = Some((Presence::Offline, Some(Timestamp::from_seconds(1))));
        let written =
            StateAnswer::of(&agent, &report).with(offline, Some(Timestamp::from_seconds(2))).written();
        let read: StateView = serde_json::from_str(&written).expect("a state");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
        assert_eq!(read.presence, Some(Presence::Offline));
        let before = StateAnswer::before_any(&agent, report.timestamp).written();
        let before: serde_json::Value = serde_json::from_str(&before).expect("JSON");
        assert_eq!(
            before,
            json!({"agentId": "a", "state": "unknown", "details": null, "timestamp": report.timestamp})
        );
    }

    #[test]
    fn a_report_of_the_history_is_written_as_the_wire_names_it() {
        let event = StoredEvent {
            sequence: 1,
            kind: "agent.reported".into(),
            level: Level::Info,
            at: Timestamp::from_seconds(1_704_110_401),
            session: None,
            agent: None,
            task: None,
            data: r#"{"state":"a\"b","timestamp":"2024-01-01T12:00:00Z","details":{"x": 1.0}}"#.into(),
        };
        let written = serde_json::to_string(&HistoryAnswer::of(&event)).expect("JSON");
        let read: HistoryEntry = serde_json::from_str(&written).expect("an entry");
        assert_eq!((read.state.as_str(), read.received_at), ("a\"b", event.at));
        assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
    }
}
