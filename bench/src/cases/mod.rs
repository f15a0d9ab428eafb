//! One file per case. A case starts what it compares, lets the sides take turns, and hands back figures and
//! verdicts; the disk is measured before and after it.

mod binary_size;
mod commands;
mod control;
mod cpu;
mod disk;
mod fan_out;
mod flood;
mod flow;
mod for_each;
mod growth;
mod live_idle;
mod logins;
mod memory;
mod reads;
mod reconnect_storm;
mod registrations;
mod reports;
mod reports_nodes;
mod reports_postgres;
mod reports_sqlite;
mod run_delivery;
mod session_growth;
mod sessions;
mod sessions_nodes;
mod startup;
mod timers;
mod waiting;

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::context::Context;
use crate::environment;
use crate::flush::Flush;
use crate::report::{self, CaseReport, Measured};
use crate::{clock, printer};

/// A case by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Case {
    /// Two bare servers of the same kind: how far this machine's noise alone moves a ratio.
    Control,
    /// Durable state reports on SQLite against a JSON handler that keeps nothing.
    ReportsSqlite,
    /// Durable state reports on PostgreSQL against a JSON handler that keeps nothing.
    ReportsPostgres,
    /// Durable state reports through two nodes on one PostgreSQL, against one node.
    ReportsNodes,
    /// Reads of an agent's state against a line of text.
    Reads,
    /// Durable registrations against a JSON handler that keeps nothing.
    Registrations,
    /// Messages accepted, made durable and delivered, against a bare client that delivers.
    RunDelivery,
    /// Sessions through HTTP agents that answer at once, against the same job on Restate.
    Sessions,
    /// Sessions through two nodes on one PostgreSQL, against one node.
    SessionsNodes,
    /// Processor time and instructions of the server for one operation, in requests of a JSON handler that keeps nothing.
    Cpu,
    /// What a finished session leaves on the disk for each of its tasks.
    Disk,
    /// A task for each item of a long list, against one of a short list, and other sessions beside it.
    ForEach,
    /// Sessions, lists of them and a start among few and among a million finished ones.
    SessionGrowth,
    /// Memory with many sessions that wait for an agent.
    Waiting,
    /// Many timers that are due in the same second.
    Timers,
    /// Memory and processor time of agents that hold a connection and do nothing but send heartbeats.
    LiveIdle,
    /// A channel's messages to few and many WebSocket subscribers, against the same on NATS.
    FanOut,
    /// Commands that connected agents answer at once, against a bare WebSocket echo.
    Commands,
    /// One tenant's flood over 256 connections beside another tenant's paced requests.
    Flood,
    /// Logins by SSH key, by the type of the key, against a JSON handler that checks nothing.
    Logins,
    /// A restart of the server with connected agents: time until all are online again.
    ReconnectStorm,
    /// The cost of an operation among few and among many agents.
    Growth,
    /// Resident memory, idle and after a load of reports.
    Memory,
    /// Time from the start of the process to the line that says it listens.
    Startup,
    /// The size of the release binary.
    BinarySize,
}

impl Case {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn about(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.map(|help| help.trim_end_matches('.').to_owned() + ".").unwrap_or_default()
    }

