//! What decisions have written since the last commit: many are made on rows in memory and become one commit, for
//! only the last version of a row has to be kept.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use signalbox_core::decision::{Key, Row, Write};
use signalbox_core::session::SessionState;
use signalbox_core::snapshot::Loaded;
use signalbox_core::{Decision, Need, Snapshot, Versioned};
use signalbox_store::Store;
use signalbox_wire::id::{AgentId, SessionId, TenantId, WorkflowId};

/// One agent and one workflow, and the sessions that they are about.
pub(super) struct World {
    agent: AgentId,
    rows: HashMap<Key, Loaded>,
    /// Rows that the next commit creates.
    created: HashMap<Key, (Row, i64)>,
    next: Decision,
}

impl World {
    /// The world as the store has it.
    pub(super) async fn of(
        store: &Store,
        tenant: &TenantId,
        workflow: &WorkflowId,
        agent: &AgentId,
    ) -> anyhow::Result<Self> {
        let mut rows = HashMap::new();
        let row = store.agent(tenant, agent).await?.context("the agent is not in the store")?;
        rows.insert(Key::Agent(agent.clone()), Loaded::Agent(row));
        let row = store.status(tenant, agent).await?.context("the agent has no status")?;
        rows.insert(Key::Status(agent.clone()), Loaded::Status(row));
        let row = store.workflow(tenant, workflow).await?.context("the workflow is not in the store")?;
        let revision = row.value.revision;
        rows.insert(Key::Workflow(workflow.clone()), Loaded::Workflow(row));
        let row =
            store.definition(tenant, workflow, Some(revision)).await?.context("its definition neither")?;
        rows.insert(Key::Definition(workflow.clone(), revision), Loaded::Definition(row));
        Ok(Self { agent: agent.clone(), rows, created: HashMap::new(), next: Decision::default() })
    }

    /// Shows a decision what it needs.
    pub(super) fn show(&self, need: &Need, view: &mut Snapshot) {
        for key in keys(need) {
            let row = self.rows.get(&key).cloned();
            view.show(key, row);
        }
        match need {
            Need::Candidates(route) => view.show_candidates(route.clone(), vec![self.agent.clone()]),
            Need::Waiting(routes) => view.show_waiting(routes.clone(), Vec::new()),
            _ => {}
        }
    }

    /// Takes over what a decision writes. What its agent is and holds stays in memory: it ends as it began.
    pub(super) fn absorb(&mut self, decision: Decision) {
        self.next.events.extend(decision.events);
        let mut tasks = Vec::new();
        for write in decision.writes {
            let Write::Put { row, version, .. } = write else { continue };
            let key = row.key();
            match &row {
                Row::Status(status) => {
                    self.rows.insert(key, Loaded::Status(Versioned { version, value: Arc::clone(status) }));
                    continue;
                }
                Row::Task(_, task) => tasks.push(Arc::clone(task)),
                Row::Session(session) => {
                    let mut state: Vec<_> = self
                        .state(&session.id)
                        .map_or_else(Vec::new, |state| state.tasks.iter().cloned().collect());
                    for task in tasks.drain(..) {
                        state.retain(|other| other.id != task.id);
                        state.push(task);
                    }
                    state.sort_by_key(|task| task.position);
                    let value = Arc::new(SessionState {
                        session: Arc::clone(session),
                        tasks: state.into_iter().collect(),
                    });
                    self.rows.insert(key.clone(), Loaded::Session(Versioned { version, value }));
                }
                _ => continue,
            }
            self.created.insert(key, (row, version));
        }
    }

    /// The name of the task that a session has handed to the agent.
    pub(super) fn handed_over(&self, session: &SessionId) -> anyhow::Result<String> {
        let task =
            self.state(session).and_then(|state| state.tasks.get(0)).context("the session has no task")?;
        anyhow::ensure!(task.attempt > 0, "the task was not handed over");
        Ok(task.id.attempt_name(task.attempt))
    }

    /// Forgets a session once it is over.
    pub(super) fn forget(&mut self, session: &SessionId) -> anyhow::Result<()> {
        let is_over = self.state(session).is_some_and(|state| state.session.status.is_over());
        anyhow::ensure!(is_over, "session {session} was to be over");
        self.rows.remove(&Key::Session(session.clone()));
        Ok(())
    }

    /// Everything since the last time, as one decision.
    pub(super) fn take(&mut self) -> Decision {
        for (row, version) in std::mem::take(&mut self.created).into_values() {
            self.next.create(row, version);
        }
        std::mem::take(&mut self.next)
    }

    fn state(&self, session: &SessionId) -> Option<&SessionState> {
        match self.rows.get(&Key::Session(session.clone()))? {
            Loaded::Session(row) => Some(&row.value),
            _ => None,
        }
    }
}

/// Rows that a decision asks for by name.
fn keys(need: &Need) -> Vec<Key> {
    match need {
        Need::Row(key) => vec![key.clone()],
        Need::Rows(keys) => keys.clone(),
        Need::Candidates(_) | Need::Waiting(_) | Need::OpenCommands(_) => Vec::new(),
    }
}
