//! `/v1/opscore/hooks/…`: sessions that start by signed webhooks.

pub(super) mod manage;
pub(super) mod receive;
