//! `/v1/opscore/logs`: the log of a tenant, and how its entries are shown.

pub(super) mod entries;
pub(super) mod names;
pub(super) mod read;
mod served;
