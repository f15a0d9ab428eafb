//! A restart with connected agents: the server ends the orderly way and starts again at its address, and every agent
//! connects again at once. Beside it a bare WebSocket echo with as many connections.

use std::net::SocketAddr;
use std::time::Duration;

use crate::baseline::{Bare, Held, Kind, Live};
use crate::context::Context;
use crate::fleet::{Fleet, Holders};
use crate::report::{Figure, Measured, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::{clock, load, printer};

const AGENTS: u64 = 5_000;
const HEARTBEAT: Duration = Duration::from_secs(30);
const ONLINE_WITHIN: Duration = Duration::from_secs(120);
const STOPPED_MS: &str = "stopped after ms";
const READY_MS: &str = "ready after ms more";
const ONLINE_MS: &str = "all online after ms more";
const PER_S: &str = "online per second";
const UNREACHED: &str = "tries that nobody took, so far";
const UNAVAILABLE: &str = "tries answered 503, so far";
/// How an orderly end is told.
const DRAINING: &str = "closed with 1012";
/// Agents that the server is asked about.
const SAMPLE: u64 = 3;

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let count = context.fleet(AGENTS);
    let folder = context.temporary("storm")?;
    let mut rounds = ours(context, count, folder.path()).await?;
    let theirs = theirs(context, count).await?;
    for (round, figure) in rounds.iter_mut().zip(theirs) {
        round.push(figure);
    }
    let mut measured = Measured::default();
    let values =
        rounds.iter().flat_map(|round| round.first()).map(|figure| figure.metric(ONLINE_MS)).collect();
    let is_valid = rounds.iter().flatten().all(|figure| figure.faults.is_empty());
    let name = format!("{count} agents online again, from when the server listens");
    measured.verdicts.push(Verdict::new(&name, "ms", values, None, is_valid));
    let name = format!("{count} agents online again, rate over a bare echo's");
    measured.verdicts.push(Verdict::ratio(&name, &rounds, (0, 1), PER_S, None));
    measured.figures.extend(rounds.into_iter().flatten());
    measured.facts.extend(sqlite_facts(folder.path()));
    measured.fact(
        "agents",
        format!("{count}, in processes of up to 5,000; one is online when a heartbeat is answered"),
    );
    measured.note(
        "An agent tries again at once when its connection ends, and 0.2 to 0.4 s after a try that nobody took, as in the \
         time between the two servers, or that was answered 503 by the one that ends. Tokens are those from before the \
         restart. Any other refusal, and any end but 1012, is a fault.",
    );
    measured.note("The sides run one after the other, each through all its rounds.");
    Ok(measured)
}

async fn ours(context: &Context, count: u64, folder: &std::path::Path) -> anyhow::Result<Vec<Vec<Figure>>> {
    let mut signalbox = Signalbox::start(context, folder, None).await?;
    let addr = signalbox.addr;
    let fleet = Fleet::sign_up(context, addr, count, folder).await?;
    let holders = fleet.hold(&live(addr), folder).await?;
    holders.all_online(1, ONLINE_WITHIN).await?;
    let mut rounds = Vec::new();
    for round in 1..=context.rounds {
        let begin = clock::now();
        signalbox.stop().await?;
        let stopped = clock::now() - begin;
        signalbox = Signalbox::start_at(context, &addr.to_string(), folder, None).await?;
        let ready = signalbox.process.ready_after;
        let mut figure = again(count, round, "Signalbox", &holders, (stopped, ready)).await?;
        figure.faults.extend(unseen(&signalbox, &fleet, count).await?);
        rounds.push(vec![figure]);
    }
    drop(holders);
    signalbox.stop().await?;
    Ok(rounds)
}

async fn theirs(context: &Context, count: u64) -> anyhow::Result<Vec<Figure>> {
    let folder = context.temporary("storm-echo")?;
    let mut echo = Bare::start(Kind::Echo, folder.path()).await?;
    let addr = echo.addr;
    let holders = Holders::bare(&live(addr), count, folder.path()).await?;
    holders.all_online(1, ONLINE_WITHIN).await?;
    let mut figures = Vec::new();
    for round in 1..=context.rounds {
        let begin = clock::now();
        echo.process.stop().await?;
        let stopped = clock::now() - begin;
        echo = Bare::start_at(Kind::Echo, addr, folder.path()).await?;
        let ready = echo.process.ready_after;
        figures.push(again(count, round, "bare WebSocket echo", &holders, (stopped, ready)).await?);
    }
    Ok(figures)
}

fn live(to: SocketAddr) -> Live {
    Live { to, heartbeat: HEARTBEAT, reconnects: true }
}

/// Waits until all are online again after a restart that has just been done.
async fn again(
    count: u64,
    round: u32,
    side: &str,
    holders: &Holders,
    (stopped, ready): (Duration, Duration),
) -> anyhow::Result<Figure> {
    let listens_unix_us = clock::unix_micros();
    let held = holders.all_online(u64::from(round) + 1, ONLINE_WITHIN).await?;
    let online_ms = held.last_online_unix_us.saturating_sub(listens_unix_us) as f64 / 1e3;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let metrics = [
        (STOPPED_MS, ms(stopped)),
        (READY_MS, ms(ready)),
        (ONLINE_MS, online_ms),
        (PER_S, count as f64 * 1e3 / online_ms.max(1e-3)),
        (UNREACHED, held.unreached as f64),
        (UNAVAILABLE, held.unavailable as f64),
    ];
    let mut figure = Figure::new(&format!("{count} agents"), side, round, &metrics);
    figure.faults = faults(&held, side);
    printer::progress(&figure_line(&figure));
    Ok(figure)
}

/// A bare server just ends; ours says why.
fn faults(held: &Held, side: &str) -> Vec<String> {
    let ends = held.ends.iter().filter(|(how, _)| side == "Signalbox" && !how.starts_with(DRAINING));
    ends.chain(&held.faults).map(|(what, times)| format!("{times} × {what}")).collect()
}

/// What the server says of some of the agents, where it does not say that they are online.
async fn unseen(signalbox: &Signalbox, fleet: &Fleet, count: u64) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for number in 0..SAMPLE {
        let agent = fleet.ids.text(number * (count / SAMPLE));
        let body = load::call(signalbox.addr, "GET", &format!("/api/v1/agents/{agent}"), None).await?;
        let shown: serde_json::Value = serde_json::from_slice(&body)?;
        if shown["status"] != "online" {
            faults.push(format!("{agent} is shown as {}", shown["status"]));
        }
    }
    Ok(faults)
}
