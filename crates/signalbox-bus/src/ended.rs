//! Credentials that have ended: how one node tells the others.

use signalbox_wire::id::{KeyId, TenantId};

use crate::{Buffer, Bus, Bytes, Pattern, Received, Subject, Subscription};

/// Wake-ups that may wait to be looked at; after more, all credentials are.
const ENDED_MAX: usize = 1_024;
/// Bytes of such wake-ups; each has those of two ids.
const ENDED_BYTES_MAX: usize = 1 << 20;
/// What stands between the ids; no id has it.
const BETWEEN: char = '\n';

/// What has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A key of a tenant, an API key or an SSH key: revoked, deleted, or given another secret.
    Key(TenantId, KeyId),
    /// Everything of a tenant.
    Tenant(TenantId),
    /// Some, and it is not known which: wake-ups were missed.
    Any,
}

/// A subscription to what ends.
#[derive(Debug)]
pub struct EndedCredentials(Option<Subscription>);

impl Ended {
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Key(tenant, key) => format!("{tenant}{BETWEEN}{key}").into(),
            Self::Tenant(tenant) => tenant.to_string().into(),
            Self::Any => Bytes::new(),
        }
    }

    /// What a wake-up says; whatever cannot be read may be about any.
    fn read(payload: &[u8]) -> Self {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let (tenant, key) =
            text.split_once(BETWEEN).map_or((text, None), |(tenant, key)| (tenant, Some(key)));
        match (TenantId::parse(tenant), key.map(KeyId::parse)) {
            (Ok(tenant), None) => Self::Tenant(tenant),
            (Ok(tenant), Some(Ok(key))) => Self::Key(tenant, key),
            _ => Self::Any,
        }
    }
}

impl EndedCredentials {
    pub(crate) async fn subscribe(bus: &Bus) -> Self {
        let pattern = Pattern::exactly(&Subject::revoked_keys());
        let buffer = Buffer::Bounded { messages: ENDED_MAX, bytes: ENDED_BYTES_MAX };
        Self(bus.subscribe(&pattern, buffer).await.ok())
    }

    /// Waits until one has ended. Without a bus nothing ever comes.
    pub async fn next(&mut self) -> Ended {
        let Some(subscription) = &mut self.0 else { return std::future::pending().await };
        match subscription.recv().await {
            Received::Message(message) => Ended::read(&message.payload),
            Received::Missed(_) => Ended::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::NodeId;

    use super::*;
    use crate::WakeUps;

    #[tokio::test]
    async fn what_ended_is_named() {
        let wake_ups = WakeUps::new(Bus::local(), NodeId::parse("nod_a").expect("valid"));
        let mut ended = wake_ups.ended_credentials().await;
        let tenant = TenantId::default_tenant();
        let key = Ended::Key(tenant.clone(), KeyId::parse("key_1").expect("valid"));
        for told in [key, Ended::Tenant(tenant), Ended::Any] {
            wake_ups.credential_ended(&told);
            assert_eq!(ended.next().await, told);
        }
        assert_eq!(Ended::read(b"a\n"), Ended::Any);
        assert_eq!(Ended::read(b"\xff"), Ended::Any);
    }
}
