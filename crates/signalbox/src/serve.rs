//! `signalbox serve`, `signalbox backup` and `signalbox restore`.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use signalbox_server::backup::{self, Copied, Parts};
use signalbox_server::config::ConfigError;
use signalbox_server::{Config, Server, telemetry};
use tokio::signal::unix::{SignalKind, signal};

use crate::printer;

/// Serves until SIGTERM, Ctrl-C or whatever else it is to serve `until`, then drains.
pub(crate) fn run(
    arguments: Vec<OsString>,
    until: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<ExitCode> {
    let config = match Config::read(arguments) {
        Ok(config) => config,
        Err(ConfigError::Help(usage)) => {
            // A reader that has gone away is not an error.
            let _ = usage.print();
            return Ok(ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)));
        }
        Err(error) => {
            printer::notice(&format!("error: {error}"));
            return Ok(ExitCode::from(2));
        }
    };
    telemetry::start(&config);
    let runtime = runtime()?;
    let served = runtime.block_on(serve(config, until));
    // A look-up of a name cannot be called off, and must not hold up the end.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, until: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let server = Server::open(config).await?;
    printer::line(&format!("signalbox listening on {}", server.url()));
    for made in server.made_keys() {
        printer::notice(&format!("made the {made}"));
    }
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = until => {}
        }
    };
    // Where nobody watches, the log says it all, and is all that is in the stream.
    let is_watched = std::io::stderr().is_terminal();
    let tell = move |step: &str| {
        if is_watched {
            printer::notice(step);
        }
    };
    server.run(stop, tell).await;
    Ok(ExitCode::SUCCESS)
}

/// Copies a data directory.
pub(crate) fn backup(data_dir: &Path, target: &Path, parts: Parts) -> anyhow::Result<ExitCode> {
    let copied = backup::backup(data_dir, target, parts)?;
    printer::notice(&format!("copied {} of {} to {}", names(&copied), data_dir.display(), target.display()));
    Ok(ExitCode::SUCCESS)
}

/// Puts a copy back.
pub(crate) fn restore(source: &Path, data_dir: &Path, parts: Parts) -> anyhow::Result<ExitCode> {
    let copied = backup::restore(source, data_dir, parts)?;
    printer::notice(&format!(
        "restored {} of {} to {}",
        names(&copied),
        source.display(),
        data_dir.display()
    ));
    if parts == Parts::All {
        printer::notice(
            "once it serves, restart the agents that ran at the backup: else the tasks that they had in hand wait for their \
             time limit",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn names(copied: &Copied) -> String {
    if copied.0.is_empty() { "nothing".to_owned() } else { copied.0.join(", ") }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}
