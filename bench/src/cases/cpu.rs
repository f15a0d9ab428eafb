//! What one operation costs the server: processor time in requests of a bare JSON handler, and instructions counted by
//! callgrind beside it, which hold on a machine with neighbours. Work is counted of the server alone, not of its agents.

use std::sync::Arc;

use super::flow::{Flow, Reports};
use super::reports::FLEET;
use crate::baseline::{Bare, Kind};
use crate::callgrind::Callgrind;
use crate::context::Context;
use crate::interleave::{Side, interleave, plan};
use crate::load::{self, Extent, Plan};
use crate::process::Process;
use crate::report::{Figure, Goal, Measured, SERVER_US, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, clock, printer, requests};

/// One task of a session of three, in requests of the bare handler.
const GOAL: Goal = Goal::AtMost(10.0);
const GOAL_TASKS: u32 = 3;
const TASKS: [u32; 3] = [1, 3, 10];
const OPEN: usize = 64;
const GROUP: &str = "64 at once";
const COUNTED: &str = "64 at once, counted";
const INSTRUCTIONS: &str = "instructions each";
const BARE: &str = "bare JSON handler";
/// Operations that are counted, at some fifty times their usual time.
const COUNT: u64 = 2_000;
const COUNT_QUICK: u64 = 500;
/// Operations before the count, so that what is made once is made.
const COUNT_BEFORE: u64 = 300;
/// How long what was accepted may take to be delivered.
const DRAINED_WITHIN: std::time::Duration = std::time::Duration::from_secs(120);
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Report,
    Message,
    Session { tasks: u32, reports: Reports },
}

impl Work {
    fn all() -> Vec<Self> {
        let sessions = |reports| TASKS.map(|tasks| Self::Session { tasks, reports });
        let mut all = vec![Self::Report, Self::Message];
        all.extend(sessions(Reports::ByCall));
        all.extend(sessions(Reports::ByAnswer));
        all
    }

    fn name(self) -> String {
        match self {
            Self::Report => "report".to_owned(),
            Self::Message => "message".to_owned(),
            Self::Session { tasks, reports } => {
                let how = match reports {
                    Reports::ByCall => "agents call back",
                    Reports::ByAnswer => "agents answer",
                };
                format!("task of a session of {tasks}, {how}")
            }
        }
    }

    /// How many operations one request begins.
    fn operations(self) -> f64 {
        match self {
            Self::Session { tasks, .. } => f64::from(tasks),
            Self::Report | Self::Message => 1.0,
        }
    }

    fn goal(self) -> Option<Goal> {
        match self {
            Self::Session { tasks: GOAL_TASKS, .. } => Some(GOAL),
            _ => None,
        }
    }
}

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for work in Work::all() {
        let rounds = timed(context, work, &mut measured).await?;
        let name = format!("{}: processor time over a request of the {BARE}", work.name());
        measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, 1), SERVER_US, work.goal()));
        measured.figures.extend(rounds.into_iter().flatten());
    }
    if Callgrind::is_here() {
        let bare = bare_counted(context).await?;
        for work in Work::all() {
            let figure = counted(context, work).await?;
            printer::progress(&figure_line(&figure));
            let rounds = [vec![figure, bare.clone()]];
            let name = format!("{}: instructions over a request of the {BARE}", work.name());
            measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, 1), INSTRUCTIONS, None));
            let [round] = rounds;
            measured.figures.extend(round.into_iter().take(1));
        }
        measured.figures.push(bare);
    } else {
        measured.note("Instructions were not counted: install valgrind.");
    }
    measured.note("The server alone is counted, neither its agents nor the kernel's instructions.");
    measured
        .note("Under callgrind the server is slow and its client is not: batches are as large as they get.");
    Ok(measured)
}

/// A server with what the work needs.
struct Bed {
    folder: tempfile::TempDir,
    flow: Option<Flow>,
    alone: Option<(Signalbox, Bare)>,
    plan: Plan,
}

impl Bed {
    async fn make(context: &Context, work: Work, callgrind: Option<&Callgrind>) -> anyhow::Result<Self> {
        let folder = context.temporary("cpu")?;
        let signalbox = match callgrind {
            Some(callgrind) => Signalbox::start_counted(context, callgrind, folder.path()).await?,
            None => Signalbox::start(context, folder.path(), None).await?,
        };
        if let Work::Session { tasks, reports } = work {
            let flow = Flow::new(context, signalbox, folder.path(), &[tasks], reports).await?;
            let plan = flow.plan(context, (tasks, OPEN), 0)?;
            return Ok(Self { folder, flow: Some(flow), alone: None, plan });
        }
        let sink = Bare::start(Kind::Sink, folder.path()).await?;
        let endpoint = format!("http://{}", sink.addr);
        let ids = agents::register(context, signalbox.addr, context.fleet(FLEET), &endpoint).await?;
        let template = match work {
            Work::Message => requests::run(&ids)?,
            Work::Report | Work::Session { .. } => requests::report(&ids)?,
        };
        let plan = plan(context, signalbox.addr, &Arc::new(template), OPEN);
        Ok(Self { folder, flow: None, alone: Some((signalbox, sink)), plan })
    }

