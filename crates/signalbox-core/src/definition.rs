//! A workflow definition as the engine runs it, and the order of its tasks.
//!
//! A definition is immutable once kept: a change makes a new revision, and a running session stays on the
//! one it started with. Order: `next` where a task names one; with no `next` anywhere, the list order; where
//! only some name one, a task without it is the last.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::routing::Route;

/// One revision of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Its author's id for it, unique in the tenant.
    pub id: WorkflowId,
    /// Counts its changes, from 1.
    pub revision: u32,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its author's version of it.
    pub version: Option<String>,
    /// Its tasks, in the order of the list.
    pub tasks: Vec<Step>,
    /// When this revision was kept.
    pub created_at: Timestamp,
}

/// One task as defined; a session's own copy is [`crate::task::Task`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id, unique in the definition.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// The agent it asks for.
    pub agent: Option<AgentId>,
    /// The capability it asks for.
    pub capability: Option<String>,
    /// What the agent is given, with `${…}` expressions still in it.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The task that follows.
    pub next: Option<String>,
    /// How often it is tried again; the operator's default when absent.
    pub retries: Option<u32>,
}

impl Definition {
    /// The first task's position: the one that no other names as its next, earliest in the list.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        if !self.is_explicit() {
            return (!self.tasks.is_empty()).then_some(0);
        }
        let named = |id: &str| self.tasks.iter().any(|task| task.next.as_deref() == Some(id));
        self.tasks.iter().position(|task| !named(&task.id))
    }

    /// The position of the task after the one at `position`.
    #[must_use]
    pub fn after(&self, position: usize) -> Option<usize> {
        if !self.is_explicit() {
            return (position + 1 < self.tasks.len()).then_some(position + 1);
        }
        let next = self.tasks.get(position)?.next.as_deref()?;
        self.tasks.iter().position(|task| task.id == next)
    }

    /// Whether the two say the same, revision and time apart.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.id == other.id
            && self.name == other.name
            && self.description == other.description
            && self.version == other.version
            && self.tasks == other.tasks
    }

    fn is_explicit(&self) -> bool {
        self.tasks.iter().any(|task| task.next.is_some())
    }
}

impl Step {
    /// Where this task goes: the agent or capability it names, else `default`, else any agent.
    #[must_use]
    pub fn route(&self, default: Option<&AgentId>) -> Route {
        match (&self.agent, &self.capability, default) {
            (Some(agent), _, _) => Route::Agent(agent.clone()),
            (None, Some(capability), _) => Route::Capability(capability.clone()),
            (None, None, Some(agent)) => Route::Agent(agent.clone()),
            (None, None, None) => Route::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(tasks: &[(&str, Option<&str>)]) -> Definition {
        Definition {
            id: WorkflowId::parse("w").expect("valid"),
            revision: 1,
            name: "w".into(),
            description: None,
            version: None,
            tasks: tasks
                .iter()
                .map(|(id, next)| Step {
                    id: (*id).into(),
                    name: None,
                    agent: None,
                    capability: None,
                    parameters: Map::new(),
                    next: next.map(Into::into),
                    retries: None,
                })
                .collect(),
            created_at: Timestamp::default(),
        }
    }

    fn order(definition: &Definition) -> Vec<&str> {
        let walk = std::iter::successors(definition.first(), |at| definition.after(*at));
        walk.map(|at| definition.tasks[at].id.as_str()).collect()
    }

    #[test]
    fn the_order_is_the_lists_unless_a_task_names_its_next() {
        assert_eq!(order(&definition(&[])), [""; 0]);
        assert_eq!(order(&definition(&[("a", None), ("b", None), ("c", None)])), ["a", "b", "c"]);
        assert_eq!(order(&definition(&[("c", None), ("a", Some("b")), ("b", Some("c"))])), ["a", "b", "c"]);
    }

    #[test]
    fn a_step_goes_where_it_says_or_to_the_sessions_agent() {
        let agent = |id: &str| AgentId::parse(id).expect("valid");
        let mut step = definition(&[("a", None)]).tasks.remove(0);
        assert_eq!(step.route(None), Route::Any);
        assert_eq!(step.route(Some(&agent("x"))), Route::Agent(agent("x")));
        step.capability = Some("read".into());
        assert_eq!(step.route(Some(&agent("x"))), Route::Capability("read".into()));
        step.agent = Some(agent("y"));
        assert_eq!(step.route(Some(&agent("x"))), Route::Agent(agent("y")));
    }
}
