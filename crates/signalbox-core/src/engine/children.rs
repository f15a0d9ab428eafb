//! Sessions that do a task of another session end with it.

use signalbox_wire::id::SessionId;

use super::unit_of_work::UnitOfWork;
use crate::due::{Due, DueJob};
use crate::task::Task;

impl UnitOfWork<'_, '_> {
    /// The task of a child is no longer wanted, nor is the child. One that tells of its own end is over already.
    pub(super) fn end_child(&mut self, child: &SessionId, task: &Task) {
        if self.is_known_over(child) {
            return;
        }
        let reason = format!("the task {} that it did is no longer wanted", task.step);
        let work = DueJob::End { session: child.clone(), reason };
        self.decision.arm(Due::new(work, self.context.now));
    }
}
