//! `signalbox agents`: who is registered, how each is, and what can be done with one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::agent::AGENTS;
use super::context::{Context, filters};
use super::failure::renamed;
use super::input::json;
use super::logs::{self, About, Filter};
use super::output;
use super::resource::{Column, Resource};
use super::standing::{holding, standing};
use super::table::{Fields, details};
use super::{All, Asked, Newest, register, run};
use crate::printer;

/// Agents as Ops-Core has them.
const REPORTS: Resource = Resource {
    noun: "report of the agent",
    lister: "signalbox agents list",
    path: &["v1", "opscore", "agent"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::age("AT", "/timestamp"),
        Column::status("STATE", "/state"),
        Column::text("DETAILS", "/details"),
        Column::age("RECEIVED", "/receivedAt").wide(),
    ],
};

const MESSAGES: Resource = Resource {
    noun: "message",
    lister: "signalbox dead-letters list",
    path: &["v1", "messages"],
    items: "data",
    enveloped: true,
    columns: &[],
};

/// What is done with agents. An agent is named by its id or its name.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// List agents, each with how it stands and what it last reported; FAILED, where it is there, is when the last delivery failed
    #[command(after_help = example!("agents list --capability summarize", "agents list --state idle -o json"))]
    List {
        /// Those that offer this capability
        #[arg(long)]
        capability: Option<String>,
        /// Those whose newest report has this state
        #[arg(long)]
        state: Option<String>,
        /// Those with this presence: connected or offline
        #[arg(long)]
        presence: Option<String>,
        #[command(flatten)]
        all: All,
    },
    /// Register an agent; prints its id
    #[command(after_help = example!("agents register reader-1 --endpoint http://127.0.0.1:9000/run --capability read",
                                    "agents register robot-1 --connects --capability move --replace",
                                    "agents register vault --ssh-key vault_key.pub --capability measure"))]
    Register(register::Register),
    /// Show an agent
    #[command(after_help = example!("agents show reader-1"))]
    Show {
        /// The agent, by its id or name
        agent: String,
    },
    /// Show what an agent reported last
    #[command(after_help = example!("agents state reader-1"))]
    State {
        /// The agent, by its id or name
        agent: String,
    },
    /// List what an agent reported, newest first
    #[command(after_help = example!("agents history reader-1 --limit 20"))]
    History {
        /// The agent, by its id or name
        agent: String,
        #[command(flatten)]
        newest: Newest,
    },
    /// Drain an agent: it gets no new task and may finish what it has
    #[command(after_help = example!("agents drain reader-1"))]
    Drain {
        /// The agent, by its id or name
        agent: String,
    },
    /// Take an agent back into service after a drain
    #[command(after_help = example!("agents undrain reader-1"))]
    Undrain {
        /// The agent, by its id or name
        agent: String,
    },
    /// Remove an agent; the tasks that it holds are routed again
    #[command(after_help = example!("agents remove reader-1"))]
    Remove {
        /// The agent, by its id or name
        agent: String,
    },
    /// Send an agent a message; prints the message's id
    #[command(after_help = example!("agents message reader-1 '{\"text\": \"hello\"}'"))]
    Message(Message),
    /// Show where a message is
    #[command(after_help = example!("agents message-status msg_01JQ"))]
    MessageStatus {
        /// The message's id
        message: String,
    },
    /// Show what an agent wrote to the log and what happened to it, the newest at the end
    #[command(override_usage = "signalbox agents logs <AGENT> [OPTIONS]",
              after_help = example!("agents logs reader-1 --follow", "agents logs reader-1 --level warning --since 1h"))]
    Logs {
        /// The agent, by its id or name
        agent: String,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        newest: Newest,
        /// Go on with what is written from now on
        #[arg(short, long)]
        follow: bool,
    },
}

/// A message to an agent.
#[derive(Debug, Args)]
pub(crate) struct Message {
    /// The agent, by its id or name
    agent: String,
    /// What it carries: a JSON object
    #[arg(value_parser = json, default_value = "{}")]
    payload: Value,
    /// Its type
    #[arg(long = "type", default_value = "text")]
    kind: String,
    /// Who sends it
    #[arg(long, default_value = "signalbox-cli")]
    from: String,
    /// Its id: the same id again is the same message
    #[arg(long)]
    id: Option<String>,
}

