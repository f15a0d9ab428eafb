//! How a connection is opened: sign in where that is due, then ask for the WebSocket.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use signalbox_wire::artcafe::{Challenge, ChallengeBody, Verified, VerifyBody};
use signalbox_wire::id::{AgentId, KeyId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::time::timeout;
use tracing::debug;

use super::socket::Socket;
use crate::agent::credentials::{Credentials, SshCredentials};
use crate::agent::happening::TARGET;
use crate::client::Client;
use crate::edge;
use crate::error::Error;
use crate::retry::RetryPolicy;
use crate::ssh_key::SigningKey;

/// How long opening may take.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// A token that ends within this is renewed before it is used.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);

/// The connection that a new one goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Resume {
    pub(in crate::agent) connection_id: String,
    pub(in crate::agent) after: u64,
}

pub(in crate::agent) type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Socket, Error>> + Send + 'a>>;

/// Opens connections.
pub(in crate::agent) trait Dial: Send + Sync {
    fn dial<'a>(&'a self, resume: Option<&'a Resume>) -> Dialing<'a>;

    /// The token was not taken: the next one is a new one.
    fn forget(&self);

    /// The server's address.
    fn url(&self) -> String;
}

/// The client that acts for the agent, by a token that is renewed. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Acting(Arc<Mutex<Client>>);

impl Acting {
    pub(in crate::agent) fn new(client: Client) -> Self {
        Self(Arc::new(Mutex::new(client)))
    }

    pub(in crate::agent) fn client(&self) -> Client {
        self.0.lock().clone()
    }
}

/// Opens connections to a server.
#[derive(Debug)]
pub(in crate::agent) struct Dialer {
    agent_id: String,
    acting: Acting,
    ssh: Option<Ssh>,
}

#[derive(Debug)]
struct Ssh {
    key: SigningKey,
    credentials: SshCredentials,
    /// Until when the token is good that the client acts by; `None` before the first one.
    good_until: Mutex<Option<Timestamp>>,
}

impl Dialer {
    /// Reads the key, where there is one.
    pub(in crate::agent) fn new(
        client: &Client,
        agent_id: &str,
        credentials: Credentials,
    ) -> Result<Self, Error> {
        let ssh = match credentials {
            Credentials::ClientKey if !client.has_key() => {
                return Err(Error::unusable(
                    "the agent's credentials",
                    "its client has no API key; set SIGNALBOX_API_KEY, or sign in with an SSH key",
                ));
            }
            Credentials::ClientKey => None,
            Credentials::SshKey(credentials) => {
                let key = SigningKey::read(&credentials.key)?;
                Some(Ssh { key, credentials, good_until: Mutex::new(None) })
            }
        };
        let acting = Acting::new(client.clone());
        Ok(Self { agent_id: agent_id.to_owned(), acting, ssh })
    }

    /// The client that acts for the agent.
    pub(in crate::agent) fn acting(&self) -> Acting {
        self.acting.clone()
    }

