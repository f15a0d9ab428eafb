//! The promises of the store, kept by every database: SQLite always, PostgreSQL where
//! `SIGNALBOX_TEST_POSTGRES` names a server on which databases may be made.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod census;
mod channels;
mod conflicts;
mod crash;
mod differential;
mod due;
mod events;
mod lanes;
mod listings;
mod nodes;
mod opening;
mod pace;
mod payloads;
mod redo;
mod retention;
mod rows;
mod samples;
mod tenants;
mod waiting;
mod world;
