//! `signalbox ssh-keys`: the public keys that agents sign in with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use signalbox_client::{ListQuery, Method};

use super::context::{body, text};
use super::input::read;
use super::resource::{Column, Resource, in_line};
use super::{All, Asked, output, run};

pub(super) const SSH_KEYS: Resource = Resource {
    noun: "SSH key",
    lister: "signalbox ssh-keys list",
    path: &["api", "v1", "ssh-keys"],
    items: "ssh_keys",
    enveloped: false,
    columns: &[
        Column::text("NAME", "/name"),
        Column::id("ID", "/key_id"),
        Column::text("TYPE", "/key_type"),
        Column::status("STATUS", "/status"),
        Column::text("AGENT", "/agent_id"),
        Column::text("FINGERPRINT", "/fingerprint").wide(),
        Column::age("MADE", "/created_at").wide(),
        Column::age("REVOKED", "/revoked_at").wide(),
    ],
};

/// What is done with SSH keys.
#[derive(Debug, Subcommand)]
pub(crate) enum SshKeyVerb {
    /// List SSH keys
    #[command(after_help = example!("ssh-keys list"))]
    List(All),
    /// Show an SSH key
    #[command(after_help = example!("ssh-keys show ssh_01JQ"))]
    Show {
        /// The key's id
        id: String,
    },
    /// Add an SSH key that an agent signs in with
    #[command(after_help = example!("ssh-keys add robot ~/.ssh/id_ed25519.pub --agent robot-1"))]
    Add {
        /// What people call it
        name: String,
        /// The file with the public key; - reads standard input
        file: PathBuf,
        /// Who signs in with it: agent, access or deployment
        #[arg(long = "type", default_value = "agent")]
        kind: String,
        /// The agent that it signs in, by its id or name; needed for the type agent
        #[arg(long)]
        agent: Option<String>,
    },
    /// Revoke an SSH key: nobody signs in with it any more
    #[command(after_help = example!("ssh-keys revoke ssh_01JQ --reason 'laptop lost'"))]
    Revoke {
        /// The key's id
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Delete an SSH key
    #[command(after_help = example!("ssh-keys delete ssh_01JQ"))]
    Delete {
        /// The key's id
        id: String,
    },
}

/// Does what is asked with SSH keys.
pub(crate) fn ssh_keys(asked: &Asked<SshKeyVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            SshKeyVerb::List(all) => context.list(&SSH_KEYS, &[], &ListQuery::new(), all.limit).await?,
            SshKeyVerb::Show { id } => context.show(&SSH_KEYS, id).await?,
            SshKeyVerb::Add { name, file, kind, agent } => {
                let agent = context.maybe_agent(agent.as_deref()).await?;
                let body = body([
                    ("name", Some(json!(name))),
                    ("public_key", Some(json!(read(file)?.trim()))),
                    ("key_type", Some(json!(kind))),
                    ("agent_id", text(agent.as_deref())),
                ]);
                let added = context.send(Method::POST, SSH_KEYS.path, Some(&body)).await?;
                let id = in_line(&output::value(&added)?["key_id"]);
                context.done(&added, &format!("SSH key {name} is added as {id}"))?;
            }
            SshKeyVerb::Revoke { id, reason } => {
                let body = body([("reason", text(reason.as_deref()))]);
                let answer = context.act((&SSH_KEYS, Method::POST), &[id, "revoke"], Some(&body)).await?;
                context.done(&answer, &format!("SSH key {id} is revoked"))?;
            }
            SshKeyVerb::Delete { id } => {
                let answer = context.act((&SSH_KEYS, Method::DELETE), &[id], None).await?;
                context.done(&answer, &format!("SSH key {id} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
