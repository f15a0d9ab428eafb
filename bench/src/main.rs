//! Comparisons of the real server with the least that its work could cost.
//!
//! `bench [cases…]` runs cases and writes `bench/results`; `bench baseline …` is one of the bare servers that
//! a case starts beside the server under test. A figure counts only as a ratio inside one run.

mod agents;
mod baseline;
mod callgrind;
mod cases;
mod clock;
mod context;
mod environment;
mod fan;
mod fill;
mod fleet;
mod flush;
mod interleave;
mod load;
mod nats;
mod plans;
mod postgres;
mod printer;
mod process;
mod report;
mod requests;
mod restate;
mod server;
mod sign_in;
mod ssh;
mod stats;
mod ws;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::cases::Case;
use crate::context::{Context, Options};

#[derive(Parser)]
#[command(name = "bench", about = "Compares the release binary with bare servers in the same run")]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    /// Cases to run, in this order; all of them when none is named.
    #[arg(value_enum)]
    names: Vec<Case>,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Be one of the bare servers or clients that a case compares with.
    Baseline(baseline::Baseline),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Baseline(baseline)) => baseline.run().map(|()| true),
        None => bench(&cli.names, cli.options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            printer::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases until they end or a signal comes; either way every child and every temporary folder goes with
/// the future that owns it.
fn bench(names: &[Case], options: Options) -> anyhow::Result<bool> {
    let context = Context::new(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime that conducts the run did not start")?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = Box::pin(cases::run(&context, names)) => outcome,
            stopped = signalled() => Err(stopped),
        }
    });
    // Load threads end by themselves once their connections are gone; nobody waits for their figures.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn signalled() -> anyhow::Error {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return anyhow::anyhow!(
            "signals cannot be watched on this system, so a stopped run could not clean up"
        );
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    anyhow::anyhow!("stopped by a signal; the servers of this run were ended and its folders removed")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
