//! A closed-loop HTTP/1.1 load generator: every connection sends its next request when the answer to the last
//! one has come.
//!
//! It shares the machine with the server, so it does as little as it can (requests are patched in place,
//! answers are not parsed beyond their length), and both sides of a comparison are driven by this same code.

mod call;
mod connection;
mod echo;
mod ends;
mod generator;
mod outcome;
mod paced;
mod response;
mod share;
mod template;

pub(crate) use call::{call, call_by};
pub(crate) use connection::Connection;
pub(crate) use echo::{EchoPlan, run_echo};
pub(crate) use ends::Ends;
pub(crate) use generator::{Extent, Plan, run};
pub(crate) use outcome::Outcome;
pub(crate) use paced::{PacedPlan, run_paced};
pub(crate) use template::{Ids, Template};
