//! `signalbox commands`: what connected agents are told to do at once.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::context::{body, missing, text};
use super::failure::{is_unknown, renamed};
use super::input::json;
use super::output;
use super::resource::{Column, Resource};
use super::{Asked, Newest, run};

const COMMANDS: Resource = Resource {
    noun: "agent",
    lister: "signalbox agents list",
    path: &["api", "v1", "agents"],
    items: "commands",
    enveloped: false,
    columns: &[
        Column::id("ID", "/command_id"),
        Column::text("COMMAND", "/command"),
        Column::status("STATUS", "/status"),
        Column::age("SENT", "/created_at"),
        Column::text("ERROR", "/error"),
        Column::text("ATTEMPTS", "/attempts").wide(),
        Column::age("EXPIRES", "/expires_at").wide(),
        Column::age("ENDED", "/ended_at").wide(),
    ],
};

/// What is done with commands.
#[derive(Debug, Subcommand)]
pub(crate) enum CommandVerb {
    /// List an agent's commands, newest first
    #[command(after_help = example!("commands list robot-1"))]
    List {
        /// The agent, by its id or name
        agent: String,
        #[command(flatten)]
        newest: Newest,
    },
    /// Show a command
    #[command(after_help = example!("commands show robot-1 cmd_01JQ"))]
    Show {
        /// The agent, by its id or name
        agent: String,
        /// The command's id
        command: String,
    },
    /// Send an agent a command; prints the command's id, with --wait what came of it
    #[command(after_help = example!("commands send robot-1 restart --wait", "commands send robot-1 move '{\"x\": 3}'"))]
    Send {
        /// The agent, by its id or name
        agent: String,
        /// What is to be done, in a word that the agent knows
        command: String,
        /// With what, as a JSON object
        #[arg(value_parser = json)]
        arguments: Option<Value>,
        /// Seconds until it must be answered
        #[arg(long)]
        timeout: Option<u64>,
        /// Wait for the answer
        #[arg(long)]
        wait: bool,
    },
    /// Cancel a command that is not answered yet
    #[command(after_help = example!("commands cancel robot-1 cmd_01JQ --reason 'not now'"))]
    Cancel {
        /// The agent, by its id or name
        agent: String,
        /// The command's id
        command: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Does what is asked with commands.
pub(crate) fn commands(asked: &Asked<CommandVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            CommandVerb::List { agent, newest } => {
                let id = context.agent(agent).await?;
                let listed = Resource { noun: "command for the agent", ..COMMANDS };
                let path = [&*id, "commands"];
                let told = context.list(&listed, &path, &ListQuery::new(), newest.limit).await;
                told.map_err(|error| renamed(error, &COMMANDS, agent))?;
            }
            CommandVerb::Show { agent, command } => {
                let id = context.agent(agent).await?;
                let path = COMMANDS.at(&[&id, "commands", command]);
                let told = context.get(&path, &ListQuery::new()).await;
                context.print(&told.map_err(|error| unknown(error, agent, command))?)?;
            }
            CommandVerb::Send { agent, command, arguments, timeout, wait } => {
                let id = context.agent(agent).await?;
                let body = body([
                    ("command", Some(json!(command))),
                    ("args", arguments.clone()),
                    ("timeout", timeout.map(|seconds| json!(seconds))),
                ]);
                let query = if *wait { ListQuery::new().filter("wait", "true") } else { ListQuery::new() };
                let path = COMMANDS.at(&[&id, "commands"]);
                let answer = context.send_with(Method::POST, &path, &query, Some(&body)).await;
                let answer = answer.map_err(|error| missing(&COMMANDS, &[agent], error))?;
                if *wait {
                    context.print(&answer)?;
                    if output::value(&answer)?["status"] != "success" {
                        return Ok(ExitCode::FAILURE);
                    }
                } else {
                    context.started(&answer, "/command_id")?;
                }
            }
            CommandVerb::Cancel { agent, command, reason } => {
                let id = context.agent(agent).await?;
                let body = body([("reason", text(reason.as_deref()))]);
                let path = COMMANDS.at(&[&id, "commands", command, "cancel"]);
                let answer = context.send(Method::POST, &path, Some(&body)).await;
                let answer = answer.map_err(|error| unknown(error, agent, command))?;
                context.done(&answer, &format!("command {command} is cancelled"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What is said of a command, or an agent, that is not there.
fn unknown(error: anyhow::Error, agent: &str, command: &str) -> anyhow::Error {
    if is_unknown(&error, "command") {
        return anyhow::anyhow!(
            "agent '{agent}' has no command '{command}'; 'signalbox commands list {agent}' shows those that there are"
        );
    }
    missing(&COMMANDS, &[agent], error)
}
