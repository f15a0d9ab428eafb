//! Calls about agents: register, find, remove, report state, write to the log.

use serde_json::Value;
use signalbox_wire::agentkit::{AgentView, RegisterBody, Registered, Success};
use signalbox_wire::id::AgentId;
use signalbox_wire::opscore::{LogEntry, StateBody, StateView};
use signalbox_wire::paging::Page;
use signalbox_wire::raw::RawObject;

use crate::client::{Client, ListQuery};
use crate::edge;
use crate::error::Error;
use crate::state_report::StateReport;

impl Client {
    /// Registers an agent and answers its id. With `replace`, a taken name is taken over: the id stays, and
    /// the tasks that the former process held are given out again.
    ///
    /// # Errors
    /// [`Error`]; a taken name without `replace` is a problem of status 409.
    pub async fn register_agent(&self, agent: &RegisterBody, replace: bool) -> Result<String, Error> {
        self.registered(agent, replace).await.map(|registered| registered.agent_id.to_string())
    }

    /// The same with all that is answered.
    pub(crate) async fn registered(&self, agent: &RegisterBody, replace: bool) -> Result<Registered, Error> {
        let call = self.post(&["v1", "agents", "register"]).json(agent);
        let call = if replace { call.query("replace", "true") } else { call };
        call.fetch::<Success<Registered>>().await.map(|answer| answer.data)
    }

    /// Removes an agent.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn deregister_agent(&self, agent_id: &str) -> Result<(), Error> {
        self.delete(&["v1", "agents", agent_id]).send().await.map(drop)
    }

    /// A page of the registered agents, by the filters `capability`, `state` and `name`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn agents(&self, query: &ListQuery) -> Result<Page<AgentView>, Error> {
        self.get(&["v1", "agents"]).list(query).page().await
    }

    /// One agent.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn agent(&self, agent_id: &str) -> Result<AgentView, Error> {
        let answer: Success<AgentView> = self.get(&["v1", "agents", agent_id]).fetch().await?;
        Ok(answer.data)
    }

    /// Reports an agent's state. A report that names a task in its details settles that task.
    ///
    /// # Errors
    /// [`Error`]; `Ok` means that the report is durable.
    pub async fn report_state(&self, agent_id: &str, report: &StateReport) -> Result<(), Error> {
        let details =
            report.details.clone().map(|details| RawObject::parse(Value::Object(details).to_string()));
        let body = StateBody {
            agent_id: AgentId::parse(agent_id).map_err(|error| Error::unusable("the agent's id", error))?,
            timestamp: report.timestamp.unwrap_or_else(edge::now),
            state: report.state.clone(),
            details: details.transpose().map_err(|error| Error::unusable("the report's details", error))?,
        };
        let call = self.post(&["v1", "opscore", "agent", agent_id, "state"]).json(&body);
        let call = match &report.traceparent {
            Some(trace) => call.header("traceparent", trace),
            None => call,
        };
        call.send().await.map(drop)
    }

    /// The newest state held of an agent.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn agent_state(&self, agent_id: &str) -> Result<StateView, Error> {
        self.get(&["v1", "opscore", "agent", agent_id, "state"]).fetch().await
    }

    /// Writes lines to the central log, at most 1,000 in one call.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn post_logs(&self, agent_id: &str, entries: &[LogEntry]) -> Result<(), Error> {
        self.post(&["v1", "opscore", "agent", agent_id, "logs"]).json(&entries).send().await.map(drop)
    }
}
