//! Calls about the SSH keys by which agents sign in.

use signalbox_wire::artcafe::{RevokeBody, SshKeyBody, SshKeyList, SshKeyView};

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the SSH keys; `next_token` as the filter of that name goes on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ssh_keys(&self, query: &ListQuery) -> Result<SshKeyList, Error> {
        self.get(&["api", "v1", "ssh-keys"]).list(query).fetch().await
    }

    /// One SSH key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ssh_key(&self, key_id: &str) -> Result<SshKeyView, Error> {
        self.get(&["api", "v1", "ssh-keys", key_id]).fetch().await
    }

    /// Adds a public key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_ssh_key(&self, body: &SshKeyBody) -> Result<SshKeyView, Error> {
        self.post(&["api", "v1", "ssh-keys"]).json(body).fetch().await
    }

    /// Ends a key, its tokens and their connections; it stays in the list.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_ssh_key(&self, key_id: &str, body: &RevokeBody) -> Result<SshKeyView, Error> {
        self.post(&["api", "v1", "ssh-keys", key_id, "revoke"]).json(body).fetch().await
    }

    /// Ends a key and forgets it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_ssh_key(&self, key_id: &str) -> Result<(), Error> {
        self.delete(&["api", "v1", "ssh-keys", key_id]).send().await.map(drop)
    }
}
