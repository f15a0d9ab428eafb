//! What sessions cost that wait for an agent nobody has registered yet: the server's memory with 100,000 of them, as
//! they came in and after a new start.

use std::sync::Arc;

use crate::context::Context;
use crate::load::{self, Plan};
use crate::process::Usage;
use crate::report::{Figure, Measured, PER_S, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, printer, requests};

const SESSIONS: u64 = 100_000;
const SESSIONS_QUICK: u64 = 2_000;
const WORKFLOW: &str = "waiting";
const RESIDENT: &str = "resident MB";
const READY_MS: &str = "ready after ms";

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let count = if context.quick { SESSIONS_QUICK } else { SESSIONS };
    let mut measured = Measured::default();
    let folder = context.temporary("waiting")?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let body = requests::workflow(WORKFLOW, "nobody", 1).to_string();
    load::call(signalbox.addr, "POST", "/v1/opscore/workflows", Some(&body)).await?;
    let before = signalbox.process.usage();
    let trigger = requests::trigger(WORKFLOW)?;
    let length = trigger.len();
    let plan = Plan {
        template: Arc::new(trigger),
        ..agents::counted(context, signalbox.addr, requests::hello()?, count)
    };
    let outcome = agents::complete("starting the sessions", count, load::run(&plan).await?)?;
    let after = signalbox.process.usage();
    signalbox.stop().await?;
    let again = Signalbox::start(context, folder.path(), None).await?;
    let ready_ms = again.process.ready_after.as_secs_f64() * 1e3;
    let restarted = again.process.usage();
    measured.facts.extend(sqlite_facts(folder.path()));
    again.stop().await?;

    let waiting = format!("{count} waiting sessions");
    let figures = [
        figure("before", "Signalbox", before, &[]),
        figure(&waiting, "as they came in", after, &[(PER_S, outcome.per_s())]),
        figure(&waiting, "after a new start", restarted, &[(READY_MS, ready_ms)]),
    ];
    let kib = (after.resident.saturating_sub(before.resident)) as f64 / count as f64 / 1024.0;
    measured.verdicts.push(Verdict::new("memory of a waiting session", "KiB", vec![kib], None, true));
    measured.verdicts.push(Verdict::new(
        &format!("memory with {waiting}"),
        "MB",
        vec![mb(after.resident)],
        None,
        true,
    ));
    for figure in figures {
        printer::progress(&figure_line(&figure));
        measured.figures.push(figure);
    }
    measured.fact("requests", format!("{length} bytes; one task for a capability that nobody offers"));
    measured
        .note("MB are 10⁶ bytes of `VmRSS`. Rows in memory are bounded by `cache_bytes`, whatever waits.");
    Ok(measured)
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn figure(group: &str, side: &str, usage: Usage, more: &[(&'static str, f64)]) -> Figure {
    let memory = [(RESIDENT, mb(usage.resident)), ("of it anonymous MB", mb(usage.anonymous))];
    Figure::new(group, side, 1, &[&memory[..], more].concat())
}
