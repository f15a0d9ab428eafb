//! 10,000 timers that are due in the same second: as many sessions of one task that sleeps. The moment at which each
//! session has ended tells how late its timer was.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use signalbox_wire::time::Timestamp;

use crate::context::Context;
use crate::fill::{self, Fill};
use crate::report::{Figure, Measured, Verdict, figure_line};
use crate::server::{Signalbox, sqlite_facts};
use crate::stats::percentile;
use crate::{clock, load, printer, requests};

const TIMERS: u64 = 10_000;
const TIMERS_QUICK: u64 = 1_000;
const WORKFLOW: &str = "nap";
/// How long each session sleeps.
const SLEEP: Duration = Duration::from_secs(60);
/// From the beginning of the filling to the moment that the first is due: for a start, and for each timer.
const AHEAD: Duration = Duration::from_secs(5);
const AHEAD_EACH: Duration = Duration::from_millis(6);
/// All are due within this much of one another.
const SPREAD: Duration = Duration::from_secs(1);
const FIRED_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

pub(crate) async fn measure(context: &Context) -> anyhow::Result<Measured> {
    let count = if context.quick { TIMERS_QUICK } else { TIMERS };
    let mut measured = Measured::default();
    let mut all_after = Vec::new();
    for round in 1..=context.rounds {
        let folder = context.temporary("timers")?;
        let signalbox = Signalbox::start(context, folder.path(), None).await?;
        let body = requests::nap(WORKFLOW, SLEEP).to_string();
        load::call(signalbox.addr, "POST", "/v1/opscore/workflows", Some(&body)).await?;
        signalbox.stop().await?;

        let due = start_all(folder.path(), count).await?;
        let signalbox = Signalbox::start(context, folder.path(), None).await?;
        ensure!(fill::now() < due, "the server was not ready before the timers were due");
        let cpu_before = signalbox.process.cpu_seconds();
        wait_until_none_runs(&signalbox, due).await?;
        let cpu = signalbox.process.cpu_seconds() - cpu_before;
        let late_ms = lateness(&signalbox, count).await?;
        signalbox.stop().await?;
        let last = late_ms.iter().copied().fold(0.0, f64::max);
        let metrics = [
            ("p50 ms late", percentile(&late_ms, 0.50)),
            ("p99 ms late", percentile(&late_ms, 0.99)),
            ("last ms late", last),
            ("server CPU µs each", cpu * 1e6 / count as f64),
        ];
        let figure = Figure::new(&format!("{count} timers in one second"), "Signalbox", round, &metrics);
        printer::progress(&figure_line(&figure));
        measured.figures.push(figure);
        all_after.push(last);
        measured.facts.extend(if round == 1 { sqlite_facts(folder.path()) } else { Vec::new() });
    }
    measured.verdicts.push(Verdict::new(
        &format!("lateness of the last of {count} timers"),
        "ms",
        all_after,
        None,
        true,
    ));
    measured.note("Each timer ends a session's only task, and with it the session.");
    measured.note("Lateness is the moment at which a session ended, by its own record, less the moment its timer was due.");
    Ok(measured)
}

/// Starts so many sessions whose timers are due within one second; when the first one is.
async fn start_all(data: &Path, count: u64) -> anyhow::Result<Timestamp> {
    let first = fill::now() + AHEAD + AHEAD_EACH * u32::try_from(count)?;
    let mut fill = Fill::open(data).await?;
    for number in 0..count {
        let after = SPREAD.mul_f64(number as f64 / count as f64);
        fill.start(WORKFLOW, first + after - SLEEP).await?;
    }
    fill.close().await?;
    Ok(first)
}

async fn wait_until_none_runs(signalbox: &Signalbox, due: Timestamp) -> anyhow::Result<()> {
    tokio::time::sleep(due.since(fill::now()) + SPREAD).await;
    let deadline = clock::now() + FIRED_WITHIN;
    loop {
        let running = page(signalbox, "running&limit=1", None).await?;
        let started = page(signalbox, "started&limit=1", None).await?;
        if running.data.is_empty() && started.data.is_empty() {
            return Ok(());
        }
        ensure!(clock::now() < deadline, "timers were left {FIRED_WITHIN:?} after they were due");
        tokio::time::sleep(POLL).await;
    }
}

/// Milliseconds from the moment that each session's timer was due to the moment that it ended.
async fn lateness(signalbox: &Signalbox, count: u64) -> anyhow::Result<Vec<f64>> {
    let (mut late_ms, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(signalbox, "completed&limit=1000", cursor.as_deref()).await?;
        for session in page.data {
            let ended = session.ended_at.context("a session that is over has an end")?;
            late_ms.push(ended.since(session.created_at + SLEEP).as_secs_f64() * 1e3);
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            ensure!(late_ms.len() as u64 == count, "{} of {count} timers fired", late_ms.len());
            return Ok(late_ms);
        }
    }
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Session>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

async fn page(signalbox: &Signalbox, status: &str, cursor: Option<&str>) -> anyhow::Result<Page> {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    let path = format!("/v1/opscore/sessions?status={status}{cursor}");
    Ok(serde_json::from_slice(&load::call(signalbox.addr, "GET", &path, None).await?)?)
}
