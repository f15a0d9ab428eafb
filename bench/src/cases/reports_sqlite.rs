//! Goals 1 and 2: a report made durable by SQLite against a handler that keeps nothing.

use super::reports::{Backend, Load, measure as measure_reports};
use crate::context::Context;
use crate::report::{Goal, Measured};

const LOADS: [Load; 2] = [
    Load { connections: 64, rate: Goal::AtLeast(0.65), p99: Some(Goal::AtMost(2.0)) },
    Load { connections: 256, rate: Goal::AtLeast(0.80), p99: None },
];

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    measure_reports(context, Backend::Sqlite, &LOADS).await
}
