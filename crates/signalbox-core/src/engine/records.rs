//! Tools, seen signatures and retention: kept as they are, with an entry in the log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use signalbox_wire::id::ToolName;

use super::operation::Operation;
use crate::decision::{Key, Retention, Row, SeenSignature, Tool};
use crate::event::{Level, NewEvent};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A tool is registered.
#[derive(Debug, Clone)]
pub struct CreateTool {
    /// The tool.
    pub tool: Tool,
}

impl Operation for CreateTool {
    type Output = Tool;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Tool), Halt> {
        if snapshot.tool(&self.tool.name)?.is_some() {
            return Err(Rejected::ToolTaken(self.tool.name.clone()).into());
        }
        let tool = Tool { created_at: context.now, ..self.tool.clone() };
        let mut decision = logged(context, "tool.registered", &json!({"tool": tool.name}));
        decision.create(Row::Tool(Arc::new(tool.clone())), context.version_after(None));
        Ok((decision, tool))
    }
}

/// A tool is removed.
#[derive(Debug, Clone)]
pub struct DeleteTool {
    /// Which.
    pub name: ToolName,
}

impl Operation for DeleteTool {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let read = snapshot.tool(&self.name)?.ok_or_else(|| Rejected::UnknownTool(self.name.to_string()))?;
        let mut decision = logged(context, "tool.deleted", &json!({"tool": self.name}));
        decision.remove(Key::Tool(self.name.clone()), read.version);
        Ok((decision, ()))
    }
}

/// A webhook's signature is used up.
#[derive(Debug, Clone)]
pub struct SeeSignature {
    /// The signature, and until when it is remembered.
    pub seen: SeenSignature,
}

impl Operation for SeeSignature {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        if snapshot.signature(&self.seen.signature)?.is_some() {
            return Err(Rejected::Replayed.into());
        }
        let mut decision = Decision::default();
        decision.create(Row::Signature(self.seen.clone()), context.version_after(None));
        Ok((decision, ()))
    }
}

/// How long the tenant keeps what is over is set.
#[derive(Debug, Clone)]
pub struct SetRetention {
    /// How long.
    pub retention: Retention,
}

impl Operation for SetRetention {
    type Output = Retention;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Retention), Halt> {
        let read = snapshot.retention()?;
        let kept = self.retention;
        if read.as_ref().is_some_and(|read| *read.value == kept) {
            return Ok((Decision::default(), kept));
        }
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        let data = json!({"sessionsSeconds": seconds(kept.sessions), "eventsSeconds": seconds(kept.events),
            "messagesSeconds": seconds(kept.messages)});
        let mut decision = logged(context, "retention.changed", &data);
        let read = read.map(|read| read.version);
        decision.put(Row::Retention(kept), read, context.version_after(read));
        Ok((decision, kept))
    }
}

pub(super) fn logged(context: &DecisionContext<'_>, kind: &str, data: &serde_json::Value) -> Decision {
    let event = NewEvent::new(kind, Level::Info, context.now, data);
    Decision { events: vec![event], ..Decision::default() }
}
