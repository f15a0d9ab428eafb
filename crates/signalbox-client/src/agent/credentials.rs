//! By what an agent connects: an SSH key, or the API key of its client.

use std::fmt;

/// By what an agent signs in to its connection.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// By the API key (or token) of the agent's client.
    #[default]
    ClientKey,
    /// By an SSH key: a challenge is signed, and the token that it gives is renewed before it ends.
    SshKey(SshCredentials),
}

/// An SSH key, and what the server knows it by.
#[derive(Clone)]
pub struct SshCredentials {
    pub(super) key: String,
    pub(super) key_id: Option<String>,
    pub(super) tenant_id: Option<String>,
}

impl Credentials {
    /// A private SSH key without a passphrase: the path of its file, or the text of it (OpenSSH's form, PKCS#8 or PKCS#1).
    #[must_use]
    pub fn ssh_key(path_or_pem: impl Into<String>) -> Self {
        Self::SshKey(SshCredentials { key: path_or_pem.into(), key_id: None, tenant_id: None })
    }

    /// The same key by the id that the server gave it: for keys of the types `access` and `deployment`.
    #[must_use]
    pub fn key_id(mut self, key_id: impl Into<String>) -> Self {
        if let Self::SshKey(key) = &mut self {
            key.key_id = Some(key_id.into());
        }
        self
    }

    /// The same key in a tenant other than `default`.
    #[must_use]
    pub fn tenant(mut self, tenant_id: impl Into<String>) -> Self {
        if let Self::SshKey(key) = &mut self {
            key.tenant_id = Some(tenant_id.into());
        }
        self
    }
}

impl Credentials {
    /// What the connection signs in by, in words; `None` for the key of the client, which has words of its own.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Self::ClientKey => None,
            Self::SshKey(_) => Some("the agent's SSH key; add its public half with 'signalbox ssh-keys'"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientKey => "ClientKey",
            Self::SshKey(_) => "SshKey",
        })
    }
}

impl fmt::Debug for SshCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshCredentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
