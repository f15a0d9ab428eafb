//! The ArtCafe surface, `/api/v1`, and what goes over the connections of its agents.

mod channels;
mod client;
mod connections;
mod inbox;
mod protocol;
mod requests;
mod subscriptions;
mod work;
