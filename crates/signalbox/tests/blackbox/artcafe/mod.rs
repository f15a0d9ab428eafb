//! The ArtCafe surface, `/api/v1`, and what goes over the connections of its agents.

mod channels;
mod client;
mod requests;
mod subscriptions;
