//! A task given to an agent through the AgentKit surface of another process, which delivers it. What that one answers is
//! no report of the agent.

use http::{HeaderValue, header};
use signalbox_wire::id::AgentId;
use signalbox_wire::keys::Secret;

use super::parcel::{Carried, Parcel, Way};

/// The other process.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) way: Way,
    /// Where it is.
    pub(super) url: String,
    /// The key for it.
    pub(super) key: Option<Secret>,
}

impl Service {
    pub(super) async fn carry(&self, agent: &AgentId, parcel: Parcel<'_>) -> Carried {
        let agent = percent_encoding::utf8_percent_encode(agent.as_str(), percent_encoding::NON_ALPHANUMERIC);
        let url = format!("{}/v1/agents/{agent}/run", self.url.trim_end_matches('/'));
        let mut request = parcel.request(&url);
        if let Some(key) = &self.key {
            let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", key.expose())) else {
                return Carried::unwritable();
            };
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        self.way.post(request, parcel.body).await
    }
}
