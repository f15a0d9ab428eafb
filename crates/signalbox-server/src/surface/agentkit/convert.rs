//! Where this surface's words and the engine's meet.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use signalbox_core::agent::{self, Agent, AgentStatus};
use signalbox_core::decision::Tool;
use signalbox_core::delivery::{DeliveryFailure, Message, MessageKind, MessageStatus};
use signalbox_core::limits::bounded;
use signalbox_core::{Rejected, engine, reach};
use signalbox_wire::agentkit::{
    AgentView, CapabilityBody, DeadLetterView, DeliveryFailureView, DeliveryStatus, MessageView,
    PatchAgentBody, RegisterBody, ToolView,
};
use signalbox_wire::fault::Faults;
use signalbox_wire::id::{AgentId, MessageId, ToolName};

use crate::egress::Egress;
use crate::http::problem::Refusal;

/// The agent that a path names.
pub(super) fn agent_id(text: &str) -> Result<AgentId, Rejected> {
    AgentId::parse(text).map_err(|_| Rejected::UnknownAgent(bounded(text)))
}

/// The tool that a path or a call names.
pub(super) fn tool_name(text: &str) -> Result<ToolName, Rejected> {
    ToolName::parse(text).map_err(|_| Rejected::UnknownTool(bounded(text)))
}

/// The dead letter that a path names.
pub(super) fn dead_letter_id(text: &str) -> Result<MessageId, Rejected> {
    MessageId::parse(text).map_err(|_| Rejected::UnknownDeadLetter(bounded(text)))
}

/// A registration as the engine takes it, or everything that stands against it.
pub(super) fn registration(
    egress: &Egress,
    body: RegisterBody,
    replace: bool,
    trace: Option<String>,
) -> Result<engine::Register, Refusal> {
    let metadata = body.metadata.unwrap_or_default();
    check(egress, body.contact_endpoint.as_deref(), Some(&metadata))?;
    Ok(engine::Register {
        id: body.agent_id,
        name: body.agent_name,
        version: body.version,
        endpoint: body.contact_endpoint,
        capabilities: capabilities(&body.capabilities),
        metadata,
        replace,
        trace,
    })
}

/// A change of a registration as the engine takes it, or everything that stands against it.
pub(super) fn patch(
    egress: &Egress,
    agent: AgentId,
    body: PatchAgentBody,
) -> Result<engine::PatchAgent, Refusal> {
    let endpoint = body.contact_endpoint.as_ref().and_then(Option::as_deref);
    check(egress, endpoint, body.metadata.as_ref())?;
    Ok(engine::PatchAgent {
        agent,
        version: body.version,
        endpoint: body.contact_endpoint,
        capabilities: body.capabilities.as_deref().map(capabilities),
        metadata: body.metadata,
    })
}

/// What the body's own check cannot know: the operator's address policy and the engine's limits.
fn check(
    egress: &Egress,
    endpoint: Option<&str>,
    metadata: Option<&Map<String, Value>>,
) -> Result<(), Refusal> {
    let mut faults = Faults::default();
    if let Some(message) = endpoint.and_then(|url| egress.fault(url)) {
        faults.add("/contactEndpoint", message);
    }
    for (key, message) in metadata.map(agent::metadata_faults).unwrap_or_default() {
        faults.add(format!("/metadata/{key}"), message);
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.into_vec().into()) }
}

/// Capabilities as they are kept: every field that is known, as it was given.
fn capabilities(given: &[CapabilityBody]) -> Vec<Value> {
    given.iter().filter_map(|capability| serde_json::to_value(capability).ok()).collect()
}

