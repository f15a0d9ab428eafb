//! Goal 8: what an agent costs that holds a connection and sends a heartbeat every 30 seconds, in memory and in processor
//! time of the server; beside it as many connections to a bare WebSocket echo.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::memory::settled;
use crate::baseline::{Bare, Held, Kind, Live};
use crate::context::Context;
use crate::fleet::{Fleet, Holders};
use crate::process::{Process, Usage};
use crate::report::{Figure, Goal, Measured, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{clock, printer};

const AGENTS: u64 = 10_000;
const AGENTS_MANY: u64 = 50_000;
/// What a server's own files and everything else take of its descriptors.
const DESCRIPTORS_LEFT: u64 = 1_000;
const HEARTBEAT: Duration = Duration::from_secs(30);
const HEARTBEAT_QUICK: Duration = Duration::from_secs(1);
/// Heartbeats of each that the processor time is measured over.
const BEATS: u32 = 2;
const ONLINE_WITHIN: Duration = Duration::from_secs(300);
const EACH_MAX_KIB: f64 = 8.0;
const RESIDENT: &str = "resident KiB each";
const ANONYMOUS: &str = "anonymous KiB each";
const CORE: &str = "% of a core";
const BEAT_US: &str = "CPU µs a heartbeat";
const ONLINE_S: &str = "seconds until all were online";

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let many = AGENTS_MANY.min(descriptors().saturating_sub(DESCRIPTORS_LEFT));
    let counts = if context.quick { vec![context.fleet(AGENTS)] } else { vec![AGENTS, many] };
    for count in counts {
        let ours = ours(context, count, &mut measured).await?;
        let theirs = theirs(context, count).await?;
        let group = ours.group.clone();
        let valid = ours.faults.is_empty();
        for (name, metric) in [("resident", RESIDENT), ("anonymous", ANONYMOUS)] {
            let goal = (count <= AGENTS && metric == RESIDENT).then_some(Goal::AtMost(EACH_MAX_KIB));
            let name = format!("{name} memory of an agent among {group}");
            measured.verdicts.push(Verdict::new(&name, "KiB", vec![ours.metric(metric)], goal, valid));
        }
        let rounds = [vec![ours, theirs]];
        let name = format!("CPU of a heartbeat among {group}, over a bare echo's");
        measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, 1), BEAT_US, None));
        measured.figures.extend(rounds.into_iter().flatten());
    }
    let interval = heartbeat(context).as_secs();
    measured.fact(
        "heartbeats",
        format!("one from each every {interval} s, spread over that time, each answered"),
    );
    measured
        .fact("clients", "processes of 5,000 connections each, from four addresses of the loopback network");
    if many < AGENTS_MANY && !context.quick {
        measured.note(&format!(
            "{many} agents and not {AGENTS_MANY}: a process may have {} files open here, and each connection is one.",
            descriptors()
        ));
    }
    measured.note(
        "Memory is the server's with all agents online, after a heartbeat of each, minus its own before the first \
         connected, when all were registered and signed in. What the kernel holds for a socket is in neither.",
    );
    measured.note("CPU is the server's over two intervals of heartbeats, the writing of presence included.");
    Ok(measured)
}

async fn ours(context: &Context, count: u64, measured: &mut Measured) -> anyhow::Result<Figure> {
    let folder = context.temporary("live-idle")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let fleet = Fleet::sign_up(context, signalbox.addr, count, folder.path()).await?;
    let before = settled(&signalbox.process).await;
    let live = Live { to: signalbox.addr, heartbeat: heartbeat(context), reconnects: false };
    let holders = fleet.hold(&live, folder.path()).await?;
    let figure = watched(context, "Signalbox", count, (&signalbox.process, before), &holders).await?;
    measured.facts.extend(sqlite_facts(folder.path()));
    drop(holders);
    signalbox.stop().await?;
    Ok(figure)
}

async fn theirs(context: &Context, count: u64) -> anyhow::Result<Figure> {
    let folder = context.temporary("live-idle-echo")?;
    let echo = Bare::start(Kind::Echo, folder.path()).await?;
    let before = settled(&echo.process).await;
    let live = Live { to: echo.addr, heartbeat: heartbeat(context), reconnects: false };
    let holders = Holders::bare(&live, count, folder.path()).await?;
    watched(context, "bare WebSocket echo", count, (&echo.process, before), &holders).await
}

/// Waits until all are online, and for a heartbeat of each; then measures memory, and processor time over the next ones.
async fn watched(
    context: &Context,
    side: &str,
    count: u64,
    (server, before): (&Process, Usage),
    holders: &Holders,
) -> anyhow::Result<Figure> {
    let begin = clock::now();
    holders.all_online(1, ONLINE_WITHIN).await?;
    let online_s = (clock::now() - begin).as_secs_f64();
    let interval = heartbeat(context);
    tokio::time::sleep(interval).await;
    let (since, cpu, first) = (clock::now(), server.cpu_seconds(), holders.held().await?);
    tokio::time::sleep(interval * BEATS).await;
    let (time, cpu) = ((clock::now() - since).as_secs_f64(), server.cpu_seconds() - cpu);
    let (held, usage) = (holders.held().await?, server.usage());
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / count as f64 / 1024.0;
    let metrics = [
        (RESIDENT, each(usage.resident, before.resident)),
        (ANONYMOUS, each(usage.anonymous, before.anonymous)),
        (CORE, 100.0 * cpu / time),
        (BEAT_US, cpu * 1e6 / (held.answered - first.answered).max(1) as f64),
        (ONLINE_S, online_s),
    ];
    let mut figure = Figure::new(&format!("{count} agents"), side, 1, &metrics);
    figure.faults = faults(count, &held);
    printer::progress(&figure_line(&figure));
    Ok(figure)
}

/// Whoever is not online at the end, or was not answered, was not idle but ill.
fn faults(count: u64, held: &Held) -> Vec<String> {
    let told = held.ends.iter().chain(&held.faults).map(|(what, times)| format!("{times} × {what}"));
    let mut faults: Vec<String> = told.collect();
    if held.online != count {
        faults.push(format!("{} of {count} are online at the end", held.online));
    }
    // The last ones may be on their way.
    if held.heartbeats - held.answered.min(held.heartbeats) > count / 10 {
        faults.push(format!("{} of {} heartbeats were answered", held.answered, held.heartbeats));
    }
    faults
}

fn heartbeat(context: &Context) -> Duration {
    if context.quick { HEARTBEAT_QUICK } else { HEARTBEAT }
}

/// How many files a process may have open.
fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
