//! Goal 12: from the start of the process to the line that says it listens, on an empty folder and on one that
//! holds many agents; a bare server's start beside it shows what the machine takes for any process.

use std::path::Path;

use crate::agents;
use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::printer;
use crate::process::Process;
use crate::report::{Figure, Goal, Measured, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};

const EMPTY_MAX_MS: f64 = 100.0;
const KEPT_MAX_MS: f64 = 1_000.0;
const AGENTS: u64 = 100_000;
const STARTS: u32 = 7;
const STARTS_QUICK: u32 = 2;
const READY_MS: &str = "ready after ms";

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let agents = context.fleet(AGENTS);
    let full = format!("{agents} agents");
    let kept = context.temporary("startup")?;
    let signalbox = Signalbox::start(context, kept.path(), None).await?;
    let ids = agents::register(context, signalbox.addr, agents, agents::NOWHERE).await?;
    agents::report_each(context, signalbox.addr, &ids).await?;
    signalbox.stop().await?;

    let mut measured = Measured::default();
    for round in 1..=if context.quick { STARTS_QUICK } else { STARTS } {
        let empty = context.temporary("startup-empty")?;
        let bare = Bare::start(Kind::Hello, empty.path()).await?;
        measured.figures.push(figure("any folder", "bare hello", round, &bare.process));
        measured.figures.push(start(context, "empty folder", empty.path(), round).await?);
        measured.figures.push(start(context, &full, kept.path(), round).await?);
    }
    for (group, bound) in [("empty folder", EMPTY_MAX_MS), (&full, KEPT_MAX_MS)] {
        let figures = measured.figures.iter().filter(|figure| figure.group == group);
        let values = figures.map(|figure| figure.metric(READY_MS)).collect();
        measured.verdicts.push(Verdict::new(group, "ms", values, Some(Goal::AtMost(bound)), true));
    }
    measured.facts.extend(sqlite_facts(kept.path()));
    measured.note("The folders were just written, so their files are in the page cache; each start follows an orderly end.");
    measured
        .note("The bound of 1,000 ms is set for 1,000,000 kept sessions; agents are what this case keeps.");
    Ok(measured)
}

async fn start(context: &Context, group: &str, folder: &Path, round: u32) -> anyhow::Result<Figure> {
    let signalbox = Signalbox::start(context, folder, None).await?;
    let figure = figure(group, "Signalbox", round, &signalbox.process);
    signalbox.stop().await?;
    Ok(figure)
}

fn figure(group: &str, side: &str, round: u32, process: &Process) -> Figure {
    let figure = Figure::new(group, side, round, &[(READY_MS, process.ready_after.as_secs_f64() * 1e3)]);
    printer::progress(&figure_line(&figure));
    figure
}
