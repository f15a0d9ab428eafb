//! `signalbox tenants`: who shares the server, with the platform key.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::context::{self, body, text};
use super::resource::{Column, Resource};
use super::tenant::{TENANTS, id_of};
use super::{All, Asked, run};
use crate::printer;

/// Limits of a tenant of its own; what is not given is limited as the server's configuration says.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Registered agents
    #[arg(long)]
    agents: Option<u64>,
    /// Agents that are connected at once
    #[arg(long)]
    connections: Option<u64>,
    /// Channels
    #[arg(long)]
    channels: Option<u64>,
    /// SSH keys
    #[arg(long)]
    ssh_keys: Option<u64>,
    /// API keys
    #[arg(long)]
    api_keys: Option<u64>,
    /// Messages a day
    #[arg(long)]
    messages_per_day: Option<u64>,
    /// Requests a second
    #[arg(long)]
    requests_per_second: Option<u64>,
}

/// What is done with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantVerb {
    /// List tenants, but the one that is always there: default
    #[command(after_help = example!("tenants list"))]
    List(All),
    /// Show a tenant with its limits
    #[command(after_help = example!("tenants show tnt_01JQ"))]
    Show {
        /// The tenant, by its id or name
        #[arg(value_name = "TENANT")]
        id: String,
    },
    /// Create a tenant; prints its id and its admin key, which is shown this once
    #[command(after_help = example!("tenants create acme --agents 100"))]
    Create {
        /// Its name
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Update a tenant's name or limits
    #[command(after_help = example!("tenants update tnt_01JQ --messages-per-day 10000"))]
    Update {
        /// The tenant, by its id or name
        #[arg(value_name = "TENANT")]
        id: String,
        /// Its name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show what the key's tenant took, by day
    #[command(after_help = example!("tenants usage --days 7"))]
    Usage {
        /// How many days
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
    /// Delete a tenant with everything that it has
    #[command(after_help = example!("tenants delete tnt_01JQ --yes"))]
    Delete {
        /// The tenant, by its id or name
        #[arg(value_name = "TENANT")]
        id: String,
        /// Really: its agents, sessions, keys and history go with it
        #[arg(long, required = true)]
        yes: bool,
    },
}

/// Does what is asked with tenants.
pub(crate) fn tenants(asked: &Asked<TenantVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            TenantVerb::List(all) => context.list(&TENANTS, &[], &ListQuery::new(), all.limit).await?,
            TenantVerb::Show { id } => context.show(&TENANTS, &id_of(&context.client, id).await?).await?,
            TenantVerb::Create { name, limits } => {
                let body = body([("name", Some(json!(name))), ("limits", limits.given())]);
                context.print(&context.send(Method::POST, TENANTS.path, Some(&body)).await?)?;
                printer::notice("the key is shown this once");
            }
            TenantVerb::Update { id, name, limits } => {
                let body = body([("name", text(name.as_deref())), ("limits", limits.given())]);
                let answer = context
                    .act((&TENANTS, Method::PATCH), &[&id_of(&context.client, id).await?], Some(&body))
                    .await?;
                context.done(&answer, &format!("tenant {id} is updated"))?;
            }
            TenantVerb::Usage { days } => usage(&context, *days).await?,
            TenantVerb::Delete { id, .. } => {
                let answer = context
                    .act((&TENANTS, Method::DELETE), &[&id_of(&context.client, id).await?], None)
                    .await?;
                context.done(&answer, &format!("tenant {id} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

const USAGE: Resource = Resource {
    noun: "day",
    columns: &[
        Column::id("DATE", "/date"),
        Column::text("AGENTS", "/agents"),
        Column::text("CONNECTIONS", "/connections"),
        Column::text("MESSAGES", "/messages"),
        Column::text("TASKS", "/tasks"),
    ],
    ..TENANTS
};

async fn usage(context: &context::Context, days: u32) -> anyhow::Result<()> {
    let query = ListQuery::new().filter("days", days.to_string());
    let answer = context.get(&["api", "v1", "usage-metrics"], &query).await?;
    if !context.format.is_table() {
        return context.print(&answer);
    }
    let told = super::output::value(&answer)?;
    context.print_table(&USAGE, told["days"].as_array().map(Vec::as_slice).unwrap_or_default());
    Ok(())
}

impl Limits {
    fn given(&self) -> Option<Value> {
        let limits = body(
            [
                ("agents", self.agents),
                ("connections", self.connections),
                ("channels", self.channels),
                ("ssh_keys", self.ssh_keys),
                ("api_keys", self.api_keys),
                ("messages_per_day", self.messages_per_day),
                ("requests_per_second", self.requests_per_second),
            ]
            .map(|(name, limit)| (name, limit.map(|limit| json!(limit)))),
        );
        Some(limits).filter(|limits| *limits != json!({}))
    }
}
