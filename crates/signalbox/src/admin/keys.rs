//! `signalbox keys`: the API keys of a tenant.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use serde_json::value::RawValue;
use signalbox_client::{ListQuery, Method};

use super::context::{Context, body, text};
use super::output::Format;
use super::resource::{Column, Resource};
use super::{All, Asked, run};
use crate::printer;

const KEYS: Resource = Resource {
    noun: "key",
    lister: "signalbox keys list",
    path: &["v1", "keys"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::text("NAME", "/name"),
        Column::id("ID", "/keyId"),
        Column::text("SCOPE", "/scope"),
        Column::age("LAST USED", "/lastUsedAt"),
        Column::age("EXPIRES", "/expiresAt"),
        Column::age("MADE", "/createdAt").wide(),
        Column::age("ROTATED", "/rotatedAt").wide(),
    ],
};

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// List API keys
    #[command(after_help = example!("keys list"))]
    List(All),
    /// Create an API key; prints it this once, and off a terminal the key alone
    #[command(after_help = example!("keys create ci --scope agent --expires-in 90d"))]
    Create {
        /// What its owner calls it
        name: String,
        /// What it allows: read, agent or admin
        #[arg(long)]
        scope: String,
        /// After how long it opens nothing, such as 90d; it does not expire where absent
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// Rotate an API key: give it another secret, which is printed this once
    #[command(after_help = example!("keys rotate key_01JQ --keep-earlier-for 1h"))]
    Rotate {
        /// The key's id
        id: String,
        /// How long the secret before is good too
        #[arg(long)]
        keep_earlier_for: Option<String>,
        /// After how long it opens nothing, counted from now; as before where absent
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// Revoke an API key
    #[command(after_help = example!("keys revoke key_01JQ"))]
    Revoke {
        /// The key's id
        id: String,
    },
}

/// Does what is asked with keys.
pub(crate) fn keys(asked: &Asked<KeyVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            KeyVerb::List(all) => context.list(&KEYS, &[], &ListQuery::new(), all.limit).await?,
            KeyVerb::Create { name, scope, expires_in } => {
                let body = body([
                    ("name", Some(json!(name))),
                    ("scope", Some(json!(scope))),
                    ("expiresIn", text(expires_in.as_deref())),
                ]);
                once(&context, &context.send(Method::POST, KEYS.path, Some(&body)).await?)?;
            }
            KeyVerb::Rotate { id, keep_earlier_for, expires_in } => {
                let body = body([
                    ("keepEarlierFor", text(keep_earlier_for.as_deref())),
                    ("expiresIn", text(expires_in.as_deref())),
                ]);
                once(&context, &context.act((&KEYS, Method::POST), &[id, "rotate"], Some(&body)).await?)?;
            }
            KeyVerb::Revoke { id } => {
                let answer = context.act((&KEYS, Method::DELETE), &[id], None).await?;
                context.done(&answer, &format!("key {id} is revoked"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Writes a key that is shown this once: all about it for whoever watches; the key alone where it goes into a variable or
/// a file.
fn once(context: &Context, made: &RawValue) -> anyhow::Result<()> {
    if context.format == Format::Table && !std::io::stdout().is_terminal() {
        context.started(made, "/key")?;
    } else {
        context.print(made)?;
    }
    printer::notice("the key is shown this once");
    Ok(())
}