    fn process(&self) -> Option<&Process> {
        let alone = self.alone.as_ref().map(|(signalbox, _)| &signalbox.process);
        self.flow.as_ref().map(|flow| &flow.signalbox.process).or(alone)
    }

    /// Runs exactly so many, and waits until what they began has ended.
    async fn run(&mut self, work: Work, count: u64) -> anyhow::Result<()> {
        let plan = Plan { extent: Extent::Count(count), ..self.plan.clone() };
        if let (Work::Message, Some((_, sink))) = (work, &self.alone) {
            sink.reset().await?;
        }
        let outcome = agents::complete("the counted work", count, load::run(&plan).await?)?;
        self.plan.first_ticket = outcome.next_ticket;
        if let (Work::Message, Some((_, sink))) = (work, &self.alone) {
            let until = clock::now() + DRAINED_WITHIN;
            while sink.seen().await?.messages < count {
                anyhow::ensure!(
                    clock::now() < until,
                    "accepted messages did not come within {DRAINED_WITHIN:?}"
                );
                tokio::time::sleep(POLL).await;
            }
        }
        if let Some(flow) = &self.flow {
            flow.all_completed().await?;
        }
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        if let Some(flow) = self.flow {
            flow.stop().await?;
        }
        if let Some((signalbox, sink)) = self.alone {
            signalbox.stop().await?;
            sink.process.stop().await?;
        }
        drop(self.folder);
        Ok(())
    }
}

/// Rounds of the work and of the bare handler, with the processor time of one operation.
async fn timed(context: &Context, work: Work, measured: &mut Measured) -> anyhow::Result<Vec<Vec<Figure>>> {
    let bed = Bed::make(context, work, None).await?;
    let bare = Bare::start(Kind::Json, bed.folder.path()).await?;
    let names: Vec<String> = (0..FLEET).map(|number| format!("agt_{number:026}")).collect();
    let report = Arc::new(requests::report(&load::Ids::new(&names)?)?);
    let Some(process) = bed.process() else { return Ok(Vec::new()) };
    let mut sides = [
        Side::new(&work.name(), process, bed.plan.clone()),
        Side::new(BARE, &bare.process, plan(context, bare.addr, &report, OPEN)),
    ];
    let mut rounds = interleave(context, GROUP, &mut sides).await?;
    for round in &mut rounds {
        for metric in round[0].metrics.iter_mut().filter(|metric| metric.name == SERVER_US) {
            metric.value /= work.operations();
        }
    }
    sqlite_facts(bed.folder.path()).iter().for_each(|fact| measured.fact(&fact.name, fact.value.clone()));
    bed.stop().await?;
    Ok(rounds)
}

/// The instructions of one operation.
async fn counted(context: &Context, work: Work) -> anyhow::Result<Figure> {
    let folder = context.temporary("callgrind")?;
    let callgrind = Callgrind::new(folder.path());
    let mut bed = Bed::make(context, work, Some(&callgrind)).await?;
    let count = if context.quick { COUNT_QUICK } else { COUNT };
    let (before, process_gone) = (COUNT_BEFORE, "the server is gone");
    bed.run(work, before).await?;
    callgrind.begin(bed.process().ok_or_else(|| anyhow::anyhow!(process_gone))?).await?;
    bed.run(work, count).await?;
    let total = callgrind.counted(bed.process().ok_or_else(|| anyhow::anyhow!(process_gone))?).await?;
    bed.stop().await?;
    let each = total as f64 / (count as f64 * work.operations());
    Ok(Figure::new(COUNTED, &work.name(), 1, &[(INSTRUCTIONS, each)]))
}

async fn bare_counted(context: &Context) -> anyhow::Result<Figure> {
    let folder = context.temporary("callgrind")?;
    let callgrind = Callgrind::new(folder.path());
    let bare = Bare::start_counted(Kind::Json, &callgrind, folder.path()).await?;
    let names: Vec<String> = (0..FLEET).map(|number| format!("agt_{number:026}")).collect();
    let report = requests::report(&load::Ids::new(&names)?)?;
    let count = if context.quick { COUNT_QUICK } else { COUNT };
    let run = Plan { connections: OPEN, ..agents::counted(context, bare.addr, report, count) };
    load::run(&run).await?;
    callgrind.begin(&bare.process).await?;
    agents::complete("the counted work", count, load::run(&run).await?)?;
    let total = callgrind.counted(&bare.process).await?;
    bare.process.stop().await?;
    Ok(Figure::new(COUNTED, BARE, 1, &[(INSTRUCTIONS, total as f64 / count as f64)]))
}
