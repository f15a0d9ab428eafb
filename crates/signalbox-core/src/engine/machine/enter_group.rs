//! A session comes to its concurrency group; it goes on if it may.

use signalbox_wire::id::SessionId;

use super::command::{Command, Commands};
use crate::Halt;
use crate::engine::concurrency::Admission;
use crate::engine::unit_of_work::UnitOfWork;
use crate::session::ConcurrencyClaim;

pub(super) fn enter_group(
    session: &SessionId,
    claim: &ConcurrencyClaim,
    admission: Admission,
    work: &mut UnitOfWork<'_, '_>,
    then: &mut Commands,
) -> Result<(), Halt> {
    let current = work.group_mut(&claim.group)?;
    current.limit = claim.limit.max(1);
    match admission {
        Admission::GoesOn => {
            current.holders.push(session.clone());
            then.push(Command::advance(session));
            Ok(())
        }
        Admission::Waits => {
            current.queue.push(session.clone());
            work.queue_session(session, &claim.group)?;
            work.admit_next(&claim.group)
        }
        Admission::Replaces => {
            then.push(Command::ReplaceInGroup { session: session.clone(), group: claim.group.clone() });
            Ok(())
        }
    }
}
