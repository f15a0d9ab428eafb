//! Calls about workflow definitions: keep, list, remove, start.

use serde_json::{Map, Value};
use signalbox_wire::id::WorkflowId;
use signalbox_wire::opscore::{StartBody, TriggerAnswer, TriggerBody, WorkflowBody};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// Keeps a definition under its id, replacing the one before, and answers what the server kept.
    ///
    /// # Errors
    /// [`Error`]; a definition that does not hold together is a problem of status 422 with every fault.
    pub async fn apply_workflow(&self, definition: &Value) -> Result<Value, Error> {
        self.post(&["v1", "opscore", "workflows"]).json(definition).fetch().await
    }

    /// Keeps a definition that is written in YAML.
    ///
    /// # Errors
    /// [`Error`], as of [`Client::apply_workflow`].
    pub async fn apply_workflow_yaml(&self, definition: &str) -> Result<Value, Error> {
        let call = self.post(&["v1", "opscore", "workflows"]);
        call.raw("application/yaml", definition.to_owned()).fetch().await
    }

    /// A page of the definitions.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn workflows(&self, query: &ListQuery) -> Result<Page<Value>, Error> {
        self.get(&["v1", "opscore", "workflows"]).list(query).page().await
    }

    /// One definition.
    ///
    /// # Errors
    /// [`Error`]; an unknown one is a problem of status 404.
    pub async fn workflow(&self, id: &str) -> Result<Value, Error> {
        self.get(&["v1", "opscore", "workflows", id]).fetch().await
    }

    /// Removes a definition that no open session runs.
    ///
    /// # Errors
    /// [`Error`]; an unknown one is a problem of status 404.
    pub async fn delete_workflow(&self, id: &str) -> Result<(), Error> {
        self.delete(&["v1", "opscore", "workflows", id]).send().await.map(drop)
    }

    /// Starts a kept definition; any agent does the tasks that name neither an agent nor a capability. The input is an
    /// object, or null where there is none.
    ///
    /// # Errors
    /// [`Error`]; an unknown definition is a problem of status 404, an input that it does not take one of status 422.
    pub async fn start_workflow(&self, workflow_id: &str, input: &Value) -> Result<TriggerAnswer, Error> {
        let body = StartBody { agent_id: None, initial_payload: payload(input)? };
        self.post(&["v1", "opscore", "workflows", workflow_id, "trigger"]).json(&body).fetch().await
    }

    /// Starts a kept definition; `agent_id` does the tasks that name neither an agent nor a capability. The input is
    /// an object, or null where there is none.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent or definition is a problem of status 404.
    pub async fn trigger(
        &self,
        agent_id: &str,
        workflow_id: &str,
        input: &Value,
    ) -> Result<TriggerAnswer, Error> {
        let id = WorkflowId::parse(workflow_id)
            .map_err(|error| Error::unusable(format!("the workflow's id '{workflow_id}'"), error))?;
        let body = TriggerBody { workflow_definition_id: Some(id), ..TriggerBody::default() };
        self.start(agent_id, body, input).await
    }

    /// Starts a definition that comes with the call and is kept under its id. The input is an object, or null where
    /// there is none. A definition that is read from a file is better given to [`Client::apply_workflow`], which sends
    /// it as it is.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404, a faulty definition one of status 422.
    pub async fn trigger_inline(
        &self,
        agent_id: &str,
        definition: WorkflowBody,
        input: &Value,
    ) -> Result<TriggerAnswer, Error> {
        let body = TriggerBody { workflow_definition: Some(definition), ..TriggerBody::default() };
        self.start(agent_id, body, input).await
    }

    async fn start(&self, agent_id: &str, body: TriggerBody, input: &Value) -> Result<TriggerAnswer, Error> {
        let body = TriggerBody { initial_payload: payload(input)?, ..body };
        self.post(&["v1", "opscore", "agent", agent_id, "workflow"]).json(&body).fetch().await
    }
}

fn payload(input: &Value) -> Result<Map<String, Value>, Error> {
    match input {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields.clone()),
        _ => Err(Error::unusable("the session's input", "it must be a JSON object")),
    }
}
