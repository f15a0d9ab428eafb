//! `/v1/opscore/schedules/…`: sessions that start by the clock.

pub(super) mod apply;
pub(super) mod control;
pub(super) mod convert;
pub(super) mod runs;
