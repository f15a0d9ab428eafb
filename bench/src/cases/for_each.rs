//! A task for each item of a list: what an item costs in a list of 100 and in one of 10,000, and how long other sessions
//! take meanwhile. The agents are done at once and report with their answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::flow::{AGENTS, CONCURRENCY, Flow, Reports, WORKER};
use crate::callgrind::Callgrind;
use crate::context::Context;
use crate::interleave::Side;
use crate::load::{self, Extent, Outcome, PacedPlan, Plan};
use crate::report::{Figure, Goal, MAX_MS, Measured, Metric, P50_MS, P99_MS, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, clock, printer, requests};

/// Lengths of lists. The first is what the others are compared with.
const LISTS: [u64; 3] = [100, 1_000, ITEMS];
/// The list that there is a goal for.
const ITEMS: u64 = 10_000;
/// The cost of one of its items over that of one of the shortest list.
const COST: Goal = Goal::AtMost(1.2);
/// Items of one side in one round, at least.
const ITEMS_PER_ROUND: u64 = 20_000;
const ITEMS_PER_ROUND_QUICK: u64 = 2_000;
/// Items of each length that are counted by callgrind, at some fifty times their usual time.
const ITEMS_COUNTED: u64 = 10_000;
const ITEMS_COUNTED_QUICK: u64 = 1_000;
/// The longest list that is counted where little time is to be spent: three times what the agents take at once.
const LIST_COUNTED_QUICK: u64 = 3_000;
const INSTRUCTIONS: &str = "instructions an item";
const COMMITS: &str = "decisions committed an item";
const CONFLICTS: &str = "decisions that conflicted an item";
const WORKFLOW: &str = "each";
const WALL_US: &str = "wall µs an item";
const CPU_US: &str = "server CPU µs an item";
const PER_S: &str = "items per second";

/// The sessions beside a list have agents of their own: with the same they would wait for their turn, as they should.
const BESIDE: &str = "beside";
const BESIDE_AGENTS: u64 = 64;
const BESIDE_CONNECTIONS: u32 = 32;
/// The time between two of these sessions.
const BESIDE_PACE: Duration = Duration::from_millis(10);
/// The number of the first of them: those of lists are below.
const BESIDE_FIRST: u64 = 50_000_000;

const TRIED_WITHIN: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let mut lists = Vec::new();
    for items in LISTS {
        match refusal(context, items).await? {
            None => lists.push(items),
            Some(reason) => {
                measured.note(&format!("A list of {items} items was refused and not measured: {reason}"));
                printer::progress(&format!("  a list of {items} items was refused: {reason}"));
            }
        }
    }
    let longest = *lists.last().context("the server refuses every list")?;

    let folder = context.temporary("for-each")?;
    let flow = flow(context, folder.path()).await?;
    flow.register(context, BESIDE, BESIDE_AGENTS).await?;
    flow.keep(&requests::workflow(BESIDE, BESIDE, 1)).await?;
    costs(context, &flow, &lists, &mut measured).await?;
    if Callgrind::is_here() {
        instructions(context, &lists, &mut measured).await?;
    } else {
        measured.note("Instructions were not counted: install valgrind.");
    }
    beside(context, &flow, longest, &mut measured).await?;
    flow.all_completed().await?;
    measured.facts.extend(sqlite_facts(folder.path()));
    measured.fact(
        "agents",
        format!(
            "{AGENTS} in one process, found by capability, {CONCURRENCY} tasks at once each; they answer with their report"
        ),
    );
    measured.note(
        "One session at a time: a task for each item, as many at once as there are agents for, and one task that follows \
         and tells the end. It counts as an item.",
    );
    measured.note("Server CPU is that of the server alone.");
    measured.note(&format!(
        "Beside a list: sessions of one task, one every {} ms, each counted from when it was due, by agents that do nothing \
         else; sessions with a list follow one another meanwhile.",
        BESIDE_PACE.as_millis()
    ));
    flow.stop().await?;
    Ok(measured)
}

async fn flow(context: &Context, folder: &std::path::Path) -> anyhow::Result<Flow> {
    let signalbox = Signalbox::start(context, folder, None).await?;
    flow_of(context, folder, signalbox).await
}

async fn flow_of(context: &Context, folder: &std::path::Path, signalbox: Signalbox) -> anyhow::Result<Flow> {
    let flow = Flow::new(context, signalbox, folder, &[], Reports::ByAnswer).await?;
    flow.keep(&requests::for_each(WORKFLOW, WORKER)).await?;
    Ok(flow)
}