/// An agent as this surface shows it.
pub(super) fn agent(agent: &Agent, status: Option<&AgentStatus>) -> AgentView {
    let report = status.and_then(|status| status.report.as_ref());
    let presence = reach::presence(agent, status);
    AgentView {
        agent_id: agent.id.clone(),
        agent_name: agent.name.clone(),
        version: agent.version.clone(),
        capabilities: agent.capabilities.iter().filter_map(capability).collect(),
        contact_endpoint: agent.endpoint.clone(),
        metadata: agent.metadata.clone(),
        registration_time: agent.registered_at,
        generation: agent.generation,
        state: report.map(|report| report.state.clone()),
        reported_at: report.map(|report| report.timestamp),
        active_tasks: status.map_or(0, |status| u32::try_from(status.held.len()).unwrap_or(u32::MAX)),
        concurrency: agent.concurrency,
        available: status.map_or(agent.endpoint.is_some(), |status| status.is_available(agent)),
        held_tasks: Vec::new(),
        last_seen: status.map(|status| status.last_seen),
        draining: status.is_some_and(|status| status.draining),
        delivery_failure: status.and_then(|status| status.delivery_failure.as_deref()).map(failure),
        presence: presence.map(|(presence, _)| presence),
        presence_since: presence.and_then(|(_, since)| since),
    }
}

fn failure(kept: &DeliveryFailure) -> DeliveryFailureView {
    DeliveryFailureView {
        at: kept.at,
        message_id: kept.message.clone(),
        kind: kept.kind.name().to_owned(),
        attempt: kept.tries,
        status: kept.status,
        error: kept.error.clone(),
    }
}

/// A kept capability; of one that another surface let in with details of its own kind, the name.
fn capability(kept: &Value) -> Option<CapabilityBody> {
    serde_json::from_value(kept.clone())
        .ok()
        .or_else(|| agent::capability_name(kept).map(|name| CapabilityBody::Name(name.to_owned())))
}

/// Where a message is.
pub(super) fn message(message: &Message) -> MessageView {
    MessageView {
        message_id: message.id.clone(),
        kind: message.kind.name().to_owned(),
        agent_id: message.agent.clone(),
        status: match message.status {
            MessageStatus::Scheduled => DeliveryStatus::Scheduled,
            MessageStatus::Delivered => DeliveryStatus::Delivered,
            // A task's message that nobody waits for any more: given up as well, its reason in `lastError`.
            MessageStatus::Dead => DeliveryStatus::Dead,
            MessageStatus::Cancelled => DeliveryStatus::Cancelled,
        },
        attempts: message.attempts,
        next_attempt_at: message.next_at,
        last_error: message.last_error.clone(),
        created_at: message.created_at,
        delivered_at: message.settled_at.filter(|_| message.status == MessageStatus::Delivered),
    }
}

/// What could not be delivered; `None` when what it carried is no JSON, which is never accepted.
pub(super) fn dead_letter(message: &Message) -> Option<DeadLetterView> {
    Some(DeadLetterView {
        message_id: message.id.clone(),
        kind: message.kind.name().to_owned(),
        agent_id: message.agent.clone(),
        status: DeliveryStatus::Dead,
        attempts: message.attempts,
        last_error: message.last_error.clone(),
        last_status: message.last_status,
        created_at: message.created_at,
        dead_at: message.settled_at.unwrap_or(message.created_at),
        body: RawValue::from_string(message.body.clone()).ok()?,
    })
}

/// The kind of delivery that a query names.
pub(super) fn kind(text: &str) -> Result<MessageKind, String> {
    match text {
        "message" => Ok(MessageKind::Message),
        "task" => Ok(MessageKind::Task),
        "webhook" => Ok(MessageKind::RegistrationWebhook),
        "notice" => Ok(MessageKind::SessionWebhook),
        _ => Err("must be message, task or webhook".to_owned()),
    }
}

