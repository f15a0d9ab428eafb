//! Tasks that are no longer wanted, and the agents that are told to stop them.

use signalbox_wire::id::{AgentId, MessageId, SessionId};
use signalbox_wire::outbound::{self, WorkflowMessage};

use super::dispatch::NewMessage;
use super::unit_of_work::UnitOfWork;
use crate::Halt;
use crate::delivery::{MessageKind, TaskAttempt};
use crate::due::{Due, DueJob};
use crate::limits::STOPPING_MAX;
use crate::session::SessionEvent;
use crate::task::Task;

impl UnitOfWork<'_, '_> {
    /// A task is no longer wanted: whoever has it in hand is told.
    pub(super) fn take_away(&mut self, session: &SessionId, task: &Task, reason: &str) -> Result<(), Halt> {
        let attempt = TaskAttempt { session: session.clone(), task: task.id.clone(), attempt: task.attempt };
        let is_new = self.dispatches_now(&attempt);
        if !is_new && self.has_in_hand(task, &attempt)? {
            self.tell_to_stop(session, task, reason)?;
            self.count_as_stopping(session, task)?;
        }
        let may_be_unsent = !is_new && self.may_be_unsent(&attempt, task)?;
        self.release(session, task)?;
        if may_be_unsent {
            // Whoever comes to send it finds whether it ever was, and so whether there is anything to stop.
            self.keep_dispatch(&attempt);
        }
        let event = SessionEvent::TaskCancelled {
            task: task.id.clone(),
            step: task.step.clone(),
            attempt: task.attempt,
        };
        self.emit(session, &event)
    }

    /// Whether its agent holds this attempt. One that has started anew, or gives back what it had, does so no more, though not all of
    /// that may have been returned yet.
    fn has_in_hand(&mut self, task: &Task, attempt: &TaskAttempt) -> Result<bool, Halt> {
        let Some(agent) = task.agent.as_ref().filter(|_| task.status.is_held()) else { return Ok(false) };
        let Some(work) = self.agent(agent)? else { return Ok(false) };
        Ok(work.status.held.iter().any(|held| held.is(attempt)))
    }

    pub(super) fn tell_to_stop(
        &mut self,
        session: &SessionId,
        task: &Task,
        reason: &str,
    ) -> Result<(), Halt> {
        let id = MessageId::new(self.context.now, self.context.bits());
        let state = self.known_session(session)?;
        let trace = state.session.trace.clone();
        let session = &state.session;
        let body = outbound::text(&WorkflowMessage::cancel(
            (&id, session.updated_at),
            &task.id.attempt_name(task.attempt),
            reason,
            session.context_of(task),
        ));
        self.send(NewMessage {
            id,
            kind: MessageKind::Task,
            agent: task.agent.clone(),
            url: None,
            body,
            trace,
        });
        Ok(())
    }

    /// An agent that is told to stop is at it until it says otherwise, or has had its time to.
    fn count_as_stopping(&mut self, session: &SessionId, task: &Task) -> Result<(), Halt> {
        let Some(agent) = &task.agent else { return Ok(()) };
        let Some(work) = self.agent(agent)? else { return Ok(()) };
        let (session, attempt) = (session.clone(), task.attempt);
        work.status_mut().stopping.push(TaskAttempt { session, task: task.id.clone(), attempt });
        let stop = DueJob::Stop { agent: agent.clone(), task: task.id.clone(), attempt };
        self.decision.arm(Due::new(stop, self.context.now + STOPPING_MAX));
        Ok(())
    }

    /// Some of the attempts that an agent was told to stop are over.
    pub(super) fn stopped(
        &mut self,
        agent: &AgentId,
        is_over: impl Fn(&TaskAttempt) -> bool,
    ) -> Result<(), Halt> {
        let Some(work) = self.agent(agent)? else { return Ok(()) };
        let over: Vec<TaskAttempt> =
            work.status.stopping.iter().filter(|stopping| is_over(stopping)).cloned().collect();
        if over.is_empty() {
            return Ok(());
        }
        work.status_mut().stopping.retain(|stopping| !over.contains(stopping));
        for TaskAttempt { task, attempt, .. } in over {
            self.decision.disarm(DueJob::Stop { agent: agent.clone(), task, attempt }.id());
        }
        Ok(())
    }
}
