//! Hooks: made, removed, given another secret, and what a webhook to one of them starts.
//!
//! Whether a webhook is to be believed, and whether it came before, is found out before it gets here: the answer
//! to it is kept in the commit that starts its session.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use signalbox_wire::id::HookId;
use signalbox_wire::time::Timestamp;

use super::machine::Machine;
use super::operation::Operation;
use super::start::{Start, current};
use super::triggers::Triggered;
use super::unit_of_work::UnitOfWork;
use crate::decision::{Key, Row};
use crate::event::{Level, NewEvent};
use crate::hook::{HookSecret, WebhookTrigger};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A hook is made.
#[derive(Debug, Clone)]
pub struct CreateHook {
    /// The hook.
    pub hook: WebhookTrigger,
}

impl Operation for CreateHook {
    type Output = WebhookTrigger;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, WebhookTrigger), Halt> {
        let mut work = UnitOfWork::new(snapshot, context);
        if work.snapshot.hook(&self.hook.id)?.is_some() {
            return Err(Rejected::HookTaken(self.hook.id.clone()).into());
        }
        // Whoever makes it learns at once that it could not start anything.
        current(&mut work, &self.hook.workflow)?;
        if let Some(agent) = &self.hook.agent {
            work.known_agent(agent)?;
        }
        let hook = WebhookTrigger { created_at: work.context.now, ..self.hook.clone() };
        let data = json!({"hookId": hook.id, "workflowId": hook.workflow});
        work.log(NewEvent::new("hook.created", Level::Info, hook.created_at, &data));
        let version = work.context.version_after(None);
        work.decision.create(Row::WebhookTrigger(Arc::new(hook.clone())), version);
        Ok((work.finish(), hook))
    }
}

/// A hook is removed: its address takes nothing from now on.
#[derive(Debug, Clone)]
pub struct DeleteHook {
    /// Which.
    pub hook: HookId,
}

impl Operation for DeleteHook {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let unknown = || Rejected::UnknownHook(self.hook.to_string());
        let read = snapshot.hook(&self.hook)?.ok_or_else(unknown)?;
        let mut decision = Decision::default();
        decision.remove(Key::WebhookTrigger(self.hook.clone()), read.version);
        let data = json!({"hookId": self.hook});
        decision.events.push(NewEvent::new("hook.deleted", Level::Info, context.now, &data));
        Ok((decision, ()))
    }
}

/// A hook gets another secret.
#[derive(Debug, Clone)]
pub struct RotateHook {
    /// Which.
    pub hook: HookId,
    /// The secret from now on.
    pub secret: HookSecret,
    /// Until when the one before is good too; not at all where this is not said.
    pub earlier_until: Option<Timestamp>,
}

impl Operation for RotateHook {
    type Output = WebhookTrigger;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, WebhookTrigger), Halt> {
        let unknown = || Rejected::UnknownHook(self.hook.to_string());
        let read = snapshot.hook(&self.hook)?.ok_or_else(unknown)?;
        let hook = WebhookTrigger {
            secret: self.secret.clone(),
            earlier: self.earlier_until.map(|until| (read.value.secret.clone(), until)),
            rotated_at: Some(context.now),
            ..WebhookTrigger::clone(&read.value)
        };
        let mut decision = Decision::default();
        let version = context.version_after(Some(read.version));
        decision.put(Row::WebhookTrigger(Arc::new(hook.clone())), Some(read.version), version);
        let data = json!({"hookId": self.hook, "earlierUntil": self.earlier_until});
        decision.events.push(NewEvent::new("hook.rotated", Level::Info, context.now, &data));
        Ok((decision, hook))
    }
}

/// A webhook that is believed has come to a hook.
#[derive(Debug, Clone)]
pub struct ReceiveWebhook {
    /// The hook.
    pub hook: HookId,
    /// The secrets of the hook that the webhook was believed by, one of which must be good still.
    pub believed_by: HookSecret,
    /// The webhook's own id.
    pub webhook: String,
    /// Its body.
    pub input: Map<String, Value>,
    /// The `traceparent` that it came with.
    pub trace: Option<String>,
}

impl Operation for ReceiveWebhook {
    type Output = Triggered;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Triggered), Halt> {
        let mut machine = Machine::new(snapshot, context);
        let now = machine.work.context.now;
        let read = machine.work.snapshot.hook(&self.hook)?;
        let read = read.filter(|read| read.value.secrets(now).any(|secret| *secret == self.believed_by));
        let Some(read) = read else { return Err(Rejected::NotBelieved.into()) };
        machine.work.decision.expects.push((Key::WebhookTrigger(self.hook.clone()), Some(read.version)));
        let hook = &read.value;
        let definition = current(&mut machine.work, &hook.workflow)?;
        let start = Start {
            agent: hook.agent.as_ref(),
            input: self.input.clone(),
            input_place: Some(""),
            trace: self.trace.clone(),
            schedule: None,
            parent: None,
        };
        let session = machine.start(start, &definition)?;
        let data = json!({"hookId": self.hook, "webhookId": self.webhook, "sessionId": session});
        let mut event = NewEvent::new("hook.received", Level::Info, now, &data);
        event.session = Some((session.clone(), 0));
        machine.work.log(event);
        Ok((machine.finish(), Triggered { session, workflow: definition.id.clone() }))
    }
}
