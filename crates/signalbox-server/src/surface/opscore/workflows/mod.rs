//! `/v1/opscore/workflows/…`: definitions, their revisions, and how they are started.

pub(super) mod apply;
pub(super) mod compare;
pub(super) mod definitions;
mod starters;
pub(super) mod trigger;
pub(super) mod versions;
