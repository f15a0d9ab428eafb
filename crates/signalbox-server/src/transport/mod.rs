//! How what is sent is carried: one file for each [`Reach`]. Decides nothing: whether, what and which way are core's.
//!
//! A new way to reach agents is a variant of `Reach` and a file here.

pub(crate) mod burst;
pub(crate) mod connection;
mod endpoint;
pub(crate) mod outbox;
mod parcel;
mod service;
mod webhook;

use std::time::Duration;

use signalbox_core::delivery::Outcome;
use signalbox_core::reach::{Reach, Ways};
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::keys::Secret;

use self::connection::{Connections, Delivered, Unsent};
use self::parcel::Way;
pub(crate) use self::parcel::{Carried, Parcel};
use self::service::Service;
use self::webhook::Registrations;
use crate::config::Config;
use crate::egress::{Egress, Room};

/// The ways out.
#[derive(Clone)]
pub(crate) struct Transport {
    /// The way to what clients name.
    named: Way,
    /// The AgentKit surface that tasks go through, where that is another process'.
    service: Option<Service>,
    /// The service that registrations are announced to.
    registrations: Option<Registrations>,
    /// What signs the notices that tell of a session's end.
    notices: Secret,
    /// Who is connected to this node.
    connections: Connections,
}

impl Transport {
    /// Ways out by `egress` to what clients name, by `services` to what the operator names.
    pub(crate) fn new(
        config: &Config,
        (egress, services): (Egress, Egress),
        notices: Secret,
        connections: Connections,
    ) -> Self {
        let timeout = config.delivery.delivery_timeout;
        let named = Way { egress, timeout };
        let chosen = Way { egress: services, timeout };
        let service = config.dispatches_through().map(|url| Service {
            way: chosen.clone(),
            url: url.to_owned(),
            key: config.services.agentkit_api_key.clone(),
        });
        let announced =
            config.services.opscore_webhook_url.clone().zip(config.services.opscore_webhook_secret.clone());
        let registrations = announced.map(|(url, secret)| Registrations { way: chosen, url, secret });
        Self { named, service, registrations, notices, connections }
    }

    /// What the operator has set up, as far as core decides by it.
    pub(crate) fn ways(&self) -> Ways {
        Ways { through_service: self.service.is_some() }
    }

    /// Room for `bytes` that are about to be made and carried, or none now.
    pub(crate) fn room_now(&self, bytes: u64) -> Option<Room> {
        self.named.egress.room_now(bytes)
    }

    /// How long carrying something may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.named.timeout
    }

    /// Who is connected to this node.
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Carries a command to its agent; `envelope` is written without its sequence.
    pub(crate) async fn command(&self, to: (&TenantId, &AgentId), id: &str, envelope: &str) -> Delivered {
        self.connections.deliver(to, id, envelope, self.timeout()).await
    }

    /// Carries something, whatever the way.
    ///
    /// # Errors
    /// [`Unsent`] where it goes over a connection and the agent holds none that can be reached: that is no try.
    pub(crate) async fn carry(&self, reach: &Reach, parcel: Parcel<'_>) -> Result<Carried, Unsent> {
        Ok(match (reach, &self.service, &self.registrations) {
            (Reach::Connection(agent), ..) => self.connections.carry(agent, parcel, self.timeout()).await?,
            (Reach::Endpoint(url), ..) => endpoint::carry(&self.named, url, parcel).await,
            (Reach::Service(agent), Some(service), _) => service.carry(agent, parcel).await,
            (Reach::SessionWebhook(url), ..) => {
                webhook::session(&self.named, &self.notices, url, parcel).await
            }
            (Reach::RegistrationWebhook, _, Some(registrations)) => registrations.carry(parcel).await,
            (Reach::Service(_), None, _) => unconfigured("no AgentKit service is configured any more"),
            (Reach::RegistrationWebhook, _, None) => {
                unconfigured("no webhook address and secret are configured any more")
            }
        })
    }
}

fn unconfigured(reason: &str) -> Carried {
    Carried { outcome: Outcome::unwanted(reason), report: None }
}
