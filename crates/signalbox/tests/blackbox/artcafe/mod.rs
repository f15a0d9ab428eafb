//! The ArtCafe surface, `/api/v1`, and what goes over the connections of its agents.

mod across_nodes;
mod agents;
mod channels;
pub(crate) mod client;
mod commands;
mod commits_that_fail;
mod compression;
mod connections;
mod deflate;
mod inbox;
mod presence;
mod protocol;
mod requests;
pub(crate) mod seed_agent;
mod subscriptions;
mod tokens;
mod work;
