//! Goals 6 and 7: sessions of one, three and ten tasks through HTTP agents that are done at once, beside the same job on
//! the Restate server, whose steps are functions of the service that has the job or calls of another one. Some agents
//! call back with their report, others answer the delivery with it. The clock of a session runs from its trigger until its
//! last report is acknowledged, or given as an answer.

use std::path::Path;
use std::sync::Arc;

use super::flow::{AGENTS, CONCURRENCY, Flow, Reports};
use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::printer;
use crate::report::{Figure, Goal, Measured, Metric, P50_MS, P99_MS, PER_S, Verdict};
use crate::restate::{Programs, Restate, Steps};
use crate::server::{Signalbox, sqlite_facts};

const TASKS: [u32; 3] = [1, 3, 10];
/// Sessions that are open at once; each is followed by the next when it has ended.
const OPEN: [usize; 3] = [1, 64, 256];
const OPEN_QUICK: [usize; 2] = [1, 64];
const RATE_OPEN: usize = 64;
const P50: Goal = Goal::AtMost(1.0);
const P99: Goal = Goal::AtMost(5.0);
/// Restate's own default is 24, which costs it half of its rate on two cores.
const FEW_PARTITIONS: u32 = 2;
/// Our two sides: agents that report by a call, and agents that report by their answer.
const SIDES: [&str; 2] = ["Signalbox, agents call back", "Signalbox, agents answer"];
/// Their sides, which come after ours.
const THEIRS: [Their; 3] = [
    Their {
        side: "Restate, 2 partitions",
        partitions: Some(FEW_PARTITIONS),
        steps: Steps::Inside,
        name: "Restate with 2 partitions",
        rate: Some(Goal::AtLeast(2.0)),
    },
    Their {
        side: "Restate, 2 partitions, steps called",
        partitions: Some(FEW_PARTITIONS),
        steps: Steps::Called,
        name: "Restate with 2 partitions, steps called",
        rate: Some(Goal::AtLeast(4.0)),
    },
    Their {
        side: "Restate, default",
        partitions: None,
        steps: Steps::Inside,
        name: "Restate as it comes",
        rate: None,
    },
];
const TASKS_PER_S: &str = "tasks per second";

/// One way to do the job on Restate.
struct Their {
    side: &'static str,
    partitions: Option<u32>,
    steps: Steps,
    /// In verdicts.
    name: &'static str,
    /// Of the rate of either of our sides over this one's.
    rate: Option<Goal>,
}

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("sessions")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let calling = Flow::new(context, signalbox, folder.path(), &TASKS, Reports::ByCall).await?;
    let second = context.temporary("sessions-answered")?;
    let signalbox = Signalbox::start(context, second.path(), None).await?;
    let answering = Flow::new(context, signalbox, second.path(), &TASKS, Reports::ByAnswer).await?;
    let ours = [calling, answering];
    let theirs = Theirs::start(folder.path()).await;
    if let Err(error) = &theirs {
        printer::error(&format!("Restate is left out: {error:#}"));
    }

    let mut measured = Measured::default();
    let mut first_tickets = [0; 2];
    for tasks in TASKS {
        for open in if context.quick { &OPEN_QUICK[..] } else { &OPEN[..] } {
            let rounds =
                compare(context, &ours, theirs.as_ref().ok(), (tasks, *open), &mut first_tickets).await?;
            conclude(tasks, *open, rounds, theirs.is_ok(), &mut measured);
        }
    }
    describe(folder.path(), theirs.as_ref(), &mut measured);
    if let Ok(theirs) = theirs {
        theirs.stop().await?;
    }
    for flow in ours {
        flow.stop().await?;
    }
    Ok(measured)
}

/// The servers that it is compared with, in the order of [`THEIRS`].
struct Theirs {
    programs: Programs,
    servers: Vec<Restate>,
}

impl Theirs {
    async fn start(folder: &Path) -> anyhow::Result<Self> {
        let programs = tokio::task::spawn_blocking(Programs::prepare).await??;
        let mut servers = Vec::new();
        for (number, their) in THEIRS.iter().enumerate() {
            let folder = folder.join(format!("restate-{number}"));
            servers.push(programs.start(&folder, their.partitions, their.steps).await?);
        }
        Ok(Self { programs, servers })
    }

    async fn stop(self) -> anyhow::Result<()> {
        for server in self.servers {
            server.stop().await?;
        }
        Ok(())
    }
}

