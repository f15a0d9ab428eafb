//! Live traffic of agents: channels, subscriptions, requests.

pub(crate) mod channels;
