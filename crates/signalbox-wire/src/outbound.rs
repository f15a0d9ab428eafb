//! Bodies that Signalbox sends: tasks and their ends to agents, the end of a session and registrations to services.
//!
//! They borrow what they tell: each is written once, when it is accepted or sent.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::id::{AgentId, MessageId, SessionId, WorkflowId};
use crate::json;
use crate::time::Timestamp;

/// The sender of what a workflow sends to its agents.
pub const WORKFLOW_SENDER: &str = "opscore";

/// What a workflow tells one of its agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowMessageType {
    /// Here is a task.
    WorkflowTask,
    /// A task that it was given is no longer wanted.
    WorkflowCancel,
}

/// What a workflow POSTs to an agent.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowMessage<'a> {
    sender_id: &'static str,
    /// Which of the two it is.
    pub message_type: WorkflowMessageType,
    /// The task's parameters, or why it is no longer wanted.
    pub payload: Payload<'a>,
    /// Its id, the same at every try.
    pub message_id: &'a MessageId,
    /// When the task was dispatched, or the session last changed.
    pub timestamp: Timestamp,
    /// The name of a task that is given.
    #[serde(rename = "task_name", skip_serializing_if = "Option::is_none")]
    pub task_name: Option<&'a str>,
    /// The session.
    #[serde(rename = "opscore_session_id")]
    pub session: &'a SessionId,
    /// The task with its attempt: what reports name.
    #[serde(rename = "opscore_task_id")]
    pub task: &'a str,
    /// When the attempt has failed where nothing has been reported by then; of a task that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Where it belongs.
    pub session_context: SessionContext<'a>,
}

/// What a workflow's message carries.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Payload<'a> {
    /// A task's parameters.
    Parameters(&'a Map<String, Value>),
    /// Why a task is no longer wanted.
    Reason {
        /// In words.
        reason: &'a str,
    },
}

/// Where a task belongs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionContext<'a> {
    /// The session.
    pub session_id: &'a SessionId,
    /// Its workflow.
    pub workflow_id: &'a WorkflowId,
    /// The task's id in the workflow's definition.
    pub task_id: &'a str,
}

impl<'a> WorkflowMessage<'a> {
    /// A task for an agent: its name, its `task` with the attempt, its end, and its parameters.
    #[must_use]
    pub fn task(
        (message_id, timestamp, deadline): (&'a MessageId, Timestamp, Option<Timestamp>),
        (name, task): (&'a str, &'a str),
        parameters: &'a Map<String, Value>,
        session_context: SessionContext<'a>,
    ) -> Self {
        Self {
            sender_id: WORKFLOW_SENDER,
            message_type: WorkflowMessageType::WorkflowTask,
            payload: Payload::Parameters(parameters),
            message_id,
            timestamp,
            task_name: Some(name),
            session: session_context.session_id,
            task,
            deadline,
            session_context,
        }
    }

    /// A task that its agent need not do any longer, and why.
    #[must_use]
    pub fn cancel(
        (message_id, timestamp): (&'a MessageId, Timestamp),
        task: &'a str,
        reason: &'a str,
        session_context: SessionContext<'a>,
    ) -> Self {
        Self {
            sender_id: WORKFLOW_SENDER,
            message_type: WorkflowMessageType::WorkflowCancel,
            payload: Payload::Reason { reason },
            message_id,
            timestamp,
            task_name: None,
            session: session_context.session_id,
            task,
            deadline: None,
            session_context,
        }
    }
}

/// What is POSTed to the URL that a workflow names for the end of its sessions.
#[derive(Debug, Clone, Serialize)]
pub struct SessionNotice<'a> {
    /// `session.` and the status.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was written.
    pub timestamp: Timestamp,
    /// The session.
    pub data: EndedSession<'a>,
}

/// A session that is over.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedSession<'a> {
    /// Its id.
    pub session_id: &'a SessionId,
    /// Its workflow.
    pub workflow_id: &'a WorkflowId,
    /// The revision of the workflow that it went by.
    pub workflow_revision: u32,
    /// How it ended.
    pub status: &'a str,
    /// What came of it; null where nothing did.
    pub result: Option<&'a Value>,
    /// Why it failed; null where it did not.
    pub error: Option<&'a str>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What is POSTed to the service that registrations are announced to; read there as
/// [`NotifyBody`](crate::opscore::NotifyBody).
#[derive(Debug, Clone, Serialize)]
pub struct RegistrationNotice<'a> {
    /// [`REGISTER`](crate::opscore::REGISTER) or [`DEREGISTER`](crate::opscore::DEREGISTER).
    pub event_type: &'a str,
    /// The agent.
    pub agent_details: AnnouncedAgent<'a>,
}

