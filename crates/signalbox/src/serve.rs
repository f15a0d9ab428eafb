//! `signalbox serve` and `signalbox backup`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
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
        Err(ConfigError::Usage(usage)) => {
            // Help and version come this way too, and go where clap says.
            // A reader that has gone away is not an error.
            let _ = usage.print();
            return Ok(ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2)));
        }
        Err(error) => {
            printer::notice(&format!("error: {error}"));
            return Ok(ExitCode::from(2));
        }
    };
    if let Err(error) = telemetry::start(&config) {
        printer::notice(&format!("error: {error}"));
        return Ok(ExitCode::from(2));
    }
    runtime()?.block_on(serve(config, until))
}

async fn serve(config: Config, until: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let server = Server::open(config).await?;
    for (what, key) in server.made_keys() {
        printer::notice(&format!("made the {what}, shown only now: {}", key.expose()));
    }
    printer::line(&format!("signalbox listening on http://{}", server.address()));
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = until => {}
            }
        })
        .await;
    Ok(ExitCode::SUCCESS)
}

/// Copies the embedded database.
pub(crate) fn backup(data_dir: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    signalbox_server::backup(data_dir, file)?;
    printer::notice(&format!("copied the database of {} to {}", data_dir.display(), file.display()));
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the async runtime")
}
