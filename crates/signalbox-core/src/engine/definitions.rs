//! Workflow definitions are kept, each change as a new revision, and removed.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::WorkflowId;

use super::operation::Operation;
use super::unit_of_work::UnitOfWork;
use crate::decision::{Key, Row, Workflow};
use crate::definition::Definition;
use crate::event::{Level, NewEvent};
use crate::limits::REVISIONS_KEPT_MAX;
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A definition is to be kept. One that says the same as the current revision changes nothing.
#[derive(Debug, Clone)]
pub struct ApplyDefinition {
    /// The definition; its revision is given here.
    pub definition: Box<Definition>,
}

impl Operation for ApplyDefinition {
    /// The definition as it is kept, and whether its id is new.
    type Output = (Arc<Definition>, bool);

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        let is_new = snapshot.kept_workflow(&self.definition.id)?.is_none();
        let mut work = UnitOfWork::new(snapshot, context);
        let kept = keep(&mut work, &self.definition)?;
        Ok((work.finish(), (kept, is_new)))
    }
}

/// Keeps `definition` and returns it with its revision. Sessions carry their own tasks, so the oldest revision can go
/// where more than [`REVISIONS_KEPT_MAX`] would be kept.
pub(super) fn keep(work: &mut UnitOfWork<'_, '_>, definition: &Definition) -> Result<Arc<Definition>, Halt> {
    let current = work.snapshot.workflow(&definition.id)?;
    // What is at hand of a deleted one's revisions may be older than its end.
    if let Some(current) = current.as_ref().filter(|current| !current.value.is_deleted)
        && let Some(kept) = work.snapshot.definition(&definition.id, current.value.revision)?
        && kept.value.says_the_same(definition)
    {
        work.decision.expects.push((Key::Workflow(definition.id.clone()), Some(current.version)));
        return Ok(kept.value);
    }
    let now = work.context.now;
    let revision = current.as_ref().map_or(1, |current| current.value.revision + 1);
    let kept = Arc::new(Definition { revision, created_at: now, ..definition.clone() });
    let before = current.as_ref().map(|current| &current.value).filter(|current| !current.is_deleted);
    let created_at = before.map_or(now, |before| before.created_at);
    let first = before.map_or(revision, |before| before.oldest.max(1));
    let oldest = first.max(revision.saturating_sub(REVISIONS_KEPT_MAX - 1));
    for dropped in first..oldest {
        work.decision.remove_guarded(Key::Definition(kept.id.clone(), dropped));
    }
    let read = current.map(|current| current.version);
    let version = work.context.version_after(read);
    let row = Workflow { id: kept.id.clone(), revision, oldest, is_deleted: false, created_at };
    work.decision.put(Row::Workflow(row), read, version);
    work.decision.put_guarded(Row::Definition(Arc::clone(&kept)), version);
    let data = json!({"workflowId": kept.id, "revision": revision, "tasks": kept.tasks.len()});
    work.log(NewEvent::new("workflow.applied", Level::Info, now, &data));
    work.kept.push(Arc::clone(&kept));
    Ok(kept)
}

/// A definition is removed with all its revisions. Sessions carry their own tasks and go on.
#[derive(Debug, Clone)]
pub struct DeleteDefinition {
    /// Which.
    pub workflow: WorkflowId,
}

impl Operation for DeleteDefinition {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let unknown = || Rejected::UnknownWorkflow(self.workflow.to_string());
        let current = snapshot.kept_workflow(&self.workflow)?.ok_or_else(unknown)?;
        let mut decision = Decision::default();
        let row = Workflow { is_deleted: true, ..Workflow::clone(&current.value) };
        let version = context.version_after(Some(current.version));
        decision.put(Row::Workflow(row), Some(current.version), version);
        // Some of them may be gone already.
        for revision in current.value.oldest.max(1)..=current.value.revision {
            decision.remove_guarded(Key::Definition(self.workflow.clone(), revision));
        }
        let data = json!({"workflowId": self.workflow});
        decision.events.push(NewEvent::new("workflow.deleted", Level::Info, context.now, &data));
        Ok((decision, ()))
    }
}

/// A definition goes back to one of its revisions: what that says is kept as a new one.
#[derive(Debug, Clone)]
pub struct RollBack {
    /// Which workflow.
    pub workflow: WorkflowId,
    /// To which revision.
    pub revision: u32,
}

impl Operation for RollBack {
    type Output = Arc<Definition>;

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Arc<Definition>), Halt> {
        let unknown = || Rejected::UnknownWorkflow(self.workflow.to_string());
        snapshot.kept_workflow(&self.workflow)?.ok_or_else(unknown)?;
        let wanted = snapshot.definition(&self.workflow, self.revision)?.ok_or_else(|| self.gone())?;
        let mut work = UnitOfWork::new(snapshot, context);
        let kept = keep(&mut work, &wanted.value)?;
        Ok((work.finish(), kept))
    }
}

impl RollBack {
    fn gone(&self) -> Rejected {
        Rejected::UnknownRevision { workflow: self.workflow.clone(), revision: self.revision }
    }
}

/// A revision that is not the current one is removed. Sessions carry their own tasks and go on.
#[derive(Debug, Clone)]
pub struct DeleteRevision {
    /// Of which workflow.
    pub workflow: WorkflowId,
    /// Which.
    pub revision: u32,
}

impl Operation for DeleteRevision {
    type Output = ();

    fn decide(&self, snapshot: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let (workflow, revision) = (self.workflow.clone(), self.revision);
        let unknown = || Rejected::UnknownWorkflow(workflow.to_string());
        let current = snapshot.kept_workflow(&workflow)?.ok_or_else(unknown)?;
        if current.value.revision == revision {
            return Err(Rejected::CurrentRevision { workflow, revision }.into());
        }
        let gone = || Rejected::UnknownRevision { workflow: workflow.clone(), revision };
        let kept = snapshot.definition(&workflow, revision)?.ok_or_else(gone)?;
        let mut decision = Decision::default();
        // It stays one that is not the current one.
        decision.expects.push((Key::Workflow(workflow.clone()), Some(current.version)));
        decision.remove(Key::Definition(workflow.clone(), revision), kept.version);
        let data = json!({"workflowId": workflow, "revision": revision});
        decision.events.push(NewEvent::new("workflow.revision_deleted", Level::Info, context.now, &data));
        Ok((decision, ()))
    }
}
