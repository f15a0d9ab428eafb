//! `signalbox completions`: what a shell needs to complete commands, flags and their values.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::printer;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = example!("completions bash > /etc/bash_completion.d/signalbox"))]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
pub(crate) fn completions(asked: &Completions, command: &mut Command) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(asked.shell, command, "signalbox", &mut text);
    printer::part(&String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}
