//! Signed POSTs: to the URL that a workflow names for the end of its sessions, and to the service that registrations are
//! announced to, which has a signature of its own besides.

use http::request::Builder;
use signalbox_wire::keys::Secret;
use signalbox_wire::signature;

use super::parcel::{Carried, Parcel, Way};
use crate::clock;

/// Tells of a session's end. Clients named the URL, so it goes by the policy for them.
pub(super) async fn session(way: &Way, secret: &Secret, url: &str, parcel: Parcel<'_>) -> Carried {
    let (request, _) = signed(url, secret, &parcel);
    way.post(request, parcel.body).await
}

/// The service that registrations are announced to; where it is was the operator's choice.
#[derive(Clone)]
pub(super) struct Registrations {
    pub(super) way: Way,
    /// Where it is.
    pub(super) url: String,
    /// What it knows them by.
    pub(super) secret: Secret,
}

impl Registrations {
    pub(super) async fn carry(&self, parcel: Parcel<'_>) -> Carried {
        let (request, seconds) = signed(&self.url, &self.secret, &parcel);
        let stamp = seconds.to_string();
        let signature = signature::sign_agentkit(self.secret.expose(), &stamp, &parcel.body);
        let request = request
            .header(signature::AGENTKIT_SIGNATURE, signature)
            .header(signature::AGENTKIT_TIMESTAMP, stamp);
        self.way.post(request, parcel.body).await
    }
}

/// The request with the headers of Standard Webhooks, and the moment that is signed.
fn signed(url: &str, secret: &Secret, parcel: &Parcel<'_>) -> (Builder, i64) {
    // Receivers compare it with their own clocks.
    let seconds = clock::system().as_seconds();
    let id = parcel.message.id.as_str();
    let signature = signature::sign_standard(secret.expose(), id, seconds, &parcel.body);
    let request = parcel
        .request(url)
        .header(signature::WEBHOOK_SIGNATURE, signature)
        .header(signature::WEBHOOK_ID, id)
        .header(signature::WEBHOOK_TIMESTAMP, seconds);
    (request, seconds)
}