async fn compare(
    context: &Context,
    ours: &[Flow; 2],
    theirs: Option<&Theirs>,
    (tasks, open): (u32, usize),
    first_tickets: &mut [u64; 2],
) -> anyhow::Result<Vec<Vec<Figure>>> {
    let mut sides = Vec::new();
    for ((flow, name), first_ticket) in ours.iter().zip(SIDES).zip(first_tickets.iter()) {
        sides.push(flow.side(context, name, (tasks, open), *first_ticket)?);
    }
    for (their, restate) in THEIRS.iter().zip(theirs.iter().flat_map(|theirs| &theirs.servers)) {
        let job = Arc::new(restate.job(tasks)?);
        let mut side = Side::new(their.side, &restate.server, plan(context, restate.ingress, &job, open));
        side.processes.extend(&restate.services);
        sides.push(side);
    }
    let mut rounds = interleave(context, &group(tasks, open), &mut sides).await?;
    for (side, first_ticket) in sides.iter().zip(first_tickets.iter_mut()) {
        *first_ticket = side.plan.first_ticket;
    }
    drop(sides);
    for flow in ours {
        flow.all_completed().await?;
    }
    for figure in rounds.iter_mut().flatten() {
        let value = figure.metric(PER_S) * f64::from(tasks);
        figure.metrics.insert(1, Metric { name: TASKS_PER_S, value });
    }
    Ok(rounds)
}

fn group(tasks: u32, open: usize) -> String {
    format!("{tasks} {}, {open} open", if tasks == 1 { "task" } else { "tasks" })
}

fn conclude(tasks: u32, open: usize, rounds: Vec<Vec<Figure>>, is_compared: bool, measured: &mut Measured) {
    let group = group(tasks, open);
    if is_compared {
        for (ours, how) in ["agents call back", "agents answer"].into_iter().enumerate() {
            for (number, their) in THEIRS.iter().enumerate() {
                let goal = their.rate.filter(|_| open == RATE_OPEN);
                let name = format!("{group}, {how}, rate over {}", their.name);
                let sides = (ours, SIDES.len() + number);
                measured.verdicts.push(Verdict::ratio(&name, &rounds, sides, PER_S, goal));
            }
        }
    }
    let name = format!("{group}, rate of agents that answer over agents that call back");
    measured.verdicts.push(Verdict::ratio(&name, &rounds, (1, 0), PER_S, None));
    if open == 1 {
        for (name, metric, goal) in [("p50", P50_MS, P50), ("p99", P99_MS, P99)] {
            let ours = rounds.iter().filter_map(|round| round.first());
            let is_valid = ours.clone().all(|figure| figure.faults.is_empty());
            let values = ours.map(|figure| figure.metric(metric)).collect();
            let goal = (tasks == 1).then_some(goal);
            measured.verdicts.push(Verdict::new(&format!("{group}, {name}"), "ms", values, goal, is_valid));
        }
    }
    measured.figures.extend(rounds.into_iter().flatten());
}

fn describe(folder: &Path, theirs: Result<&Theirs, &anyhow::Error>, measured: &mut Measured) {
    measured.facts.extend(sqlite_facts(folder));
    measured.fact(
        "agents",
        format!("{AGENTS} in one process, found by capability, {CONCURRENCY} tasks at once each; they answer 202 and report at once, or answer with their report"),
    );
    measured.note(
        "Signalbox: each trigger and report is flushed before its 202, each task's message is durable before it is \
         POSTed and delivered at least once; an agent is another process, called over HTTP, and calls back.",
    );
    measured.note(
        "Where agents answer, a session counts as ended when its last answer is given, a commit before it is durable: \
         the rate is the server's own, the latency lacks that commit.",
    );
    measured.note("A session has ended when its last report is acknowledged; after each group every session must be `completed`.");
    match theirs {
        Ok(theirs) => {
            measured.facts.extend(theirs.programs.facts());
            measured.note(
                "Restate: the client waits for the answer to its call; the input and each step's result are in its \
                 replicated log on this disk, flushed, before the next step begins; a step may run again after a crash. \
                 Steps are functions inside the service's process, over one connection that stays open: no step is an HTTP call.",
            );
            measured.note(
                "Restate, steps called: each step is a call of a service in another process, which the server makes and \
                 whose answer the job awaits, as it would ask an agent; the call and its answer are in the log as well.",
            );
        }
        Err(error) => measured.note(&format!("Restate was not compared: {error:#}")),
    }
    measured.note("Server CPU is that of the server and of its agents or services together.");
}
