//! Goal 11: what an operation costs among 1,000, 10,000 and 100,000 agents. Each fleet has a server of its own,
//! and the servers take turns.

use std::sync::Arc;

use tempfile::TempDir;

use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::load::{self, Ids, Outcome, Plan, Template};
use crate::report::{Figure, Goal, Measured, PER_S, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, printer, requests};

const FLEETS: [u64; 3] = [1_000, 10_000, 100_000];
const FLEETS_QUICK: [u64; 3] = [100, 300, 1_000];
/// Cost among the most agents over cost among the fewest.
const GOAL: Goal = Goal::AtMost(1.20);
const CONNECTIONS: usize = 64;
/// Registrations in a burst, removed again after it so that the fleet keeps its size.
const BURST: u64 = 1_000;
const BURST_QUICK: u64 = 100;
const BURSTS: u32 = 4;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let sizes = if context.quick { FLEETS_QUICK } else { FLEETS };
    let mut fleets = Vec::new();
    for size in sizes {
        let fleet = Fleet::start(context, size).await?;
        fleet.signalbox.process.pause();
        fleets.push(fleet);
    }
    let mut measured = Measured::default();
    timed(context, "state reports", &fleets, requests::report, &mut measured).await?;
    timed(context, "state reads", &fleets, requests::state, &mut measured).await?;
    registrations(context, &mut fleets, &mut measured).await?;
    for fleet in fleets {
        sqlite_facts(fleet.folder.path()).into_iter().for_each(|fact| measured.fact(&fact.name, fact.value));
        fleet.signalbox.stop().await?;
    }
    measured
        .note("A verdict is the rate of the smaller fleet over the larger one's, so the growth of the cost.");
    measured.note("Registrations are measured in bursts that are removed again, with the pauses left out.");
    Ok(measured)
}

/// A server and as many agents as it was given.
struct Fleet {
    size: u64,
    ids: Ids,
    /// Registrations so far, so that every name is new.
    registered: u64,
    signalbox: Signalbox,
    folder: TempDir,
}

impl Fleet {
    async fn start(context: &Context, size: u64) -> anyhow::Result<Self> {
        let folder = context.temporary(&format!("growth-{size}"))?;
        let signalbox = Signalbox::start(context, folder.path(), None).await?;
        let ids = agents::register(context, signalbox.addr, size, agents::NOWHERE).await?;
        agents::report_each(context, signalbox.addr, &ids).await?;
        Ok(Self { size, ids, registered: size, signalbox, folder })
    }

    fn name(&self) -> String {
        format!("{} agents", self.size)
    }

    /// Registers a burst of agents and removes them again; only the registrations are timed.
    async fn burst(&mut self, context: &Context, count: u64) -> anyhow::Result<Outcome> {
        let addr = self.signalbox.addr;
        let plan = Plan {
            pick: Some(agents::agent_id),
            first_ticket: self.registered,
            ..agents::counted(context, addr, requests::registration(agents::NOWHERE)?, count)
        };
        self.registered += count;
        let outcome = agents::complete("registering a burst", count, load::run(&plan).await?)?;
        let removal = requests::removal(&Ids::new(&outcome.picked)?)?;
        let removed = load::run(&agents::counted(context, addr, removal, count)).await?;
        agents::complete("removing a burst", count, removed)?;
        Ok(outcome)
    }
}

async fn timed(
    context: &Context,
    group: &str,
    fleets: &[Fleet],
    template: fn(&Ids) -> anyhow::Result<Template>,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let mut sides = Vec::new();
    for fleet in fleets {
        let template = Arc::new(template(&fleet.ids)?);
        let plan = plan(context, fleet.signalbox.addr, &template, CONNECTIONS);
        sides.push(Side::new(&fleet.name(), &fleet.signalbox.process, plan));
        measured.fact("requests", format!("{CONNECTIONS} connections, agents in turn"));
    }
    let rounds = interleave(context, group, &mut sides).await?;
    sides.iter().for_each(Side::pause);
    conclude(group, fleets, rounds, measured);
    Ok(())
}

async fn registrations(
    context: &Context,
    fleets: &mut [Fleet],
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let count = if context.quick { BURST_QUICK } else { BURST };
    let mut rounds = Vec::new();
    for round in 1..=context.rounds {
        let mut figures = Vec::new();
        for fleet in fleets.iter_mut() {
            fleet.signalbox.process.resume();
            let mut seconds = 0.0;
            for _ in 0..BURSTS {
                seconds += fleet.burst(context, count).await?.time.as_secs_f64();
            }
            fleet.signalbox.process.pause();
            let rate = count as f64 * f64::from(BURSTS) / seconds;
            let figure = Figure::new("registrations", &fleet.name(), round, &[(PER_S, rate)]);
            printer::progress(&figure_line(&figure));
            figures.push(figure);
        }
        rounds.push(figures);
    }
    conclude("registrations", fleets, rounds, measured);
    Ok(())
}

fn conclude(group: &str, fleets: &[Fleet], rounds: Vec<Vec<Figure>>, measured: &mut Measured) {
    let Some((few, more)) = fleets.split_first() else { return };
    for (index, many) in more.iter().enumerate() {
        let name = format!("{group}, cost from {} to {} agents", few.size, many.size);
        measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, index + 1), PER_S, Some(GOAL)));
    }
    measured.figures.extend(rounds.into_iter().flatten());
}
