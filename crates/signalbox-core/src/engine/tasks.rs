//! Tasks that nobody does: those that wait, and those that are passed over.

use signalbox_wire::id::SessionId;
use signalbox_wire::time::Timestamp;

use super::unit_of_work::UnitOfWork;
use crate::Halt;
use crate::due::{Due, DueJob};
use crate::session::SessionEvent;
use crate::task::{Subject, Task};

impl UnitOfWork<'_, '_> {
    /// Passes over the task at `position`; `is_unreached`, where nothing that happened leads to it.
    pub(super) fn skip_task(
        &mut self,
        session: &SessionId,
        position: usize,
        reason: &str,
        is_unreached: bool,
    ) -> Result<(), Halt> {
        let Some(task) = self.known_session(session)?.tasks.get(position) else { return Ok(()) };
        let event = SessionEvent::TaskSkipped {
            task: task.id.clone(),
            step: task.step.clone(),
            reason: reason.to_owned(),
            is_unreached,
        };
        self.emit(session, &event)
    }

    /// A task waits from now on, at most until then.
    pub(super) fn begin_waiting(
        &mut self,
        session: &SessionId,
        task: &Task,
        waiting_for: String,
        until: Option<Timestamp>,
        subject: Option<Subject>,
    ) -> Result<(), Halt> {
        if let Some(at) = until {
            let work = DueJob::Wake { session: session.clone(), task: task.id.clone() };
            self.decision.arm(Due::new(work, at));
        }
        let event = SessionEvent::TaskBegun {
            task: task.id.clone(),
            step: task.step.clone(),
            waiting_for,
            until,
            subject,
        };
        self.emit(session, &event)
    }
}
