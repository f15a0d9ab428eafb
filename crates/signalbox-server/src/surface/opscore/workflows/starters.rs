//! What starts a workflow by itself: schedules, and hooks. One that some of them start is not removed by a slip.

use signalbox_store::{Page, Store};
use signalbox_wire::id::{TenantId, WorkflowId};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::http::problem::Refusal;

/// Entries that are read in one go.
const GO: usize = 200;
/// Pages that are read of the schedules, and as many of the hooks.
const PAGES_MAX: usize = 50;
/// Starters that a refusal names; where there are more, it says so.
const NAMED_MAX: usize = 5;

/// What was found on the pages that were read.
#[derive(Debug, Default)]
struct Found {
    /// Each as a noun, the path of its kind, and its id; one more than are named at the most.
    starters: Vec<(&'static str, &'static str, String)>,
    /// Whether there were further pages.
    is_partial: bool,
}

/// Refuses where anything starts the workflow by itself, and names it with the cure.
///
/// One that is made between the look and the removal is not seen: it says of each of its times why it starts nothing.
pub(super) async fn none(store: &Store, tenant: &TenantId, workflow: &WorkflowId) -> Result<(), Refusal> {
    let mut found = Found::default();
    let mut page = Page { limit: GO, after: None };
    for _ in 0..PAGES_MAX {
        let listed = store.schedules(tenant, &page).await?;
        let meant = listed.items.iter().filter(|schedule| schedule.plan.workflow == *workflow);
        found.take(meant.map(|schedule| ("schedule", "schedules", schedule.id.to_string())));
        page.after = listed.next;
        if page.after.is_none() || found.is_enough() {
            break;
        }
    }
    found.is_partial |= page.after.take().is_some();
    for _ in 0..PAGES_MAX {
        if found.is_enough() {
            break;
        }
        let listed = store.hooks(tenant, &page).await?;
        let meant = listed.items.iter().filter(|hook| hook.workflow == *workflow);
        found.take(meant.map(|hook| ("webhook", "hooks", hook.id.to_string())));
        page.after = listed.next;
        if page.after.is_none() {
            break;
        }
    }
    found.is_partial |= page.after.is_some();
    match found.detail(workflow) {
        None => Ok(()),
        Some(detail) => Err(Problem::new(ProblemKind::WorkflowInUse, detail).into()),
    }
}

impl Found {
    fn take(&mut self, starters: impl Iterator<Item = (&'static str, &'static str, String)>) {
        let room = (NAMED_MAX + 1).saturating_sub(self.starters.len());
        self.starters.extend(starters.take(room));
    }

    /// Whether nothing would be said of a further one.
    fn is_enough(&self) -> bool {
        self.starters.len() > NAMED_MAX
    }

    /// What is said of the workflow where it may not go.
    fn detail(&self, workflow: &WorkflowId) -> Option<String> {
        if self.starters.is_empty() {
            return self.is_partial.then(|| {
                format!(
                    "There are more schedules or hooks than the {} that are looked through for one that starts workflow \
                     {workflow}; ask with force=true: then none of them starts it any more",
                    PAGES_MAX * GO
                )
            });
        }
        let named = || self.starters.iter().take(NAMED_MAX);
        let names: Vec<String> = named().map(|(noun, _, id)| format!("{noun} {id}")).collect();
        let cures: Vec<String> =
            named().map(|(_, path, id)| format!("DELETE /v1/opscore/{path}/{id}")).collect();
        let more = match (self.is_enough(), self.is_partial) {
            (true, _) => " and more",
            (false, true) => " and perhaps more",
            (false, false) => "",
        };
        Some(format!(
            "Workflow {workflow} is started by {}{more}; delete what starts it first ({}), or let it start another \
             workflow, or ask with force=true: then it starts nothing any more",
            names.join(", "),
            cures.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(number: usize, is_partial: bool) -> String {
        let mut found = Found { is_partial, ..Found::default() };
        found.take((0..number).map(|number| ("schedule", "schedules", format!("s{number}"))));
        assert!(found.starters.len() <= NAMED_MAX + 1, "no more are kept than are needed");
        found.detail(&WorkflowId::parse("w").expect("valid")).unwrap_or_default()
    }

    #[test]
    fn what_is_not_named_or_not_read_is_told() {
        assert_eq!(found(0, false), "");
        assert!(found(0, true).contains("more schedules or hooks than the 10000"));
        assert!(found(5, false).contains("schedule s3, schedule s4; delete"));
        assert!(found(5, true).contains("schedule s4 and perhaps more; delete"));
        assert!(found(100, true).contains("schedule s4 and more; delete"));
    }
}
