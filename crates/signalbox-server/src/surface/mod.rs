//! The surfaces: one folder each, with one file per operation in folders that mirror its URLs. A surface never
//! imports another.

mod absent;
pub(crate) mod agentkit;
pub(crate) mod api_router;
pub(crate) mod artcafe;
pub(crate) mod description;
pub(crate) mod opscore;
pub(crate) mod process;
mod registering;
mod seen;
pub(crate) mod state;

pub use self::opscore::differences;
