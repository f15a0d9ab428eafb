//! `signalbox agent run`: any program as an agent.
use clap::Args;
use std::process::ExitCode;
/// Run a program as an agent
#[derive(Debug, Args)]
pub(crate) struct Agent {}
pub(crate) fn agent(_: &Agent) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
