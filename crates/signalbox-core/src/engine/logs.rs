//! Agents add their own entries to the log.

use serde_json::{Map, Value, json};
use signalbox_wire::id::{AgentId, SessionId, TaskId};
use signalbox_wire::time::Timestamp;

use super::operation::Operation;
use crate::decision::Key;
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// Entries that an agent adds.
#[derive(Debug, Clone)]
pub struct AppendLogs {
    /// Whose they are.
    pub agent: AgentId,
    /// The entries, in order.
    pub entries: Vec<LogEntry>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// When, by the agent's clock.
    pub timestamp: Option<Timestamp>,
    /// What it says besides.
    pub fields: Option<Map<String, Value>>,
    /// The session it names.
    pub session: Option<String>,
    /// The task it names.
    pub task: Option<String>,
}

impl Operation for AppendLogs {
    type Output = usize;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, usize), Halt> {
        let agent =
            snapshot.agent(&self.agent)?.ok_or_else(|| Rejected::UnknownAgent(self.agent.to_string()))?;
        let mut decision = Decision::default();
        decision.expects.push((Key::Agent(self.agent.clone()), Some(agent.version)));
        for entry in &self.entries {
            let data = json!({
                "message": entry.message,
                "timestamp": entry.timestamp,
                "fields": entry.fields,
                "sessionId": entry.session,
                "taskId": entry.task,
            });
            let mut event = NewEvent::new("log", entry.level, context.now, &data).about(&self.agent);
            event.session =
                entry.session.as_deref().and_then(|id| SessionId::parse(id).ok()).map(|id| (id, 0));
            event.task = entry.task.as_deref().and_then(|task| TaskId::parse(task).ok());
            decision.events.push(event);
        }
        Ok((decision, self.entries.len()))
    }
}
