//! Calls about agents: register, find, remove, report state, write to the log.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{Client, ListQuery};
use crate::edge;
use crate::error::Error;
use crate::model::{AgentInfo, AgentState, Envelope, LogEntry, Page, Registration, StateReport};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    agent_id: String,
}

impl Client {
    /// Registers an agent and answers its id. With `replace`, a taken name is taken over: the id stays, and
    /// the tasks that the former process held are given out again.
    ///
    /// # Errors
    /// [`Error`]; a taken name without `replace` is a problem of status 409.
    pub async fn register_agent(&self, agent: &Registration, replace: bool) -> Result<String, Error> {
        let call = self.post(&["v1", "agents", "register"]).json(agent);
        let call = if replace { call.query("replace", "true") } else { call };
        call.fetch::<Envelope<Registered>>().await.map(|answer| answer.data.agent_id)
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
    pub async fn agents(&self, query: &ListQuery) -> Result<Page<AgentInfo>, Error> {
        self.get(&["v1", "agents"]).list(query).page().await
    }

    /// One agent.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn agent(&self, agent_id: &str) -> Result<AgentInfo, Error> {
        let answer: Envelope<AgentInfo> = self.get(&["v1", "agents", agent_id]).fetch().await?;
        Ok(answer.data)
    }

    /// Reports an agent's state. A report that names a task in its details settles that task.
    ///
    /// # Errors
    /// [`Error`]; `Ok` means that the report is durable.
    pub async fn report_state(&self, agent_id: &str, report: &StateReport) -> Result<(), Error> {
        let mut body = Map::new();
        body.insert("agentId".to_owned(), json!(agent_id));
        body.insert("timestamp".to_owned(), json!(report.timestamp.unwrap_or_else(edge::now)));
        body.insert("state".to_owned(), json!(report.state));
        if let Some(details) = &report.details {
            body.insert("details".to_owned(), Value::Object(details.clone()));
        }
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
    pub async fn agent_state(&self, agent_id: &str) -> Result<AgentState, Error> {
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