/// An agent as it is announced.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedAgent<'a> {
    /// Its id.
    pub agent_id: &'a AgentId,
    /// Its name.
    pub agent_name: &'a str,
    /// Its own version.
    pub version: &'a str,
    /// The names of what it can do.
    pub capabilities: Vec<&'a str>,
    /// Where it takes POSTs.
    pub contact_endpoint: Option<&'a str>,
    /// What its owner keeps with it.
    pub metadata: &'a Map<String, Value>,
    /// When it registered first.
    pub registration_time: Timestamp,
    /// How often it has registered.
    pub generation: u64,
}

/// The text of a body that is sent.
#[must_use]
pub fn text(body: &impl Serialize) -> String {
    // Maps with string keys and numbers that were read from JSON: writing them cannot fail.
    json::to_string(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::body::parse;
    use crate::opscore::{NotifyBody, REGISTER};

    #[test]
    fn a_task_and_its_end_are_written_as_the_contract_says() {
        let (message, session) = (MessageId::parse("msg_a-2").unwrap(), SessionId::parse("ses_1").unwrap());
        let workflow = WorkflowId::parse("w").unwrap();
        let context = SessionContext { session_id: &session, workflow_id: &workflow, task_id: "read" };
        let parameters = Map::from_iter([("path".to_owned(), json!("a"))]);
        let at = (&message, Timestamp::from_seconds(0));
        let until = (at.0, at.1, Some(Timestamp::from_seconds(60)));
        let task = WorkflowMessage::task(until, ("Read it", "tsk_a-2"), &parameters, context.clone());
        let expected = json!({
            "senderId": "opscore", "messageType": "workflow_task", "payload": {"path": "a"},
            "messageId": "msg_a-2", "timestamp": "1970-01-01T00:00:00.000000Z", "task_name": "Read it",
            "opscore_session_id": "ses_1", "opscore_task_id": "tsk_a-2", "deadline": "1970-01-01T00:01:00.000000Z",
            "sessionContext": {"sessionId": "ses_1", "workflowId": "w", "taskId": "read"},
        });
        assert_eq!(serde_json::from_str::<Value>(&text(&task)).unwrap(), expected);
        let cancel = text(&WorkflowMessage::cancel(at, "tsk_a-2", "no need", context));
        let cancel: Value = serde_json::from_str(&cancel).unwrap();
        assert_eq!(
            (&cancel["messageType"], &cancel["payload"], cancel.get("task_name")),
            (&json!("workflow_cancel"), &json!({"reason": "no need"}), None)
        );
    }

    #[test]
    fn what_is_announced_is_read_as_what_is_taken() {
        let (id, metadata) = (AgentId::parse("a").unwrap(), Map::from_iter([("zone".to_owned(), json!(1))]));
        let notice = RegistrationNotice {
            event_type: REGISTER,
            agent_details: AnnouncedAgent {
                agent_id: &id,
                agent_name: "A",
                version: "1",
                capabilities: vec!["read"],
                contact_endpoint: Some("http://127.0.0.1:9000/run"),
                metadata: &metadata,
                registration_time: Timestamp::from_seconds(0),
                generation: 3,
            },
        };
        let read = parse::<NotifyBody>(text(&notice).as_bytes()).unwrap().agent_details;
        assert_eq!((&read.agent_id, &read.agent_name, &read.metadata), (&id, &"A".to_owned(), &metadata));
        assert_eq!(read.registration_time.as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!(read.capabilities[0].name(), "read");
    }
}
