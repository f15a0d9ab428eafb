//! Goal 10: resident memory of the server, idle after its start and after a load of reports, beside a bare
//! server's after the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::reports::FLEET;
use crate::baseline::{Bare, Kind};
use crate::context::Context;
use crate::interleave::{Side, plan};
use crate::load::Ids;
use crate::process::{Process, Usage};
use crate::report::{Figure, Goal, Measured, Verdict, figure_line};
use crate::server::Signalbox;
use crate::{agents, clock, printer, requests};

const IDLE_MAX_MB: f64 = 25.0;
const LOADED_MAX_MB: f64 = 100.0;
const CONNECTIONS: usize = 256;
const RESIDENT: &str = "resident MB";
const SETTLED_AFTER: Duration = Duration::from_secs(1);
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    for round in 1..=context.rounds {
        let folder = context.temporary("memory")?;
        let signalbox = Signalbox::start(context, folder.path(), None).await?;
        let idle = figure("idle", "Signalbox", round, settled(&signalbox.process).await);
        let ids = agents::register(context, signalbox.addr, context.fleet(FLEET), agents::NOWHERE).await?;
        let loaded = loaded(context, "Signalbox", &signalbox.process, signalbox.addr, &ids, round).await?;
        signalbox.stop().await?;

        let bare = Bare::start(Kind::Json, folder.path()).await?;
        let bare_idle = figure("idle", "bare JSON handler", round, settled(&bare.process).await);
        let bare_loaded =
            self::loaded(context, "bare JSON handler", &bare.process, bare.addr, &ids, round).await?;
        measured.figures.extend([idle, bare_idle, loaded, bare_loaded]);
    }
    for (group, bound) in [("idle", IDLE_MAX_MB), ("after reports", LOADED_MAX_MB)] {
        let chosen = |figure: &&Figure| figure.group == group && figure.side == "Signalbox";
        let figures: Vec<&Figure> = measured.figures.iter().filter(chosen).collect();
        let valid = figures.iter().all(|figure| figure.faults.is_empty());
        let values = figures.iter().map(|figure| figure.metric(RESIDENT)).collect();
        measured.verdicts.push(Verdict::new(group, "MB", values, Some(Goal::AtMost(bound)), valid));
    }
    measured.fact(
        "load",
        format!("reports over {CONNECTIONS} connections, one round; resident memory right after it"),
    );
    measured.note(
        "MB are 10⁶ bytes of `VmRSS`; pages of the program file and of mapped database files are in it.",
    );
    Ok(measured)
}

async fn loaded(
    context: &Context,
    name: &str,
    process: &Process,
    addr: SocketAddr,
    ids: &Ids,
    number: u32,
) -> anyhow::Result<Figure> {
    let template = Arc::new(requests::report(ids)?);
    let mut side = Side::new(name, process, plan(context, addr, &template, CONNECTIONS));
    let (outcome, _) = side.run().await?;
    let figure = figure("after reports", name, number, process.usage());
    Ok(Figure { faults: outcome.fault_lines(), ..figure })
}

fn figure(group: &str, side: &str, round: u32, usage: Usage) -> Figure {
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let metrics = [
        (RESIDENT, mb(usage.resident)),
        ("of it anonymous MB", mb(usage.anonymous)),
        ("largest so far MB", mb(usage.resident_max)),
    ];
    let figure = Figure::new(group, side, round, &metrics);
    printer::progress(&figure_line(&figure));
    figure
}

/// The memory once it has stayed the same for a while, or the last value seen.
pub(super) async fn settled(process: &Process) -> Usage {
    let begin = clock::now();
    let (mut usage, mut since) = (process.usage(), begin);
    loop {
        tokio::time::sleep(POLL).await;
        let (next, now) = (process.usage(), clock::now());
        if next.resident != usage.resident {
            since = now;
        }
        usage = next;
        if now - since >= SETTLED_AFTER || now - begin >= SETTLED_WITHIN {
            return usage;
        }
    }
}
