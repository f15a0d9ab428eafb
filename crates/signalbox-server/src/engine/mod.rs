//! The driver: core's attempt loop over the real store, lines for what conflicts, and what follows from a commit.
//! Beside it what the server puts around the engine: checks against JSON Schemas, and values put together again.

mod admission;
mod drive;
mod follow;
mod in_flight;
mod lines;
mod long;
pub(crate) mod mailbox;
pub(crate) mod payloads;
mod peers;
pub(crate) mod schema;
pub(crate) mod slots;
mod start_inputs;
mod taken;
mod turns;

pub(crate) use self::admission::Admission;
pub(crate) use self::drive::{Drive, DriveError, Driven};
pub(crate) use self::long::LongWork;
pub(crate) use self::taken::Taken;
