//! What a case measured, what it is worth against its goal, and how both are kept.
//!
//! A figure with a fault makes every verdict that rests on it invalid: wrong answers can be given very fast.

mod case;
mod figure;
mod markdown;
mod verdict;
mod write;

pub(crate) use case::{CaseReport, Measured};
pub(crate) use figure::{CLIENT_US, Cpu, Figure, MAX_MS, Metric, P50_MS, P99_MS, PER_S, SERVER_US};
pub(crate) use markdown::{figure_line, summary};
pub(crate) use verdict::{Goal, Verdict};
pub(crate) use write::keep;