    async fn measure(self, context: &Context) -> anyhow::Result<Measured> {
        match self {
            Self::Control => Box::pin(control::measure(context)).await,
            Self::ReportsSqlite => Box::pin(reports_sqlite::measure(context)).await,
            Self::ReportsPostgres => Box::pin(reports_postgres::measure(context)).await,
            Self::ReportsNodes => Box::pin(reports_nodes::measure(context)).await,
            Self::Reads => Box::pin(reads::measure(context)).await,
            Self::Registrations => Box::pin(registrations::measure(context)).await,
            Self::RunDelivery => Box::pin(run_delivery::measure(context)).await,
            Self::Sessions => Box::pin(sessions::measure(context)).await,
            Self::SessionsNodes => Box::pin(sessions_nodes::measure(context)).await,
            Self::Cpu => Box::pin(cpu::measure(context)).await,
            Self::Disk => Box::pin(disk::measure(context)).await,
            Self::ForEach => Box::pin(for_each::measure(context)).await,
            Self::SessionGrowth => Box::pin(session_growth::measure(context)).await,
            Self::Waiting => Box::pin(waiting::measure(context)).await,
            Self::Timers => Box::pin(timers::measure(context)).await,
            Self::LiveIdle => Box::pin(live_idle::measure(context)).await,
            Self::FanOut => Box::pin(fan_out::measure(context)).await,
            Self::Commands => Box::pin(commands::measure(context)).await,
            Self::Flood => Box::pin(flood::measure(context)).await,
            Self::Logins => Box::pin(logins::measure(context)).await,
            Self::ReconnectStorm => Box::pin(reconnect_storm::measure(context)).await,
            Self::Growth => Box::pin(growth::measure(context)).await,
            Self::Memory => Box::pin(memory::measure(context)).await,
            Self::Startup => Box::pin(startup::measure(context)).await,
            Self::BinarySize => binary_size::measure(context),
        }
    }
}

/// Runs these cases, or all where none is named, one after the other; false when one of them failed or is invalid. A
/// missed goal is a result.
pub(crate) async fn run(context: &Context, names: &[Case]) -> anyhow::Result<bool> {
    let names = if names.is_empty() { Case::value_variants() } else { names };
    let machine = environment::facts(&context.data_root);
    let mut reports = Vec::new();
    let mut failed = Vec::new();
    for case in names {
        printer::progress(&format!("{}: {}", case.name(), case.about()));
        match report_on(*case, context, machine.clone()).await {
            Ok(report) => reports.push(report),
            Err(error) => {
                printer::error(&format!("{}: {error:#}", case.name()));
                failed.push(case.name());
            }
        }
    }
    let machine: Vec<String> = machine.iter().map(|fact| format!("{}: {}", fact.name, fact.value)).collect();
    printer::result(&machine.join("\n"));
    for report in &reports {
        printer::result(&disk_line(report));
    }
    printer::result(&report::summary(&reports));
    if !failed.is_empty() {
        printer::error(&format!("without a result: {}", failed.join(", ")));
    }
    Ok(failed.is_empty() && reports.iter().all(CaseReport::is_valid))
}

async fn report_on(
    case: Case,
    context: &Context,
    machine: Vec<environment::Fact>,
) -> anyhow::Result<CaseReport> {
    let flush_before = flush(context)?;
    let measured = case.measure(context).await?;
    let mut facts = vec![client(context)];
    facts.extend(measured.facts);
    let report = CaseReport {
        case: case.name(),
        about: case.about(),
        date: clock::today(),
        quick: context.quick,
        flush_before,
        flush_after: flush(context)?,
        machine,
        facts,
        verdicts: measured.verdicts,
        figures: measured.figures,
        notes: measured.notes,
    };
    if let Some(folder) = &context.results {
        report::keep(&report, folder).context("the result is measured but not kept")?;
    }
    Ok(report)
}

fn flush(context: &Context) -> anyhow::Result<Flush> {
    Flush::measure(&context.data_root, Duration::from_millis(if context.quick { 100 } else { 1_000 }))
}

fn client(context: &Context) -> environment::Fact {
    let (threads, rounds) = (context.client_threads, context.rounds);
    let (warm_up, seconds) = (context.warm_up.as_secs_f64(), context.seconds.as_secs_f64());
    environment::Fact::new(
        "client",
        format!(
            "closed loop over HTTP/1.1 keep-alive, {threads} threads on the server's cores; {rounds} rounds of \
             {seconds} s after {warm_up} s of warm-up; the side not measured is stopped"
        ),
    )
}

fn disk_line(report: &CaseReport) -> String {
    let (before, after) = (&report.flush_before, &report.flush_after);
    format!(
        "{}: flush of 4 KiB p50 / p99 {:.0} / {:.0} µs before, {:.0} / {:.0} µs after",
        report.case, before.p50_us, before.p99_us, after.p50_us, after.p99_us
    )
}
