//! What open sessions wait for, in words: of all that their tasks wait for, what needs somebody most.
//!
//! Who could do a task is looked up once for each routing key, and an agent once, so that a list of many sessions asks for it
//! once.

use std::collections::HashMap;
use std::sync::Arc;

use signalbox_core::agent::{Agent, AgentStatus};
use signalbox_core::definition::Kind;
use signalbox_core::routing::{self, Route};
use signalbox_core::session::{SessionState, SessionStatus};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_store::{AgentFilter, Page, Store, StoreError};
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::nearest::nearest;
use signalbox_wire::opscore::{SessionView, TaskView};
use signalbox_wire::time::Timestamp;

use crate::surface::opscore::convert::{self, TaskWait};

/// Agents that are looked at to find one that is there.
const AGENTS_LOOKED_AT: usize = 50;
/// Routing keys that are looked up for one request; of later ones it is told what they are, not who is there.
const ROUTES_MAX: usize = 100;
/// Agents that are looked up for one request because they hold tasks; later ones are told by their ids.
const HOLDERS_MAX: usize = 100;

/// What one request knows of who waits for what.
pub(super) struct Waits<'a> {
    store: &'a Store,
    tenant: &'a TenantId,
    routes: HashMap<String, Awaited>,
    statuses: HashMap<AgentId, Option<Arc<AgentStatus>>>,
    names: HashMap<AgentId, Option<String>>,
}

/// What a session waits for.
pub(super) struct SessionWait {
    words: String,
    until: Option<Timestamp>,
    /// Whether it goes on only once somebody does something: approves, signals, resumes, or starts an agent.
    pub(super) needs_somebody: bool,
}

/// An agent that is waited for.
#[derive(Clone)]
struct Awaited {
    words: String,
    /// Whether there is one that could be given the task, now or when it is free.
    is_there: bool,
}

/// How much a wait needs somebody, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// A person or a signal.
    Somebody,
    /// An agent that is not there.
    Agent,
    /// Nobody: it goes on by itself, after something failed.
    AfterFailure,
    /// Nobody.
    Nobody,
}

impl<'a> Waits<'a> {
    pub(super) fn new(store: &'a Store, tenant: &'a TenantId) -> Self {
        Self { store, tenant, routes: HashMap::new(), statuses: HashMap::new(), names: HashMap::new() }
    }

    /// What a session waits for.
    pub(super) async fn session(&mut self, state: &SessionState) -> Result<Option<SessionWait>, StoreError> {
        let session = &state.session;
        if session.status.is_over() || session.waits_for_group {
            return Ok(None);
        }
        let (mut most, mut count) = (None::<(Need, TaskWait, &Task)>, 0_usize);
        for task in &state.tasks {
            let Some((need, wait)) = self.task(task).await? else { continue };
            count += 1;
            if most.as_ref().is_none_or(|(known, ..)| need < *known) {
                most = Some((need, wait, task));
            }
        }
        let is_held_up = session.status == SessionStatus::Paused;
        let most = most.filter(|(need, ..)| !is_held_up || *need == Need::Somebody);
        Ok(match most {
            Some((need, TaskWait { words, until }, task)) => {
                let words = self.with_name(task, words).await?;
                let step = &task.step;
                let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
                let needs_somebody = need <= Need::Agent;
                Some(SessionWait { words: format!("{words} (task {step}){more}"), until, needs_somebody })
            }
            None => is_held_up.then(|| SessionWait {
                words: "somebody to resume it".to_owned(),
                until: None,
                needs_somebody: true,
            }),
        })
    }

    /// The same words with the name of the agent whose id is in them.
    async fn with_name(&mut self, task: &Task, words: String) -> Result<String, StoreError> {
        let named = match &task.route {
            Route::Agent(agent) => Some(agent),
            _ => task.agent.as_ref(),
        };
        let Some(id) = named.filter(|id| words.contains(id.as_str())) else { return Ok(words) };
        if !self.names.contains_key(id) && self.names.len() < HOLDERS_MAX {
            let agent = self.store.agent(self.tenant, id).await?;
            self.names.insert(id.clone(), agent.map(|agent| agent.value.name.clone()));
        }
        let name = self.names.get(id).and_then(Option::as_ref);
        Ok(name.map_or(words.clone(), |name| words.replace(id.as_str(), name)))
    }

    /// Tells of a task what is known of who could do it, and forgets a failed delivery that has come since.
    pub(super) async fn tell(&mut self, task: &Task, view: &mut TaskView) -> Result<(), StoreError> {
        match self.task(task).await? {
            Some((_, wait)) => (view.waiting_for, view.waits_until) = (Some(wait.words), wait.until),
            None => (view.waiting_for, view.waits_until, view.delivery) = (None, None, None),
        }
        Ok(())
    }

    async fn task(&mut self, task: &Task) -> Result<Option<(Need, TaskWait)>, StoreError> {
        let Some(wait) = convert::wait(task) else { return Ok(None) };
        if task.queued_at.is_some() {
            let Awaited { words, is_there } = self.awaited(&task.route).await?;
            let need = if is_there { Need::Nobody } else { Need::Agent };
            return Ok(Some((need, TaskWait { words, ..wait })));
        }
        let need = match (&task.kind, task.status) {
            (Kind::Approve { .. } | Kind::Wait { .. }, TaskStatus::Waiting) => Need::Somebody,
            (_, TaskStatus::Pending) => Need::AfterFailure,
            _ if task.undelivered.is_some() => {
                if self.was_taken(task).await? {
                    return Ok(None);
                }
                Need::AfterFailure
            }
            _ => Need::Nobody,
        };
        Ok(Some((need, wait)))
    }

