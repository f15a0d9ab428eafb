//! Goals 11 and 12 for sessions: what a session costs, how long a start takes and how fast lists are among 1,000 and
//! among 1,000,000 finished sessions. The many are made by the engine's decisions before the server starts.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::flow::{Flow, Reports};
use crate::context::Context;
use crate::fill::Fill;
use crate::interleave::{Side, interleave, plan};
use crate::report::{Figure, Goal, Measured, PER_S, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, clock, load, plans, printer, requests};

const SIZES: [u64; 2] = [1_000, 1_000_000];
const SIZES_QUICK: [u64; 2] = [100, 5_000];
/// Cost among the most finished sessions over cost among the fewest.
const COST: Goal = Goal::AtMost(1.20);
const READY_MAX_MS: f64 = 1_000.0;
const STARTS: u32 = 5;
const STARTS_QUICK: u32 = 2;
/// A million of them are half a day's work, well within what retention keeps.
const APART: Duration = Duration::from_millis(40);
const OPEN: usize = 64;
const TASKS: u32 = 1;
/// Lists take longer than other requests, and two of them are read at once.
const LIST_CONNECTIONS: usize = 4;
const READY_MS: &str = "ready after ms";
const FILLED: &str = "filled";
const LISTS: [(&str, &str); 5] = [
    ("newest sessions", "/v1/opscore/sessions?limit=100"),
    ("completed sessions", "/v1/opscore/sessions?status=completed&limit=100"),
    ("running sessions, of which there are none", "/v1/opscore/sessions?status=running&limit=100"),
    ("sessions of a workflow", "/v1/opscore/sessions?workflow=filled&limit=100"),
    (
        "failed sessions of a workflow, of which there are none",
        "/v1/opscore/sessions?workflow=filled&status=failed",
    ),
];

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let mut kept = Vec::new();
    for size in if context.quick { SIZES_QUICK } else { SIZES } {
        kept.push((size, filled(context, size).await?));
    }
    starts(context, &kept, &mut measured).await?;

    let mut flows = Vec::new();
    for (size, folder) in &kept {
        let signalbox = Signalbox::start(context, folder.path(), None).await?;
        flows.push((*size, Flow::new(context, signalbox, folder.path(), &[TASKS], Reports::ByCall).await?));
        flows.iter().for_each(|(_, flow)| flow.signalbox.process.pause());
    }
    sessions(context, &flows, &mut measured).await?;
    lists(context, &flows, &mut measured).await?;
    for (_, flow) in flows {
        flow.signalbox.process.resume();
        flow.all_completed().await?;
        flow.stop().await?;
    }
    for (_, folder) in &kept {
        measured.facts.extend(sqlite_facts(folder.path()));
    }
    if let Some((size, folder)) = kept.last() {
        let file = folder.path().join("signalbox/signalbox.db");
        measured.fact(
            "database",
            format!("{} bytes with {size} finished sessions", std::fs::metadata(&file)?.len()),
        );
        plans::of_sessions(&file)?.iter().for_each(|plan| measured.note(plan));
    }
    measured.note("A cost is the rate among few over the rate among many.");
    measured.note("Each finished session has its task, its message and six log entries, as a session run by agents has.");
    Ok(measured)
}

/// A folder whose store holds so many finished sessions.
async fn filled(context: &Context, size: u64) -> anyhow::Result<TempDir> {
    let folder = context.temporary("session-growth")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let plan = agents::counted(context, signalbox.addr, requests::worker("filler", agents::NOWHERE, 1)?, 1);
    agents::complete("registering an agent", 1, load::run(&plan).await?)?;
    let body = requests::workflow(FILLED, "filler", 1).to_string();
    load::call(signalbox.addr, "POST", "/v1/opscore/workflows", Some(&body)).await?;
    signalbox.stop().await?;
    let begin = clock::now();
    let mut fill = Fill::open(folder.path()).await?;
    fill.finished(FILLED, "filler-00000000", size, u64::try_from(APART.as_micros())?).await?;
    fill.close().await?;
    let rate = size as f64 / (clock::now() - begin).as_secs_f64();
    printer::progress(&format!("  {size} finished sessions, {rate:.0} per second"));
    Ok(folder)
}

async fn starts(context: &Context, kept: &[(u64, TempDir)], measured: &mut Measured) -> anyhow::Result<()> {
    let mut most = Vec::new();
    for round in 1..=if context.quick { STARTS_QUICK } else { STARTS } {
        for (size, folder) in kept {
            let signalbox = Signalbox::start(context, folder.path(), None).await?;
            let ready_ms = signalbox.process.ready_after.as_secs_f64() * 1e3;
            signalbox.stop().await?;
            let figure = Figure::new("start", &name(*size), round, &[(READY_MS, ready_ms)]);
            printer::progress(&figure_line(&figure));
            most.push(ready_ms);
            measured.figures.push(figure);
        }
    }
    let sizes = kept.len();
    let values = most.into_iter().skip(sizes - 1).step_by(sizes).collect();
    let what = kept.last().map(|(size, _)| format!("ready after start, {}", name(*size))).unwrap_or_default();
    measured.verdicts.push(Verdict::new(&what, "ms", values, Some(Goal::AtMost(READY_MAX_MS)), true));
    Ok(())
}

async fn sessions(context: &Context, flows: &[(u64, Flow)], measured: &mut Measured) -> anyhow::Result<()> {
    let mut sides = Vec::new();
    for (size, flow) in flows {
        sides.push(flow.side(context, &name(*size), (TASKS, OPEN), 0)?);
    }
    let group = format!("sessions of one task, {OPEN} open");
    let rounds = interleave(context, &group, &mut sides).await?;
    sides.iter().for_each(Side::pause);
    conclude(&group, flows, rounds, Some(COST), measured);
    Ok(())
}

async fn lists(context: &Context, flows: &[(u64, Flow)], measured: &mut Measured) -> anyhow::Result<()> {
    for (group, path) in LISTS {
        let template = Arc::new(requests::list(path)?);
        let mut sides = Vec::new();
        for (size, flow) in flows {
            let plan = plan(context, flow.signalbox.addr, &template, LIST_CONNECTIONS);
            sides.push(Side::new(&name(*size), &flow.signalbox.process, plan));
        }
        let rounds = interleave(context, group, &mut sides).await?;
        sides.iter().for_each(Side::pause);
        conclude(group, flows, rounds, None, measured);
    }
    Ok(())
}

fn conclude(
    group: &str,
    flows: &[(u64, Flow)],
    rounds: Vec<Vec<Figure>>,
    goal: Option<Goal>,
    measured: &mut Measured,
) {
    if let [(few, _), (many, _)] = flows {
        let what = format!("{group}, cost from {few} to {many} finished sessions");
        measured.verdicts.push(Verdict::ratio(&what, &rounds, (0, 1), PER_S, goal));
    }
    measured.figures.extend(rounds.into_iter().flatten());
}

fn name(size: u64) -> String {
    format!("{size} finished sessions")
}
