//! A session takes the place of all that came to its group before it. Those that undo what they did keep theirs until
//! they have, so it waits all the same.

use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::SessionStatus;

pub(super) fn replace_in_group(
    session: &SessionId,
    group: &str,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let current = work.group_mut(group)?;
    let before: Vec<SessionId> = current.queue.drain(..).chain(current.holders.iter().cloned()).collect();
    current.queue.push(session.clone());
    work.queue_session(session, group)?;
    let group = group.to_owned();
    for other in before {
        then.push(if work.session(&other)?.is_none() {
            Command::LeaveGroup { session: other, group: group.clone() }
        } else {
            let reason = format!("session {session} took its place");
            Command::Terminate { session: other, status: SessionStatus::Cancelled, reason }
        });
    }
    then.push(Command::AdmitNext { group });
    Ok(())
}