    /// Whether a task's agent has taken the attempt that could not be delivered at first.
    async fn was_taken(&mut self, task: &Task) -> Result<bool, StoreError> {
        let Some(agent) = &task.agent else { return Ok(false) };
        if !self.statuses.contains_key(agent) && self.statuses.len() < HOLDERS_MAX {
            let status = self.store.status(self.tenant, agent).await?;
            self.statuses.insert(agent.clone(), status.map(|status| status.value));
        }
        Ok(self.statuses.get(agent).and_then(Option::as_ref).is_some_and(|status| {
            status.held.iter().any(|held| held.task == task.id && held.taken_at.is_some())
        }))
    }

    async fn awaited(&mut self, route: &Route) -> Result<Awaited, StoreError> {
        let key = route.key();
        if let Some(known) = self.routes.get(&key) {
            return Ok(known.clone());
        }
        if self.routes.len() >= ROUTES_MAX {
            return Ok(Awaited { words: route.waiting_for(), is_there: true });
        }
        let found = match route {
            Route::Agent(id) => match self.store.agent(self.tenant, id).await? {
                Some(agent) => {
                    let status = self.store.status(self.tenant, id).await?;
                    let status = status.as_ref().map(|status| &*status.value);
                    let is_there = agent.value.endpoint.is_some()
                        || status.is_some_and(|status| status.is_reachable(&agent.value));
                    Awaited { words: routing::waiting_for_agent(&agent.value, status), is_there }
                }
                None => Awaited { words: route.waiting_for(), is_there: false },
            },
            Route::Capability(name) => {
                self.among(route, Some(name), &format!("an agent with capability '{name}'")).await?
            }
            Route::Any => self.among(route, None, "an agent").await?,
        };
        self.routes.insert(key, found.clone());
        Ok(found)
    }

    /// Whether there is any of several agents.
    async fn among(
        &self,
        route: &Route,
        capability: Option<&String>,
        words: &str,
    ) -> Result<Awaited, StoreError> {
        let filter = AgentFilter { capability: capability.cloned(), ..AgentFilter::default() };
        let page = Page { limit: AGENTS_LOOKED_AT, after: None };
        let listed = self.store.agents(self.tenant, &filter, &page).await?;
        let standings = listed.items.iter().map(|(agent, status)| Standing::of(agent, status.as_deref()));
        let standings: Vec<Standing> = standings.collect();
        let is_there = listed.next.is_some() || standings.contains(&Standing::There);
        let words = if is_there { route.waiting_for() } else { words.to_owned() + &why_none(&standings) };
        let meant = match capability {
            Some(name) if standings.is_empty() => self.meant(name).await?,
            _ => String::new(),
        };
        Ok(Awaited { words: words + &meant, is_there })
    }

    /// The capability that was perhaps meant, among those that agents offer.
    async fn meant(&self, capability: &str) -> Result<String, StoreError> {
        let page = Page { limit: AGENTS_LOOKED_AT, after: None };
        let listed = self.store.agents(self.tenant, &AgentFilter::default(), &page).await?;
        let known = listed.items.iter().flat_map(|(agent, _)| agent.capability_names());
        let meant = nearest(capability, known);
        Ok(meant.map_or(String::new(), |meant| format!("; did you mean '{meant}'?")))
    }
}

/// How an agent stands that could be given a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    There,
    /// It is there, and gets no new tasks.
    Draining,
    Away,
}

impl Standing {
    fn of(agent: &Agent, status: Option<&AgentStatus>) -> Self {
        if agent.endpoint.is_none() && !status.is_some_and(|status| status.is_reachable(agent)) {
            return Self::Away;
        }
        if status.is_some_and(|status| status.draining) { Self::Draining } else { Self::There }
    }
}

/// Why none of several agents can be given a task.
fn why_none(standings: &[Standing]) -> String {
    let draining = standings.iter().filter(|standing| **standing == Standing::Draining).count();
    match (standings.len(), draining) {
        (0, _) => ": none is registered".to_owned(),
        (1, 0) => ": the only one is not connected".to_owned(),
        (1, _) => ": the only one is draining".to_owned(),
        (several, 0) => format!(": none of the {several} is connected"),
        (several, draining) if several == draining => format!(": all {several} are draining"),
        (several, draining) => {
            format!(": of the {several}, {draining} drain and {} are not connected", several - draining)
        }
    }
}

impl SessionWait {
    /// Puts it into what is shown of the session.
    pub(super) fn tell(self, view: &mut SessionView) {
        view.waiting_for = Some(self.words);
        view.waits_until = self.until;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nobody_takes_a_task_is_said() {
        use Standing::{Away, Draining};
        for (standings, expected) in [
            (&[][..], ": none is registered"),
            (&[Away], ": the only one is not connected"),
            (&[Draining], ": the only one is draining"),
            (&[Away, Away], ": none of the 2 is connected"),
            (&[Draining, Draining], ": all 2 are draining"),
            (&[Draining, Away, Away], ": of the 3, 1 drain and 2 are not connected"),
        ] {
            assert_eq!(why_none(standings), expected);
        }
    }
}
