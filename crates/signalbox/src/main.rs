//! The Signalbox binary: `serve`, `demo`, and what an operator does from a shell.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 refused or failed, 2 misused; of
//! commands that wait for a session, 3 where it failed and 4 where it was cancelled.

/// The examples of a command, for the end of its help.
macro_rules! example {
    ($($words:literal),+ $(,)?) => {
        concat!("Examples:", $("\n  signalbox ", $words),+)
    };
}

mod admin;
mod completions;
mod demo;
mod edge;
mod exec;
mod init;
mod printer;
mod reference;
mod serve;
mod signals;
mod story;
mod style;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use signalbox_server::backup::Parts;

// Requests allocate on one thread what another frees; an allocator that makes that cheap takes the place of the C library's, for
// SQLite too. Rust's own allocations go to it by `malloc`, which is shorter than its way for any alignment.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use mimalloc as _;

/// As above, where nothing takes the place of the C library's.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the help of the whole ends with.
const CODES: &str = "Exit codes: 0 done; 1 refused, or not to be asked; 2 misused; and of 'sessions watch', 'sessions \
                     result' and 'workflows trigger --wait': 3 the session failed, 4 it was cancelled.";

/// A control plane for AI agents: register them, reach them, give them work that is never lost.
#[derive(Debug, Parser)]
#[command(name = "signalbox", version, about, max_term_width = 100, after_help = CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the control plane
    #[command(disable_help_flag = true, after_help = example!("serve --data-dir ./data"))]
    Serve {
        /// See `signalbox serve --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<OsString>,
    },
    /// Watch four agents audit a folder together while one of them is killed
    #[command(after_help = example!("demo docs --fast"))]
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
    /// Register, list, show, drain and remove agents, and send them messages
    Agents(admin::Asked<admin::AgentVerb>),
    /// Keep workflows, compare them, and start them
    Workflows(admin::Asked<admin::WorkflowVerb>),
    /// Look at sessions, watch them, and steer them, one or several
    Sessions(admin::Asked<admin::SessionVerb>),
    /// Start workflows by the clock
    Schedules(admin::Asked<admin::ScheduleVerb>),
    /// Start workflows by signed requests from outside
    Webhooks(admin::Asked<admin::WebhookVerb>),
    /// Register tools, and call them
    Tools(admin::Asked<admin::ToolVerb>),
    /// Publish to channels, subscribe to them, and read their history
    Channels(admin::Asked<admin::ChannelVerb>),
    /// Send commands to connected agents
    Commands(admin::Asked<admin::CommandVerb>),
    /// Look after messages that could not be delivered
    DeadLetters(admin::Asked<admin::DeadLetterVerb>),
    /// Show or follow the log, newest entries at the end
    Logs(admin::Logs),
    /// Show or follow the events of a session, oldest first
    Events(admin::Events),
    /// Run a program as an agent
    Agent(exec::Agent),
    /// Make and limit tenants
    Tenants(admin::Asked<admin::TenantVerb>),
    /// Show and set how long what is over is kept
    Retention(admin::Asked<admin::RetentionVerb>),
    /// Make, rotate and revoke API keys
    Keys(admin::Asked<admin::KeyVerb>),
    /// Keep the public keys that agents sign in with
    SshKeys(admin::Asked<admin::SshKeyVerb>),
    /// Copy all that a server keeps, while it runs: the embedded database, keys and secrets
    #[command(after_help = example!("backup /backups/monday --data-dir ./data"))]
    Backup {
        /// The directory to write; it must be new or empty
        directory: PathBuf,
        #[command(flatten)]
        kept: Kept,
    },
    /// Put a backup back, into a new data directory
    #[command(after_help = example!("restore /backups/monday --data-dir ./restored"))]
    Restore {
        /// The directory that `signalbox backup` wrote
        directory: PathBuf,
        #[command(flatten)]
        kept: Kept,
    },
    /// Diagnose the configuration, the data directory and the server: what is wrong, and what to do
    Doctor(admin::Doctor),
    /// Write a signalbox.toml with every key of the configuration, commented out
    Init(init::Init),
    /// Keep profiles: servers by name, each with its key and tenant
    Config(admin::Config),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print a reference page that is generated from the code
    #[command(hide = true)]
    Reference {
        /// Which page
        page: reference::Page,
    },
}

