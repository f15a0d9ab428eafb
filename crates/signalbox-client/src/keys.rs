//! Calls about API keys.

use signalbox_wire::paging::Page;
use signalbox_wire::process::{KeyBody, KeyView, RotateKeyBody};

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the API keys.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn keys(&self, query: &ListQuery) -> Result<Page<KeyView>, Error> {
        self.get(&["v1", "keys"]).list(query).page().await
    }

    /// Makes a key; the answer alone has its secret.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_key(&self, body: &KeyBody) -> Result<KeyView, Error> {
        self.post(&["v1", "keys"]).json(body).fetch().await
    }

    /// Gives a key another secret; the answer alone has it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rotate_key(&self, key_id: &str, body: &RotateKeyBody) -> Result<KeyView, Error> {
        self.post(&["v1", "keys", key_id, "rotate"]).json(body).fetch().await
    }

    /// Ends a key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_key(&self, key_id: &str) -> Result<(), Error> {
        self.delete(&["v1", "keys", key_id]).send().await.map(drop)
    }
}
