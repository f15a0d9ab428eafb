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

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use signalbox_server::backup::Parts;

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
    /// Copy all that a server keeps, while it runs: the embedded database, keys and secrets
    Backup {
        /// The directory to write; it must be new or empty
        directory: PathBuf,
        #[command(flatten)]
        kept: Kept,
    },
    /// Put a backup back, into a new data directory
    Restore {
        /// The directory that `signalbox backup` wrote
        directory: PathBuf,
        #[command(flatten)]
        kept: Kept,
    },
    /// List the agents of a running server
    Agents(admin::Target),
    /// Look at sessions of a running server, and control them
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

/// What is backed up or restored.
#[derive(Debug, Args)]
struct Kept {
    /// The server's data directory
    #[arg(long, env = "SIGNALBOX_DATA_DIR", default_value = "signalbox-data")]
    data_dir: PathBuf,
    /// Only keys and secrets, for a server on PostgreSQL, whose database pg_dump copies
    #[arg(long)]
    without_database: bool,
}

impl Kept {
    fn parts(&self) -> Parts {
        if self.without_database { Parts::WithoutDatabase } else { Parts::All }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { arguments } => serve::run(arguments, std::future::pending()),
        Command::Demo(arguments) => demo::run(arguments),
        Command::DemoServer { arguments } => serve::run(arguments, demo::parent_gone()),
        Command::DemoAgent(arguments) => demo::agent(arguments),
        Command::Backup { directory, kept } => serve::backup(&kept.data_dir, &directory, kept.parts()),
        Command::Restore { directory, kept } => serve::restore(&directory, &kept.data_dir, kept.parts()),
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
