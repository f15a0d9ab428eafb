//! Calls about tools: add, look at, remove.

use signalbox_wire::agentkit::{Success, ToolBody, ToolView};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the tools.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tools(&self, query: &ListQuery) -> Result<Page<ToolView>, Error> {
        self.get(&["v1", "tools"]).list(query).page().await
    }

    /// One tool, with its schema.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tool(&self, name: &str) -> Result<ToolView, Error> {
        self.get(&["v1", "tools", name]).fetch::<Success<ToolView>>().await.map(|answer| answer.data)
    }

    /// Adds a tool, or changes the one of that name.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_tool(&self, body: &ToolBody) -> Result<ToolView, Error> {
        self.post(&["v1", "tools"]).json(body).fetch::<Success<ToolView>>().await.map(|answer| answer.data)
    }

    /// Removes a tool.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_tool(&self, name: &str) -> Result<(), Error> {
        self.delete(&["v1", "tools", name]).send().await.map(drop)
    }
}
