//! Goal 5: messages handed to `/run`, made durable, and delivered to a sink, against a bare pooled client that
//! delivers to the same sink. The clock runs from the first POST to the last new message at the sink.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::reports::FLEET;
use crate::baseline::{self, Bare, Kind, Seen};
use crate::context::Context;
use crate::interleave::{Side, plan};
use crate::load::{Extent, Outcome};
use crate::report::{Figure, Goal, Measured, P50_MS, P99_MS, PER_S, SERVER_US, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{agents, clock, printer, requests};

const GOAL: Goal = Goal::AtLeast(0.35);
const IN_FLIGHT: usize = 64;
const GROUP: &str = "64 in flight";
/// How long deliveries may lag behind the last accepted message.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);
const DRAINED_WITHIN_QUICK: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let folder = context.temporary("run")?;
    let sink = Bare::start(Kind::Sink, folder.path()).await?;
    let signalbox = Signalbox::start(context, folder.path(), None).await?;
    let endpoint = format!("http://{}", sink.addr);
    let ids = agents::register(context, signalbox.addr, context.fleet(FLEET), &endpoint).await?;
    let template = Arc::new(requests::run(&ids)?);
    let mut measured = Measured::default();
    let mut plan = plan(context, signalbox.addr, &template, IN_FLIGHT);
    plan.extent = Extent::Timed { warm_up: Duration::ZERO, measured: context.seconds };
    let mut side = Side::new("Signalbox", &signalbox.process, plan);
    warm_up(context, &mut side, &sink).await?;

    let mut rounds = Vec::new();
    for round in 1..=context.rounds {
        side.resume();
        let delivered = handed_in(context, &mut side, &sink, round).await?;
        side.pause();
        let bare = bare_delivery(context, sink.addr, &sink, round).await?;
        [&delivered, &bare].into_iter().for_each(|figure| printer::progress(&figure_line(figure)));
        rounds.push(vec![delivered, bare]);
    }
    side.resume();
    drop(side);
    measured.verdicts.push(Verdict::ratio("messages delivered", &rounds, (0, 1), PER_S, Some(GOAL)));
    measured.figures.extend(rounds.into_iter().flatten());
    measured.facts.extend(sqlite_facts(folder.path()));
    measured.fact("bare client, durability", "keeps nothing");
    measured.fact(
        "requests",
        format!("{} bytes with a 500-byte message, {} agents at one sink", template.len(), ids.len()),
    );
    measured.note("The sink tells messages apart by `x-message-id`; a repeat counts for neither side.");
    signalbox.stop().await?;
    Ok(measured)
}

/// A short run that opens the pool and fills the caches of both ends.
async fn warm_up(context: &Context, side: &mut Side<'_>, sink: &Bare) -> anyhow::Result<()> {
    let extent = std::mem::replace(
        &mut side.plan.extent,
        Extent::Timed { warm_up: Duration::ZERO, measured: context.warm_up },
    );
    let (outcome, _) = side.run().await?;
    drained(context, sink, outcome.succeeded).await?;
    side.plan.extent = extent;
    Ok(())
}

async fn handed_in(
    context: &Context,
    side: &mut Side<'_>,
    sink: &Bare,
    round: u32,
) -> anyhow::Result<Figure> {
    sink.reset().await?;
    let cpu_before = side.processes.first().map_or(0.0, |process| process.cpu_seconds());
    let (outcome, _) = side.run().await?;
    let seen = drained(context, sink, outcome.succeeded).await?;
    let cpu = side.processes.first().map_or(0.0, |process| process.cpu_seconds()) - cpu_before;
    let metrics = [
        (PER_S, per_s(&seen, outcome.begin_unix_us)),
        ("accepted per second", outcome.per_s()),
        ("accepted", outcome.succeeded as f64),
        ("delivered", seen.messages as f64),
        ("repeats", seen.repeats as f64),
        (P50_MS, outcome.latency_ms(0.50)),
        (P99_MS, outcome.latency_ms(0.99)),
        (SERVER_US, cpu * 1e6 / seen.messages.max(1) as f64),
    ];
    let mut figure = Figure::new(GROUP, &side.name, round, &metrics);
    figure.faults = faults(&outcome, &seen);
    Ok(figure)
}

async fn bare_delivery(context: &Context, to: SocketAddr, sink: &Bare, round: u32) -> anyhow::Result<Figure> {
    sink.reset().await?;
    let sent = baseline::dispatch(to, context.seconds, IN_FLIGHT).await?;
    let seen = sink.seen().await?;
    let metrics = [
        (PER_S, per_s(&seen, sent.begin_unix_us)),
        ("delivered", seen.messages as f64),
        ("repeats", seen.repeats as f64),
    ];
    let mut figure = Figure::new(GROUP, "bare client", round, &metrics);
    if sent.failed > 0 || seen.messages != sent.delivered {
        figure
            .faults
            .push(format!("{} sent, {} failed, {} seen", sent.delivered, sent.failed, seen.messages));
    }
    Ok(figure)
}

/// Waits until as many messages have come as were accepted, or no longer than is fair.
async fn drained(context: &Context, sink: &Bare, accepted: u64) -> anyhow::Result<Seen> {
    let deadline = clock::now() + if context.quick { DRAINED_WITHIN_QUICK } else { DRAINED_WITHIN };
    loop {
        let seen = sink.seen().await?;
        if seen.messages >= accepted || clock::now() > deadline {
            return Ok(seen);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// An accepted message that never comes is a broken promise, however fast the others were.
fn faults(outcome: &Outcome, seen: &Seen) -> Vec<String> {
    let mut faults = outcome.fault_lines();
    if seen.messages < outcome.succeeded {
        let missing = outcome.succeeded - seen.messages;
        faults.push(format!("{missing} of {} accepted messages did not come", outcome.succeeded));
    }
    faults
}

fn per_s(seen: &Seen, begin_unix_us: u64) -> f64 {
    let time_us = seen.last_unix_us.saturating_sub(begin_unix_us).max(1);
    seen.messages as f64 * 1e6 / time_us as f64
}
