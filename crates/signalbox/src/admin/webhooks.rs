//! `signalbox webhooks`: workflows that start by a signed request from outside.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use signalbox_client::{ListQuery, Method};

use super::context::{body, text};
use super::resource::{Column, Resource};
use super::{All, Asked, run};
use crate::printer;

const WEBHOOKS: Resource = Resource {
    noun: "webhook",
    lister: "signalbox webhooks list",
    path: &["v1", "opscore", "hooks"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::id("ID", "/id"),
        Column::text("WORKFLOW", "/workflowId"),
        Column::text("PATH", "/path"),
        Column::age("MADE", "/createdAt"),
        Column::text("AGENT", "/agentId").wide(),
        Column::age("ROTATED", "/rotatedAt").wide(),
        Column::text("NOTE", "/note").wide(),
    ],
};

/// What is done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookVerb {
    /// List webhooks
    #[command(after_help = example!("webhooks list"))]
    List(All),
    /// Show a webhook
    #[command(after_help = example!("webhooks show deploys"))]
    Show {
        /// The webhook
        id: String,
    },
    /// Create a webhook; prints its secret, which is shown this once
    #[command(after_help = example!("webhooks create deploys --workflow audit"))]
    Create {
        /// The webhook
        id: String,
        /// The workflow that it starts
        #[arg(long)]
        workflow: String,
        /// The agent that does the tasks that name neither an agent nor a capability, by its id or name
        #[arg(long)]
        agent: Option<String>,
        /// What it is for
        #[arg(long)]
        note: Option<String>,
    },
    /// Rotate a webhook's secret; prints the new one
    #[command(after_help = example!("webhooks rotate deploys --keep-earlier-for 1h"))]
    Rotate {
        /// The webhook
        id: String,
        /// How long the secret before is good too
        #[arg(long)]
        keep_earlier_for: Option<String>,
    },
    /// Delete a webhook
    #[command(after_help = example!("webhooks delete deploys"))]
    Delete {
        /// The webhook
        id: String,
    },
}

/// Does what is asked with webhooks.
pub(crate) fn webhooks(asked: &Asked<WebhookVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            WebhookVerb::List(all) => context.list(&WEBHOOKS, &[], &ListQuery::new(), all.limit).await?,
            WebhookVerb::Show { id } => context.show(&WEBHOOKS, id).await?,
            WebhookVerb::Create { id, workflow, agent, note } => {
                let agent = context.maybe_agent(agent.as_deref()).await?;
                let body = body([
                    ("id", Some(json!(id))),
                    ("workflowId", Some(json!(workflow))),
                    ("agentId", text(agent.as_deref())),
                    ("note", text(note.as_deref())),
                ]);
                let made = context.send(Method::POST, WEBHOOKS.path, Some(&body)).await?;
                context.print(&made)?;
                printer::notice("the secret is shown this once");
            }
            WebhookVerb::Rotate { id, keep_earlier_for } => {
                let body = body([("keepEarlierFor", text(keep_earlier_for.as_deref()))]);
                context
                    .print(&context.act((&WEBHOOKS, Method::POST), &[id, "rotate"], Some(&body)).await?)?;
                printer::notice("the secret is shown this once");
            }
            WebhookVerb::Delete { id } => {
                let answer = context.act((&WEBHOOKS, Method::DELETE), &[id], None).await?;
                context.done(&answer, &format!("webhook {id} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