/// Does what is asked with agents.
pub(crate) fn agents(asked: &Asked<AgentVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            AgentVerb::List { capability, state, presence, all } => {
                let given = [("capability", capability), ("state", state), ("presence", presence)];
                let query = filters(given.map(|(name, value)| (name, value.clone())));
                context.list(&AGENTS, &[], &query, all.limit).await?;
            }
            AgentVerb::Register(register) => register.run(&context).await?,
            AgentVerb::Show { agent } => show(&context, agent).await?,
            AgentVerb::State { agent } => {
                let id = context.agent(agent).await?;
                let state = context.fetch(&REPORTS, &[&id, "state"], &ListQuery::new()).await;
                context.print(&state.map_err(|error| renamed(error, &AGENTS, agent))?)?;
            }
            AgentVerb::History { agent, newest } => {
                let id = context.agent(agent).await?;
                let told = context.list(&REPORTS, &[&id, "history"], &ListQuery::new(), newest.limit).await;
                told.map_err(|error| renamed(error, &AGENTS, agent))?;
            }
            AgentVerb::Drain { agent } => serve(&context, agent, "drain", "gets no new task").await?,
            AgentVerb::Undrain { agent } => serve(&context, agent, "undrain", "is back in service").await?,
            AgentVerb::Remove { agent } => {
                let id = context.agent(agent).await?;
                let answer = context.act((&AGENTS, Method::DELETE), &[&id], None).await?;
                context.done(&answer, &format!("agent {agent} is removed"))?;
            }
            AgentVerb::Message(message) => message.send(&context).await?,
            AgentVerb::MessageStatus { message } => context.show(&MESSAGES, message).await?,
            AgentVerb::Logs { agent, filter, newest, follow } => {
                let id = context.agent(agent).await?;
                let query = filter.query(context.now).filter("agent", id);
                let about = About { agent: Some(agent), session: filter.session() };
                logs::print(&context, &query, (newest.limit, *follow), about).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Fields that people are told of in how it stands and what it holds.
const TOLD_ELSEWHERE: [&str; 4] = ["activeTasks", "concurrency", "available", "heldTasks"];

/// Shows an agent: to people, how it stands and what it holds before all else.
async fn show(context: &Context, agent: &str) -> anyhow::Result<()> {
    let query = ListQuery::new().filter("held", "true");
    let thing = context.fetch(&AGENTS, &[&context.agent(agent).await?], &query).await?;
    if !context.format.is_table() {
        return context.print(&thing);
    }
    let (told, mut fields) = (output::value(&thing)?, Fields::read(&thing)?);
    for name in TOLD_ELSEWHERE {
        fields.remove(name);
    }
    if let Some(holds) = holding(&told, context.now) {
        fields.put_first("holds", json!(holds));
    }
    fields.put_first("status", json!(standing(&told)));
    printer::line(&details(&fields)?);
    Ok(())
}

async fn serve(context: &Context, agent: &str, verb: &str, words: &str) -> anyhow::Result<()> {
    let id = context.agent(agent).await?;
    let answer = context.act((&REPORTS, Method::POST), &[&id, verb], None).await;
    // What is not there is the agent, not a report of it.
    let answer = answer.map_err(|error| renamed(error, &AGENTS, agent))?;
    context.done(&answer, &format!("agent {agent} {words}"))
}

impl Message {
    async fn send(&self, context: &Context) -> anyhow::Result<()> {
        let id = context.agent(&self.agent).await?;
        let mut body = json!({"senderId": self.from, "messageType": self.kind, "payload": self.payload});
        if let Some(id) = &self.id {
            body["messageId"] = json!(id);
        }
        let answer = context.act((&AGENTS, Method::POST), &[&id, "run"], Some(&body)).await?;
        context.started(&answer, "/messageId")
    }
}
