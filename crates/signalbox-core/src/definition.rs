//! A workflow definition as the engine runs it.
//!
//! A definition is immutable once kept: a change makes a new revision, and a running session stays on the
//! one it started with. Order: `next` where a task names one; with no `next` anywhere, the list order; where
//! only some name one, a task without it is the last.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use signalbox_wire::id::{AgentId, ToolName, WorkflowId};
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
    /// The JSON Schema of what a session may be started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// What comes of a session, with `${…}` expressions in it; the result of the task that ended last when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// How long a session may take from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Tasks of one session that may be with somebody at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Which sessions may not run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Who is told when a session is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Its tasks, in the order of the list.
    pub tasks: Vec<Step>,
    /// When this revision was kept.
    pub created_at: Timestamp,
}

/// Which sessions of a workflow may not run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// The expression whose value they share; all sessions of the workflow when absent.
    pub key: Option<String>,
    /// How many of them may run at once, from 1.
    pub limit: u32,
    /// What becomes of one that comes when they do.
    pub on_busy: OnBusy,
}

/// What becomes of a session that comes while as many run as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBusy {
    /// It waits for its turn.
    Queue,
    /// It is refused.
    Reject,
    /// It takes the place of those before it, which are cancelled.
    Replace,
}

/// Who is told, by a signed webhook, when a session is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Where the webhook goes.
    pub url: String,
    /// Which ends are told of: `completed`, `failed`, `cancelled`; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

/// One task as defined; a session's own copy is [`crate::task::Task`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id, unique in the definition.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// The agent it asks for.
    pub agent: Option<AgentId>,
    /// The capability it asks for.
    pub capability: Option<String>,
    /// What whoever does it is given, with `${…}` expressions still in it.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The task that follows.
    pub next: Option<String>,
    /// Tasks that must have gone well before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// How often it is tried again; the operator's default when absent.
    pub retries: Option<u32>,
    /// Who or what does it.
    #[serde(default, skip_serializing_if = "Kind::is_agent")]
    pub kind: Kind,
    /// How it is run.
    #[serde(default, skip_serializing_if = "Rules::is_default")]
    pub rules: Rules,
}

/// Who or what does a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An agent.
    #[default]
    Agent,
    /// A registered tool, called by the server; its arguments are the task's parameters.
    Tool(ToolName),
    /// A session of its own; its input are the task's parameters.
    Workflow(WorkflowId),
    /// Nobody: it is done when this signal comes, and its result is what the signal carries.
    Wait {
        /// The signal's name.
        signal: String,
    },
    /// Somebody who agrees to the exact parameters of the tasks that follow it.
    Approve {
        /// Who may, in words for people.
        who: Option<String>,
        /// To what, in words for people; may hold expressions.
        what: Option<String>,
    },
    /// Nobody: it is done when this time has passed. A duration, or an expression that gives one or a moment.
    Sleep(String),
}

/// How a task is run, whoever does it. A session copies it for each of its tasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// The task is passed over when this expression is not true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The task is done once for each item of the list that this expression gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// How many of those may be with somebody at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// What is tried again, and after how long; the operator's defaults where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryRule>,
    /// How long one attempt may take from its dispatch; for a wait or an approval, from its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How long it may wait for an agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_timeout: Option<Duration>,
    /// How long its agent may be silent about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout: Option<Duration>,
    /// Among tasks that wait for the same agents the higher goes first.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// What its failure means to the session.
    #[serde(skip_serializing_if = "OnFailure::is_fail")]
    pub on_failure: OnFailure,
    /// What undoes it when the session fails or is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Box<Compensation>>,
}

/// What is tried again, and after how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RetryRule {
    /// The longest wait before the second attempt.
    pub initial: Option<Duration>,
    /// How much longer each further wait may be.
    pub factor: Option<f64>,
    /// The longest wait of all.
    pub max: Option<Duration>,
    /// Kinds of failure ([`crate::task::Fault`]) or codes of the agent's own; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<String>,
}

/// What a task's failure means to its session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The session fails.
    #[default]
    Fail,
    /// What follows the task goes on as if it had gone well.
    Continue,
    /// The session goes on with another task, and not with what follows this one.
    Goto(String),
}

/// What undoes a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Compensation {
    /// The agent it asks for.
    pub agent: Option<AgentId>,
    /// The capability it asks for.
    pub capability: Option<String>,
    /// The tool that does it, where no agent does.
    pub tool: Option<ToolName>,
    /// What whoever does it is given; expressions see the task's result and everything that it saw itself.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// How often it is tried again; the operator's default when absent.
    pub retries: Option<u32>,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
}

impl Kind {
    /// Whether an agent does it.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        *self == Self::Agent
    }

    /// Whether somebody has it in hand while it is under way.
    #[must_use]
    pub fn takes_room(&self) -> bool {
        matches!(self, Self::Agent | Self::Tool(_) | Self::Workflow(_))
    }
}

impl Rules {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl OnFailure {
    /// Whether the session fails.
    #[must_use]
    pub fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it may skip by reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl Definition {
    /// A definition of these tasks that says nothing else.
    #[must_use]
    pub fn of(id: WorkflowId, tasks: Vec<Step>) -> Self {
        Self {
            name: id.to_string(),
            id,
            revision: 0,
            description: None,
            version: None,
            input: None,
            output: None,
            timeout: None,
            max_parallel: None,
            concurrency: None,
            notify: None,
            tasks,
            created_at: Timestamp::default(),
        }
    }

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
        let as_of_other = Self { revision: other.revision, created_at: other.created_at, ..self.clone() };
        as_of_other == *other
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
        let step = |(id, next): &(&str, Option<&str>)| Step {
            id: (*id).into(),
            next: next.map(Into::into),
            ..Step::default()
        };
        Definition::of(WorkflowId::parse("w").expect("valid"), tasks.iter().map(step).collect())
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
