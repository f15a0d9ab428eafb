//! Calls about messages: send one, ask where it is, and look after those that could not be delivered.

use serde::Serialize;
use serde_json::Value;
use signalbox_wire::agentkit::{DeadLetterView, MessageView, RedriveManyAnswer, RunAccepted, Success};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;
use crate::retry::Repeat;

impl Client {
    /// Sends a message or task to an agent, as a [`MessageBody`](crate::MessageBody), a [`TaskBody`](crate::TaskBody) or
    /// other JSON, and answers the message's id. `Ok` means that it is durable and will be delivered or become a dead
    /// letter.
    ///
    /// # Errors
    /// [`Error`]; an unknown agent is a problem of status 404.
    pub async fn send_message(
        &self,
        agent_id: &str,
        message: &(impl Serialize + Sync),
    ) -> Result<String, Error> {
        let call = self.post(&["v1", "agents", agent_id, "run"]).json(message);
        call.fetch::<Success<RunAccepted>>().await.map(|answer| answer.data.message_id.to_string())
    }

    /// Runs a tool for an agent (a message of type `tool_invocation`) and answers the server's whole answer.
    /// Never repeated once sent: its 502, 503 and 504 speak of the tool, which may have done its work.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn invoke_tool(
        &self,
        agent_id: &str,
        message: &(impl Serialize + Sync),
    ) -> Result<Value, Error> {
        self.post(&["v1", "agents", agent_id, "run"]).json(message).repeat(Repeat::Harmful).fetch().await
    }

    /// Where a message is.
    ///
    /// # Errors
    /// [`Error`]; an unknown message is a problem of status 404.
    pub async fn message(&self, message_id: &str) -> Result<MessageView, Error> {
        let answer: Success<MessageView> = self.get(&["v1", "messages", message_id]).fetch().await?;
        Ok(answer.data)
    }

    /// A page of the dead letters, by the filters `agent`, `kind` and `since`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn dead_letters(&self, query: &ListQuery) -> Result<Page<DeadLetterView>, Error> {
        self.get(&["v1", "dead-letters"]).list(query).page().await
    }

    /// Sends one dead letter on its way again.
    ///
    /// # Errors
    /// [`Error`]; an unknown one is a problem of status 404.
    pub async fn redrive_dead_letter(&self, id: &str) -> Result<(), Error> {
        self.post(&["v1", "dead-letters", id, "redrive"]).send().await.map(drop)
    }

    /// Sends on their way again all dead letters that the filters `agent`, `kind` and `since` match, at most 1,000.
    /// Where the answer says that there are more, its `next_cursor` as `cursor` of the query goes on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn redrive_dead_letters(&self, query: &ListQuery) -> Result<RedriveManyAnswer, Error> {
        let call = self.post(&["v1", "dead-letters", "redrive"]).list(query);
        call.fetch::<Success<RedriveManyAnswer>>().await.map(|answer| answer.data)
    }

    /// Drops a dead letter.
    ///
    /// # Errors
    /// [`Error`]; an unknown one is a problem of status 404.
    pub async fn delete_dead_letter(&self, id: &str) -> Result<(), Error> {
        self.delete(&["v1", "dead-letters", id]).send().await.map(drop)
    }
}
