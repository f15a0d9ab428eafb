//! `signalbox tools`: what agents and workflows can call.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::agent::AGENTS;
use super::input::json;
use super::resource::{Column, Resource};
use super::{All, Asked, run};
use super::{context, output};
use crate::printer;

const TOOLS: Resource = Resource {
    noun: "tool",
    lister: "signalbox tools list",
    path: &["v1", "tools"],
    items: "data",
    enveloped: true,
    columns: &[
        Column::id("NAME", "/name"),
        Column::text("DESCRIPTION", "/description"),
        Column::text("ENDPOINT", "/endpoint"),
        Column::age("MADE", "/createdAt").wide(),
    ],
};

/// What is done with tools.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolVerb {
    /// List tools
    #[command(after_help = example!("tools list"))]
    List(All),
    /// Show a tool with the schema of its arguments
    #[command(after_help = example!("tools show echo"))]
    Show {
        /// The tool
        name: String,
    },
    /// Register a tool
    #[command(after_help = example!("tools register add --description 'Adds two numbers' --endpoint http://127.0.0.1:9100/add"))]
    Register {
        /// The tool
        name: String,
        /// What it does
        #[arg(long)]
        description: String,
        /// Where calls are POSTed
        #[arg(long)]
        endpoint: String,
        /// The JSON Schema of its arguments; any where absent
        #[arg(long, value_parser = json)]
        parameters: Option<Value>,
    },
    /// Call a tool as an agent would; prints what it answers
    #[command(after_help = example!("tools call echo '{\"text\": \"hello\"}' --agent reader-1"))]
    Call {
        /// The tool
        name: String,
        /// Its arguments, as a JSON object
        #[arg(value_parser = json, default_value = "{}")]
        arguments: Value,
        /// The agent that calls, by its id or name
        #[arg(long)]
        agent: String,
    },
    /// Delete a tool
    #[command(after_help = example!("tools delete add"))]
    Delete {
        /// The tool
        name: String,
    },
}

/// Does what is asked with tools.
pub(crate) fn tools(asked: &Asked<ToolVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            ToolVerb::List(all) => context.list(&TOOLS, &[], &ListQuery::new(), all.limit).await?,
            ToolVerb::Show { name } => context.show(&TOOLS, name).await?,
            ToolVerb::Register { name, description, endpoint, parameters } => {
                let body = context::body([
                    ("name", Some(json!(name))),
                    ("description", Some(json!(description))),
                    ("endpoint", Some(json!(endpoint))),
                    ("parameters", parameters.clone()),
                ]);
                let made = context.act((&TOOLS, Method::POST), &[], Some(&body)).await?;
                context.done(&made, &format!("tool {name} is registered"))?;
            }
            ToolVerb::Call { name, arguments, agent } => {
                let agent = context.agent(agent).await?;
                let body = json!({"senderId": "signalbox-cli", "messageType": "tool_invocation",
                                  "payload": {"tool_name": name, "arguments": arguments}});
                let told = output::value(&call(&context, name, &agent, &body).await?)?;
                if told["status"] == "error" {
                    let part = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
                    bail!("tool {name} failed: {} ({})", part("error_message"), part("error_code"));
                }
                let format = if context.format.is_table() { output::Format::Json } else { context.format };
                output::whole(format, &serde_json::value::to_raw_value(&told["data"])?)?;
            }
            ToolVerb::Delete { name } => {
                let answer = context.act((&TOOLS, Method::DELETE), &[name], None).await?;
                context.done(&answer, &format!("tool {name} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// How long a call may take before it is said whom it waits for.
const SILENT: Duration = Duration::from_secs(1);

/// Calls the tool, once: whoever watches decides whether it is to be called again.
async fn call(
    context: &context::Context,
    name: &str,
    agent: &str,
    body: &Value,
) -> anyhow::Result<Box<RawValue>> {
    let once = context.once();
    let path = ["v1", "agents", agent, "run"];
    let mut answer = pin!(once.send(Method::POST, &path, Some(body)));
    let told = match tokio::time::timeout(SILENT, &mut answer).await {
        Ok(told) => told,
        Err(_) => {
            printer::notice(&format!("waiting for the tool {name}{}", place(context, name).await));
            answer.await
        }
    };
    told.map_err(|error| {
        let error = context::missing(&TOOLS, &[name], error);
        context::missing(&AGENTS, &[agent], error)
    })
}

/// Where a tool is, in words; nothing where that is not known.
async fn place(context: &context::Context, name: &str) -> String {
    let tool = context.fetch(&TOOLS, &[name], &ListQuery::new()).await;
    let endpoint = tool.and_then(|tool| Ok(output::value(&tool)?["endpoint"].as_str().map(str::to_owned)));
    endpoint.ok().flatten().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default()
}