/// The whole tree of commands, with the flags of `serve`.
fn whole_command() -> clap::Command {
    let serve = signalbox_server::Config::command().name("serve");
    Cli::command().mut_subcommand("serve", |kept| {
        let after = kept.get_after_help().cloned().unwrap_or_default();
        serve.after_help(after)
    })
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

/// What follows `serve`, which reads it by itself: a server needs no memory for what the other commands are.
fn arguments_of_serve() -> Option<Vec<OsString>> {
    let mut words = std::env::args_os().skip(1);
    let is_serve = words.next()? == "serve";
    let mut words = words.peekable();
    words.next_if(|word| word == "--");
    is_serve.then(|| words.collect())
}

fn main() -> ExitCode {
    let outcome = match arguments_of_serve() {
        Some(arguments) => serve::run(arguments, std::future::pending()),
        None => run(Cli::parse().command),
    };
    outcome.unwrap_or_else(|error| {
        printer::notice(&format!("error: {}", admin::in_words(&error)));
        if error.is::<admin::Misused>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { arguments } => serve::run(arguments, std::future::pending()),
        Command::Demo(arguments) => demo::run(arguments),
        Command::DemoServer { arguments } => serve::run(arguments, demo::parent_gone()),
        Command::DemoAgent(arguments) => demo::agent(arguments),
        Command::Backup { directory, kept } => serve::backup(&kept.data_dir, &directory, kept.parts()),
        Command::Restore { directory, kept } => serve::restore(&directory, &kept.data_dir, kept.parts()),
        Command::Agents(asked) => admin::agents(&asked),
        Command::Workflows(asked) => admin::workflows(&asked),
        Command::Sessions(asked) => admin::sessions(&asked),
        Command::Schedules(asked) => admin::schedules(&asked),
        Command::Webhooks(asked) => admin::webhooks(&asked),
        Command::Tools(asked) => admin::tools(&asked),
        Command::Channels(asked) => admin::channels(&asked),
        Command::Commands(asked) => admin::commands(&asked),
        Command::DeadLetters(asked) => admin::dead_letters(&asked),
        Command::Logs(asked) => admin::logs(&asked),
        Command::Events(asked) => admin::events(&asked),
        Command::Agent(asked) => exec::agent(&asked),
        Command::Tenants(asked) => admin::tenants(&asked),
        Command::Retention(asked) => admin::retention(&asked),
        Command::Keys(asked) => admin::keys(&asked),
        Command::SshKeys(asked) => admin::ssh_keys(&asked),
        Command::Doctor(asked) => admin::doctor(&asked),
        Command::Init(asked) => init::init(&asked),
        Command::Config(asked) => admin::config(&asked),
        Command::Completions(asked) => completions::completions(&asked, &mut whole_command()),
        Command::Reference { page } => reference::print(page, whole_command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that does something, with the words that it is called by.
    fn leaves(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
        let visible =
            || command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help");
        if visible().next().is_none() {
            return vec![(words.to_owned(), command.clone())];
        }
        visible().flat_map(|one| leaves(one, format!("{words} {}", one.get_name()).trim())).collect()
    }

    #[test]
    fn the_commands_hold_together() {
        whole_command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_that_can_be_read() {
        for (words, command) in leaves(&Cli::command(), "") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("signalbox {words}");
            assert!(help.contains(&example), "{words} has no example: {help}");
            for line in help.lines().filter_map(|line| line.trim().strip_prefix("signalbox ")) {
                let line = line.split_once(" > ").map_or(line, |(line, _)| line);
                let read = Cli::try_parse_from(std::iter::once("signalbox".to_owned()).chain(split(line)));
                let fault = read.err().map(|error| error.to_string()).unwrap_or_default();
                assert_eq!(fault, "", "{line}");
            }
        }
    }

    /// Words as a shell splits them, with single quotes alone.
    fn split(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
        for letter in line.chars() {
            match letter {
                '\'' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                ' ' if !quoted => words.extend(word.take()),
                _ => word.get_or_insert_default().push(letter),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn help_is_in_the_imperative_and_names_what_it_is_about() {
        for (words, command) in leaves(&Cli::command(), "") {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let mut parts = about.split_whitespace();
            let first = parts.next().unwrap_or_default();
            assert!(
                first.chars().next().is_some_and(char::is_uppercase) && !first.ends_with("ing"),
                "{words}: {about}"
            );
            assert!(!about.ends_with(" them"), "{words}: {about}");
        }
    }

    #[test]
    fn every_command_has_a_test_on_its_output() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/cli");
        let texts: String = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        let missing: Vec<String> = leaves(&Cli::command(), "")
            .into_iter()
            .map(|(words, _)| words)
            .filter(|words| !["serve", "demo"].contains(&words.as_str()))
            .filter(|words| {
                ![format!("\"{words}\""), format!("\"{words} ")].iter().any(|call| texts.contains(call))
            })
            .collect();
        assert_eq!(missing, [""; 0], "tests/blackbox/cli calls none of these");
    }
}
