//! The message that carries an attempt of a task to its agent. It is no row: it follows from the session and the task,
//! and is made when it is sent. Only a dead letter of it is kept.

use serde_json::Map;
use signalbox_wire::outbound::{self, WorkflowMessage};
use signalbox_wire::time::Timestamp;

use crate::delivery::{Message, MessageKind, MessageStatus, TaskAttempt};
use crate::due::Lane;
use crate::limits::Policy;
use crate::session::{SessionEvent, SessionState};
use crate::task::Task;

/// The message that carries the present attempt of a task, ready to be sent once more. The parameters refer to payloads
/// where the task does.
#[must_use]
pub fn of_task(state: &SessionState, task: &Task, policy: &Policy) -> Message {
    let (session, attempt) = (&state.session, task.attempt);
    let id = task.id.message(attempt);
    let dispatched_at = task.dispatched_at.unwrap_or(session.updated_at);
    let none = Map::new();
    // Handlers are named by what a definition says: which item of a list it is for stands in the task's id.
    let instance = task.instance.as_ref().filter(|_| task.undoes.is_none());
    let step =
        instance.and_then(|instance| state.tasks.get(instance.of)).map_or(&task.step, |whole| &whole.step);
    let name = task.name.as_deref().unwrap_or(step);
    let body = outbound::text(&WorkflowMessage::task(
        (&id, dispatched_at, task.times_out_at(policy.task_timeout)),
        (name, &task.id.attempt_name(attempt)),
        task.parameters.as_ref().unwrap_or(&none),
        session.context_of(task),
    ));
    let undelivered = task.undelivered.as_ref();
    Message {
        id,
        kind: MessageKind::Task,
        agent: task.agent.clone(),
        task: Some(TaskAttempt { session: session.id.clone(), task: task.id.clone(), attempt }),
        url: None,
        lane: Lane::default(),
        body,
        trace: session.trace.clone(),
        status: MessageStatus::Scheduled,
        attempts: task.tries(),
        attempts_max: policy.delivery_attempts,
        created_at: dispatched_at,
        redriven_at: None,
        next_at: Some(task.sent_next_at().unwrap_or(dispatched_at)),
        settled_at: None,
        last_status: undelivered.and_then(|undelivered| undelivered.status),
        last_error: undelivered.map(|undelivered| undelivered.error.clone()),
    }
}

/// Where the message of one attempt of a task was by its session's history, as far as that tells. Without a body: that
/// of an earlier attempt is not kept.
#[derive(Debug)]
pub struct Course {
    attempt: u32,
    message: Message,
    is_known: bool,
}

impl Course {
    /// The message of this attempt, of which nothing is known yet.
    #[must_use]
    pub fn new(state: &SessionState, task: &Task, attempt: u32, policy: &Policy) -> Self {
        let message = Message {
            id: task.id.message(attempt),
            task: Some(TaskAttempt { session: state.session.id.clone(), task: task.id.clone(), attempt }),
            body: String::new(),
            ..of_task(state, task, policy)
        };
        Self { attempt, message, is_known: false }
    }

    /// What happened next in the session.
    pub fn follow(&mut self, at: Timestamp, event: &SessionEvent) {
        use SessionEvent as E;
        let Some(meant) = &self.message.task else { return };
        let of = match event {
            E::TaskDispatched { attempt, .. } => Some(*attempt),
            other => other.attempt(),
        };
        if event.task() != Some(&meant.task) || of != Some(self.attempt) {
            return;
        }
        let message = &mut self.message;
        match event {
            E::TaskDispatched { agent, .. } => {
                self.is_known = agent.is_some();
                message.agent.clone_from(agent);
                (message.created_at, message.next_at) = (at, Some(at));
                (message.attempts, message.last_status, message.last_error) = (0, None, None);
            }
            E::DeliveryFailed { tries, status, error, retry_at, .. } => {
                (message.attempts, message.next_at) = (*tries, Some(*retry_at));
                (message.last_status, message.last_error) = (*status, Some(error.clone()));
            }
            _ if message.status != MessageStatus::Scheduled => {}
            E::TaskRunning { .. } | E::TaskProgress { .. } | E::TaskCompleted { .. } => self.taken(at),
            // What ends an attempt that was not sent in vain is most likely what its agent said of it.
            E::TaskRetrying { .. } | E::TaskFailed { .. } if message.attempts == 0 => self.taken(at),
            E::TaskRetrying { .. }
            | E::TaskFailed { .. }
            | E::TaskReturned { .. }
            | E::TaskCancelled { .. } => {
                (message.status, message.next_at, message.settled_at) =
                    (MessageStatus::Cancelled, None, Some(at));
            }
            _ => {}
        }
    }

    /// The agent is known to have it since `at`.
    pub fn taken(&mut self, at: Timestamp) {
        let message = &mut self.message;
        if message.status == MessageStatus::Scheduled {
            message.attempts += 1;
            (message.status, message.next_at, message.settled_at) =
                (MessageStatus::Delivered, None, Some(at));
            (message.last_status, message.last_error) = (None, None);
        }
    }

    /// The message; `None` where the history tells of none, as for an attempt that a tool made.
    #[must_use]
    pub fn message(self) -> Option<Message> {
        self.is_known.then_some(self.message)
    }
}
