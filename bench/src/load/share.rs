//! One thread's share of a run.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use tokio::task::{JoinHandle, LocalSet};

use super::outcome::Tally;

/// Runs the tasks that `begin` spawns on this thread, until all have ended or it is time to give up, and answers what they
/// counted together.
pub(super) fn run_share(
    give_up: Instant,
    begin: impl FnOnce(&Rc<RefCell<Tally>>) -> anyhow::Result<Vec<JoinHandle<()>>>,
) -> anyhow::Result<Tally> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let tasks = begin(&tally)?;
        let all = async {
            for task in tasks {
                task.await?;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout_at(give_up.into(), all).await {
            Ok(ended) => ended,
            Err(_) => {
                tally.borrow_mut().fault("no answer by the end of the run".to_owned(), &[]);
                Ok(())
            }
        }
    })?;
    // Tasks that never ended hold the tally; they go with the set that they run in.
    drop(local);
    let tally = Rc::try_unwrap(tally).map_err(|_| anyhow::anyhow!("a connection outlived its thread"))?;
    Ok(tally.into_inner())
}