    /// Renews the token before it ends, for as long as the agent runs. What connects renews it too.
    pub(in crate::agent) async fn keep_signed_in(self: Arc<Self>) {
        let Some(ssh) = &self.ssh else { return };
        loop {
            let good_until = *ssh.good_until.lock();
            let Some(good_until) = good_until else {
                // What connects signs in first, and as the rules say.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            tokio::time::sleep(renew_after(good_until, edge::now())).await;
            if *ssh.good_until.lock() == Some(good_until) && self.sign_in(ssh).await.is_err() {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    }

    /// A client with a token that is good for a while.
    async fn signed_in(&self) -> Result<Client, Error> {
        if let Some(ssh) = &self.ssh {
            let good_until = *ssh.good_until.lock();
            if good_until.is_none_or(|good_until| good_until.since(edge::now()) < TOKEN_MARGIN) {
                self.sign_in(ssh).await?;
            }
        }
        Ok(self.acting.client())
    }

    async fn sign_in(&self, ssh: &Ssh) -> Result<(), Error> {
        // Each try is one: how long to wait between them is the agent's rule, not the client's.
        let client = self.acting.client().with_key(None)?.with_retry(RetryPolicy::never());
        let verified = sign_in(&client, &self.agent_id, &ssh.key, &ssh.credentials).await?;
        let signed_in = self.acting.client().with_key(Some(&verified.token))?;
        *self.acting.0.lock() = signed_in;
        *ssh.good_until.lock() = Some(verified.expires_at);
        debug!(target: TARGET, agent_id = self.agent_id.as_str(), "signed in with the SSH key");
        Ok(())
    }

    async fn open(&self, resume: Option<&Resume>) -> Result<Socket, Error> {
        let client = self.signed_in().await?;
        let mut call = client.get(&["api", "v1", "ws", "agent", &self.agent_id]);
        if let Some(resume) = resume {
            call = call.query("connection", &resume.connection_id).query("after", &resume.after.to_string());
        }
        let key = websocket_key();
        call = call
            .header(header::CONNECTION.as_str(), "Upgrade")
            .header(header::UPGRADE.as_str(), "websocket")
            .header(header::SEC_WEBSOCKET_VERSION.as_str(), "13")
            .header(header::SEC_WEBSOCKET_KEY.as_str(), &key);
        let request = call.into_request()?;
        let url = request.uri().to_string();
        let response = client.transport.upgrade(request).await?;
        let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || accepted != Some(&accept_of(&key)) {
            return Err(Error::unreadable(&url, "it did not open a WebSocket; is a proxy in between?"));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| Error::Unreachable {
            url: url.clone(),
            reason: error.to_string(),
            unsent: false,
        })?;
        Socket::new(Box::new(TokioIo::new(upgraded))).map_err(|error| Error::unreadable(&url, error))
    }
}

impl Dial for Dialer {
    fn dial<'a>(&'a self, resume: Option<&'a Resume>) -> Dialing<'a> {
        Box::pin(async move {
            let late = |_| {
                let url = format!("{}/api/v1/ws/agent/{}", self.acting.client().base(), self.agent_id);
                Err(Error::Timeout { url, after: OPEN_WITHIN })
            };
            timeout(OPEN_WITHIN, self.open(resume)).await.unwrap_or_else(late)
        })
    }

    fn forget(&self) {
        if let Some(ssh) = &self.ssh {
            *ssh.good_until.lock() = None;
        }
    }

    fn url(&self) -> String {
        self.acting.client().base().to_owned()
    }
}

/// Signs in with an SSH key: a challenge, its signature, a token.
pub(crate) async fn sign_in(
    client: &Client,
    agent_id: &str,
    key: &SigningKey,
    credentials: &SshCredentials,
) -> Result<Verified, Error> {
    let agent_id = AgentId::parse(agent_id).map_err(|error| Error::unusable("the agent's id", error))?;
    let tenant_id = credentials.tenant_id.as_deref().map(TenantId::parse).transpose();
    let tenant_id = tenant_id.map_err(|error| Error::unusable("the tenant's id", error))?;
    let key_id = credentials.key_id.as_deref().map(KeyId::parse).transpose();
    let key_id = key_id.map_err(|error| Error::unusable("the key's id", error))?;
    let asked = ChallengeBody { agent_id: agent_id.clone(), tenant_id: tenant_id.clone() };
    let challenge: Challenge =
        client.post_once(&["api", "v1", "auth", "challenge"]).json(&asked).fetch().await?;
    let response = key.respond(challenge.challenge.as_bytes())?;
    let body = VerifyBody { tenant_id, key_id, challenge: challenge.challenge, response, agent_id };
    client.post_once(&["api", "v1", "auth", "verify"]).json(&body).fetch().await
}

/// How long before it ends a token is renewed: after nine tenths of what is left of it, and a second at least.
fn renew_after(good_until: Timestamp, now: Timestamp) -> Duration {
    good_until.since(now).mul_f64(0.9).max(Duration::from_secs(1))
}

fn websocket_key() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(edge::random_bytes())
}

/// What a server answers to a key (RFC 6455, section 4.2.2).
fn accept_of(key: &str) -> HeaderValue {
    use base64::Engine as _;
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let text = base64::engine::general_purpose::STANDARD.encode(digest.as_ref());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_the_rfc_says() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let at = Timestamp::from_seconds;
        assert_eq!(renew_after(at(3_600), at(0)), Duration::from_secs(3_240));
        assert_eq!(renew_after(at(0), at(10)), Duration::from_secs(1));
    }
}
