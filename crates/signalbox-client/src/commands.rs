//! Calls about commands to agents.

use signalbox_wire::artcafe::{CancelCommandBody, CommandAccepted, CommandBody, CommandList, CommandView};

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// Sends a command to an agent. `Ok` means that it is durable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn command(&self, agent_id: &str, body: &CommandBody) -> Result<CommandAccepted, Error> {
        self.post(&["api", "v1", "agents", agent_id, "commands"]).json(body).fetch().await
    }

    /// A page of an agent's commands; `next_token` as the filter of that name goes on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn commands(&self, agent_id: &str, query: &ListQuery) -> Result<CommandList, Error> {
        self.get(&["api", "v1", "agents", agent_id, "commands"]).list(query).fetch().await
    }

    /// What came of a command.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn command_status(&self, agent_id: &str, command_id: &str) -> Result<CommandView, Error> {
        self.get(&["api", "v1", "agents", agent_id, "commands", command_id]).fetch().await
    }

    /// Calls a command off.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cancel_command(
        &self,
        agent_id: &str,
        command_id: &str,
        body: &CancelCommandBody,
    ) -> Result<CommandView, Error> {
        self.post(&["api", "v1", "agents", agent_id, "commands", command_id, "cancel"])
            .json(body)
            .fetch()
            .await
    }
}