/// Why a server does not do a list of so many items, if it does not: asked of a server of its own, where nothing that
/// failed is in the way of what is measured.
async fn refusal(context: &Context, items: u64) -> anyhow::Result<Option<String>> {
    let folder = context.temporary("for-each-try")?;
    let flow = flow(context, folder.path()).await?;
    let addr = flow.signalbox.addr;
    let path = format!("/v1/opscore/workflows/{WORKFLOW}/trigger");
    let refusal = match load::call(addr, "POST", &path, Some(&requests::list_body(items, "00000000"))).await {
        Err(error) => Some(format!("{error:#}")),
        Ok(answer) => {
            let answer: Value = serde_json::from_slice(&answer)?;
            let id = answer["sessionId"].as_str().context("a session that began has an id")?;
            failure(&flow, id).await?
        }
    };
    flow.stop().await?;
    Ok(refusal)
}

/// Waits until a session has ended; why it failed, if it did.
async fn failure(flow: &Flow, id: &str) -> anyhow::Result<Option<String>> {
    let path = format!("/v1/opscore/sessions/{id}");
    let until = clock::now() + TRIED_WITHIN;
    loop {
        let body = load::call(flow.signalbox.addr, "GET", &path, None).await?;
        let session: Value = serde_json::from_slice(&body)?;
        match session["status"].as_str() {
            Some("completed") => return Ok(None),
            Some("failed" | "cancelled") => return Ok(Some(reason(&session))),
            status => ensure!(clock::now() < until, "the session is {status:?} after {TRIED_WITHIN:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What a failed session says of its failure, or else its first task that says something.
fn reason(session: &Value) -> String {
    let tasks = session["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said = std::iter::once(session).chain(tasks).find_map(|value| value["error"].as_str());
    said.unwrap_or("its session failed and does not say why").to_owned()
}

/// Rounds of lists of each length, one session at a time.
async fn costs(context: &Context, flow: &Flow, lists: &[u64], measured: &mut Measured) -> anyhow::Result<()> {
    let per_round = if context.quick { ITEMS_PER_ROUND_QUICK } else { ITEMS_PER_ROUND };
    let mut sides = Vec::new();
    for items in lists {
        let plan = list_plan(context, flow, *items)?;
        // What is made once is made before the clock starts.
        load::run(&Plan { extent: Extent::Count(1), ..plan.clone() }).await?;
        let plan = Plan { extent: Extent::Count((per_round / items).max(1)), ..plan };
        sides.push((*items, Side::new(&format!("{items} items"), &flow.signalbox.process, plan)));
    }
    let mut rounds = Vec::new();
    for round in 1..=context.rounds {
        let mut figures = Vec::new();
        for (items, side) in &mut sides {
            let before = decided(flow).await?;
            let (outcome, cpu) = side.run().await?;
            let after = decided(flow).await?;
            let done = (outcome.succeeded * (*items + 1)).max(1) as f64;
            let wall = outcome.time.as_secs_f64();
            let metrics = [
                (PER_S, done / wall),
                (WALL_US, wall * 1e6 / done),
                (CPU_US, cpu.server_seconds * 1e6 / done),
                (COMMITS, (after.0 - before.0) / done),
                (CONFLICTS, (after.1 - before.1) / done),
            ];
            let figure = Figure::new("a task for each item", &side.name, round, &metrics);
            let figure = Figure { faults: outcome.fault_lines(), ..figure };
            printer::progress(&figure_line(&figure));
            figures.push(figure);
        }
        rounds.push(figures);
    }
    for (place, items) in lists.iter().enumerate().skip(1) {
        let goal = (*items == ITEMS).then_some(COST);
        for (what, metric) in [("server CPU", CPU_US), ("wall time", WALL_US)] {
            let name = format!("{what} of an item, {items} items over {}", lists[0]);
            measured.verdicts.push(Verdict::ratio(&name, &rounds, (place, 0), metric, goal));
        }
    }
    measured.figures.extend(rounds.into_iter().flatten());
    Ok(())
}

/// The instructions of an item of each length, counted by callgrind: neighbours on the machine do not move them.
async fn instructions(context: &Context, lists: &[u64], measured: &mut Measured) -> anyhow::Result<()> {
    let (all, longest) = match context.quick {
        true => (ITEMS_COUNTED_QUICK, LIST_COUNTED_QUICK),
        false => (ITEMS_COUNTED, u64::MAX),
    };
    let mut round = Vec::new();
    for items in lists.iter().map(|items| *items.min(&longest)) {
        let metrics = counted(context, items, (all / items).max(1)).await?;
        let figure = Figure::new("a task for each item, counted", &format!("{items} items"), 1, &metrics);
        printer::progress(&figure_line(&figure));
        round.push(figure);
    }
    let sides: Vec<String> = round.iter().map(|figure| figure.side.clone()).collect();
    let rounds = [round];
    for (place, side) in sides.iter().enumerate().skip(1) {
        let name = format!("instructions of an item, {side} over {}", sides[0]);
        measured.verdicts.push(Verdict::ratio(&name, &rounds, (place, 0), INSTRUCTIONS, None));
    }
    measured.figures.extend(rounds.into_iter().flatten());
    Ok(())
}

async fn counted(context: &Context, items: u64, sessions: u64) -> anyhow::Result<[(&'static str, f64); 3]> {
    let folder = context.temporary("for-each-counted")?;
    let callgrind = Callgrind::new(folder.path());
    let signalbox = Signalbox::start_counted(context, &callgrind, folder.path()).await?;
    let flow = flow_of(context, folder.path(), signalbox).await?;
    let process = &flow.signalbox.process;
    // What is made once is made by a short list before.
    let before = list_plan(context, &flow, LISTS[0])?;
    load::run(&Plan { extent: Extent::Count(1), ..before }).await?;
    let decided_before = decided(&flow).await?;
    callgrind.begin(process).await?;
    let plan = Plan { extent: Extent::Count(sessions), first_ticket: 1, ..list_plan(context, &flow, items)? };
    let outcome = agents::complete("the counted lists", sessions, load::run(&plan).await?)?;
    let total = callgrind.counted(process).await?;
    flow.all_completed().await?;
    let decided = decided(&flow).await?;
    flow.stop().await?;
    let each = |count: f64| count / (outcome.succeeded * (items + 1)) as f64;
    Ok([
        (INSTRUCTIONS, each(total as f64)),
        (COMMITS, each(decided.0 - decided_before.0)),
        (CONFLICTS, each(decided.1 - decided_before.1)),
    ])
}

/// How many decisions the server has committed, and how many have conflicted.
async fn decided(flow: &Flow) -> anyhow::Result<(f64, f64)> {
    let text = load::call(flow.signalbox.addr, "GET", "/metrics", None).await?;
    let text = String::from_utf8_lossy(&text);
    let of = |outcome: &str| {
        let mark = format!("decisions_total{{outcome=\"{outcome}\"}}");
        let line = text.lines().find_map(|line| line.split_once(&mark));
        line.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or(0.0)
    };
    Ok((of("committed"), of("conflict")))
}

/// Sessions with a list, one after the other for the context's time.
fn list_plan(context: &Context, flow: &Flow, items: u64) -> anyhow::Result<Plan> {
    let trigger = Arc::new(requests::trigger_list(WORKFLOW, items)?);
    Ok(flow.plan_of(context, (&trigger, 1), 0))
}

/// Sessions of one task alone, and beside lists of so many items.
async fn beside(context: &Context, flow: &Flow, items: u64, measured: &mut Measured) -> anyhow::Result<()> {
    let paced = PacedPlan {
        addr: flow.signalbox.addr,
        template: Arc::new(requests::trigger(BESIDE)?),
        connections: BESIDE_CONNECTIONS,
        pace: BESIDE_PACE,
        warm_up: context.warm_up,
        measured: context.seconds,
        first_ticket: BESIDE_FIRST,
        ends: Some(flow.ends()),
    };
    let lists = list_plan(context, flow, items)?;
    let group = format!("sessions of one task beside a list of {items} items");
    let mut rounds = Vec::new();
    for round in 1..=context.rounds {
        let alone = figure(&group, "alone", round, &load::run_paced(&paced).await?);
        let (outcome, lists) = tokio::join!(load::run_paced(&paced), load::run(&lists));
        let lists = lists?;
        let mut held = figure(&group, "beside the list", round, &outcome?);
        held.metrics.push(Metric { name: "lists done", value: lists.succeeded as f64 });
        held.faults.extend(lists.fault_lines());
        for figure in [&alone, &held] {
            printer::progress(&figure_line(figure));
        }
        rounds.push(vec![alone, held]);
    }
    let held: Vec<&Figure> = rounds.iter().filter_map(|round| round.last()).collect();
    let is_valid = held.iter().all(|figure| figure.faults.is_empty());
    let p99 = held.iter().map(|figure| figure.metric(P99_MS)).collect();
    measured.verdicts.push(Verdict::new(&format!("p99 of {group}"), "ms", p99, None, is_valid));
    measured.verdicts.push(Verdict::ratio(
        &format!("p99 of {group}, over alone"),
        &rounds,
        (1, 0),
        P99_MS,
        None,
    ));
    measured.figures.extend(rounds.into_iter().flatten());
    Ok(())
}

fn figure(group: &str, side: &str, round: u32, outcome: &Outcome) -> Figure {
    let latency = [(P50_MS, 0.50), (P99_MS, 0.99), (MAX_MS, 1.0)]
        .map(|(name, quantile)| (name, outcome.latency_ms(quantile)));
    Figure { faults: outcome.fault_lines(), ..Figure::new(group, side, round, &latency) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::reason;

    #[test]
    fn the_reason_is_the_sessions_own_or_that_of_its_first_task_with_one() {
        let tasks = json!([{"status": "pending"}, {"error": "too long"}, {"error": "another"}]);
        assert_eq!(reason(&json!({"status": "failed", "tasks": tasks})), "too long");
        assert_eq!(reason(&json!({"error": "its own", "tasks": tasks})), "its own");
        assert!(reason(&json!({})).contains("does not say"));
    }
}
