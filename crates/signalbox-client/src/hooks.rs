//! Calls about webhooks: what starts a workflow by a request from elsewhere.

use signalbox_wire::opscore::{HookBody, HookView, RotateHookBody};
use signalbox_wire::paging::Page;

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the webhooks.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hooks(&self, query: &ListQuery) -> Result<Page<HookView>, Error> {
        self.get(&["v1", "opscore", "hooks"]).list(query).page().await
    }

    /// One webhook.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hook(&self, id: &str) -> Result<HookView, Error> {
        self.get(&["v1", "opscore", "hooks", id]).fetch().await
    }

    /// Adds a webhook; the answer alone has its secret.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_hook(&self, body: &HookBody) -> Result<HookView, Error> {
        self.post(&["v1", "opscore", "hooks"]).json(body).fetch().await
    }

    /// Gives a webhook another secret; the answer alone has it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rotate_hook(&self, id: &str, body: &RotateHookBody) -> Result<HookView, Error> {
        self.post(&["v1", "opscore", "hooks", id, "rotate"]).json(body).fetch().await
    }

    /// Removes a webhook.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_hook(&self, id: &str) -> Result<(), Error> {
        self.delete(&["v1", "opscore", "hooks", id]).send().await.map(drop)
    }
}
