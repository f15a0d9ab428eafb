//! The harness against itself: two bare JSON servers of the same kind. What their ratio is away from 1 is noise,
//! and no other verdict can be finer than it.

use std::sync::Arc;

use super::reports::FLEET;
use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::load::Ids;
use crate::report::{Goal, Measured};
use crate::requests;

const NOISE_MAX: f64 = 0.1;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("control")?;
    let first = Bare::start(Kind::Json, folder.path()).await?;
    let second = Bare::start(Kind::Json, folder.path()).await?;
    let names: Vec<String> = (0..FLEET).map(|number| format!("agt_{number:026}")).collect();
    let template = Arc::new(requests::report(&Ids::new(&names)?)?);
    let mut measured = Measured::default();
    measured.fact("both sides", "bare axum, POST of a 250-byte JSON report → 202, nothing kept");
    for connections in [64, 256] {
        let mut sides = [
            Side::new("first", &first.process, plan(context, first.addr, &template, connections)),
            Side::new("second", &second.process, plan(context, second.addr, &template, connections)),
        ];
        let rounds = interleave(context, &format!("{connections} connections"), &mut sides).await?;
        measured.conclude(rounds, Some(Goal::NearOne(NOISE_MAX)), None);
    }
    Ok(measured)
}
