//! Goal 3: a report made durable by PostgreSQL with its default settings against a handler that keeps nothing.

use super::reports::{Backend, Load, measure as measure_reports};
use crate::context::Context;
use crate::report::{Goal, Measured};

const LOADS: [Load; 2] = [
    Load { connections: 64, rate: Goal::AtLeast(0.25), p99: None },
    Load { connections: 256, rate: Goal::AtLeast(0.40), p99: None },
];

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    measure_reports(context, Backend::Postgres, &LOADS).await
}
