//! `/api/v1/agents/{agent_id}/commands`: requests to an agent over its connection.

pub(in crate::surface::artcafe) mod cancel;
mod convert;
pub(in crate::surface::artcafe) mod create;
pub(in crate::surface::artcafe) mod read;
mod wait;
