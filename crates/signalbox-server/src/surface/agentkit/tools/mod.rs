//! `/v1/tools`: which tools there are.

pub(super) mod create;
pub(super) mod delete;
pub(super) mod get;
pub(super) mod list;
