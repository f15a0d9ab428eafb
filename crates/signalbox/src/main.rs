//! The Signalbox binary: `serve`, `demo`, and what an operator does from a shell.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 misused.

mod admin;
mod demo;
mod printer;
mod reference;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

/// Requests allocate on one thread what another frees; this allocator makes that cheap.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A control plane for AI agents: register them, reach them, give them work that is never lost.
#[derive(Debug, Parser)]
#[command(name = "signalbox", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the control plane
    #[command(disable_help_flag = true)]
    Serve {
        /// See `signalbox serve --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
    /// Watch four agents audit a folder together while one of them is killed
    Demo(demo::Args),
    /// The demo's server: `serve`, until the process that started it is gone
    #[command(hide = true, disable_help_flag = true)]
    DemoServer {
        /// See `signalbox serve --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
    /// One of the demo's agents
    #[command(hide = true)]
    DemoAgent(demo::AgentArgs),
    /// Copy the embedded database while a server is using it
    Backup {
        /// The file to write; it must not exist yet
        file: PathBuf,
        /// The server's data directory
        #[arg(long, env = "SIGNALBOX_DATA_DIR", default_value = "signalbox-data")]
        data_dir: PathBuf,
    },
    /// List the agents of a running server
    Agents(admin::Target),
    /// Look at sessions of a running server, and steer them
    Sessions(admin::Asked<admin::SessionVerb>),
    /// Keep workflows on a running server, and start them
    Workflows(admin::Asked<admin::WorkflowVerb>),
    /// Look after messages that could not be delivered
    DeadLetters(admin::Asked<admin::DeadLetterVerb>),
    /// Print a reference page that is generated from the code
    #[command(hide = true)]
    Reference {
        /// Which page
        page: reference::Page,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { arguments } => serve::run(arguments, std::future::pending()),
        Command::Demo(arguments) => demo::run(arguments),
        Command::DemoServer { arguments } => serve::run(arguments, demo::parent_gone()),
        Command::DemoAgent(arguments) => demo::agent(arguments),
        Command::Backup { file, data_dir } => serve::backup(&data_dir, &file),
        Command::Agents(target) => admin::agents(&target),
        Command::Sessions(sessions) => admin::sessions(&sessions),
        Command::Workflows(workflows) => admin::workflows(&workflows),
        Command::DeadLetters(dead_letters) => admin::dead_letters(&dead_letters),
        Command::Reference { page } => reference::print(page),
    };
    outcome.unwrap_or_else(|error| {
        printer::notice(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