/// A registered tool as this surface shows it.
pub(super) fn tool(tool: &Tool) -> ToolView {
    ToolView {
        name: tool.name.to_string(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
        endpoint: Some(tool.endpoint.clone()),
        created_at: Some(tool.created_at),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signalbox_core::agent::Report;
    use signalbox_wire::presence::Presence;
    use signalbox_wire::time::Timestamp;

    use super::*;

    fn registered() -> Agent {
        Agent {
            id: AgentId::parse("a").expect("valid"),
            name: "reader".into(),
            version: "1".into(),
            endpoint: None,
            capabilities: vec![
                json!("read"),
                json!({"name": "write", "parameters": {}}),
                json!({"name": "odd", "version": 3}),
            ],
            metadata: Map::new(),
            registered_at: Timestamp::from_seconds(1),
            generation: 1,
            concurrency: 1,
        }
    }

    fn message_in(status: MessageStatus) -> Message {
        Message {
            id: MessageId::parse("m").expect("valid"),
            kind: MessageKind::RegistrationWebhook,
            agent: None,
            task: None,
            url: None,
            body: r#"{"n":1.0}"#.into(),
            trace: None,
            status,
            attempts: 2,
            attempts_max: 8,
            created_at: Timestamp::from_seconds(1),
            redriven_at: None,
            next_at: None,
            lane: signalbox_core::due::Lane::default(),
            settled_at: Some(Timestamp::from_seconds(2)),
            last_status: Some(422),
            last_error: Some("the endpoint answered 422".into()),
        }
    }

    #[test]
    fn an_agent_shows_what_it_last_said_and_nothing_before() {
        let mut status =
            AgentStatus::fresh(AgentId::parse("a").expect("valid"), 1, Timestamp::from_seconds(5));
        let view = agent(&registered(), Some(&status));
        assert_eq!((view.state, view.last_seen), (None, Some(Timestamp::from_seconds(5))));
        assert_eq!(
            (view.presence, view.presence_since),
            (Some(Presence::Offline), None),
            "it never connected"
        );
        let reached = Agent { endpoint: Some("http://a".into()), ..registered() };
        assert_eq!(agent(&reached, Some(&status)).presence, None);
        status.report = Some(Report {
            state: "Idle".into(),
            details: None,
            timestamp: Timestamp::default(),
            about_task: false,
            counts_as: None,
            answered_after: None,
            awaits_delivery: None,
        });
        let view = agent(&registered(), Some(&status));
        assert_eq!(view.state.as_deref(), Some("Idle"));
        let names: Vec<&str> = view.capabilities.iter().map(CapabilityBody::name).collect();
        assert_eq!(names, ["read", "write", "odd"]);
        assert_eq!(agent(&registered(), None).last_seen, None);
    }

    #[test]
    fn only_a_delivered_message_has_a_time_of_delivery() {
        for (status, shown) in [
            (MessageStatus::Scheduled, DeliveryStatus::Scheduled),
            (MessageStatus::Delivered, DeliveryStatus::Delivered),
            (MessageStatus::Dead, DeliveryStatus::Dead),
            (MessageStatus::Cancelled, DeliveryStatus::Cancelled),
        ] {
            let view = message(&message_in(status));
            assert_eq!(view.status, shown);
            assert_eq!(view.delivered_at.is_some(), status == MessageStatus::Delivered);
            assert_eq!(view.kind, "webhook");
        }
    }

    #[test]
    fn a_dead_letter_carries_its_body_as_it_was() {
        let view = dead_letter(&message_in(MessageStatus::Dead)).expect("JSON");
        assert_eq!((view.body.get(), view.last_status), (r#"{"n":1.0}"#, Some(422)));
        assert_eq!(view.dead_at, Timestamp::from_seconds(2));
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for each in [
            MessageKind::Message,
            MessageKind::Task,
            MessageKind::RegistrationWebhook,
            MessageKind::SessionWebhook,
        ] {
            assert_eq!(kind(each.name()), Ok(each));
        }
        assert!(kind("Message").is_err());
    }

    #[test]
    fn an_id_that_cannot_be_one_is_unknown() {
        assert_eq!(agent_id("a\nb"), Err(Rejected::UnknownAgent("a\nb".to_owned())));
        assert!(tool_name("").is_err() && dead_letter_id("").is_err());
    }
}
