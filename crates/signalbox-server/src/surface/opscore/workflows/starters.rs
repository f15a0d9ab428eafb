//! What starts a workflow by itself: schedules, and hooks. One that some of them start is not removed by a slip.

use signalbox_store::{Page, Store};
use signalbox_wire::id::{TenantId, WorkflowId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::http::problem::Refusal;

/// Entries that are read in one go.
const GO: usize = 200;
/// Starters that a refusal names; of more it says how many there are.
const NAMED_MAX: usize = 5;

/// Refuses where anything starts the workflow by itself, and names it with the cure.
///
/// One that is made between the look and the removal is not seen: it says of each of its times why it starts nothing.
pub(super) async fn none(store: &Store, tenant: &TenantId, workflow: &WorkflowId) -> Result<(), Refusal> {
    let mut starters = Vec::new();
    let mut page = Page { limit: GO, after: None };
    loop {
        let listed = store.schedules(tenant, &page).await?;
        let meant = listed.items.iter().filter(|schedule| schedule.plan.workflow == *workflow);
        starters.extend(meant.map(|schedule| ("schedule", "schedules", schedule.id.to_string())));
        page.after = listed.next;
        if page.after.is_none() {
            break;
        }
    }
    loop {
        let listed = store.hooks(tenant, &page).await?;
        let meant = listed.items.iter().filter(|hook| hook.workflow == *workflow);
        starters.extend(meant.map(|hook| ("webhook", "hooks", hook.id.to_string())));
        page.after = listed.next;
        if page.after.is_none() {
            break;
        }
    }
    if starters.is_empty() {
        return Ok(());
    }
    let named: Vec<String> =
        starters.iter().take(NAMED_MAX).map(|(noun, _, id)| format!("{noun} {id}")).collect();
    let more = match starters.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let cures =
        starters.iter().take(NAMED_MAX).map(|(_, path, id)| format!("DELETE /v1/opscore/{path}/{id}"));
    let detail = format!(
        "Workflow {workflow} is started by {}{more}; delete what starts it first ({}), or let it start another workflow, \
         or ask with force=true: then it starts nothing any more",
        named.join(", "),
        cures.collect::<Vec<_>>().join(", ")
    );
    Err(Problem::new(ProblemKind::WorkflowInUse, detail).into())
}
