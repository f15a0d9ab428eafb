//! What an operator does with a running server from a shell: lists to read, and a few verbs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use signalbox_client::{Client, ListQuery};

use crate::printer;

/// Which server, and with which key.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The server
    #[arg(long, env = "SIGNALBOX_URL", default_value = "http://127.0.0.1:8000", global = true)]
    url: String,
    /// The data directory that the key is read from when OPSCORE_API_KEY is not set
    #[arg(long, env = "SIGNALBOX_DATA_DIR", default_value = "signalbox-data", global = true)]
    data_dir: PathBuf,
}

/// Sessions.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: SessionVerb,
}

#[derive(Debug, Subcommand)]
enum SessionVerb {
    /// List the newest sessions
    List,
    /// Show one with its tasks
    Show {
        /// The session
        id: String,
    },
    /// Cancel one
    Cancel {
        /// The session
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a failed one go on from the task that failed
    Retry {
        /// The session
        id: String,
    },
}

/// Dead letters.
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: DeadLetterVerb,
}

#[derive(Debug, Subcommand)]
enum DeadLetterVerb {
    /// List them, oldest first
    List,
    /// Give one new attempts
    Redrive {
        /// Its message id
        id: String,
    },
}

/// Lists the agents.
pub(crate) fn agents(target: &Target) -> anyhow::Result<ExitCode> {
    run(target, |client| async move {
        let page = client.agents(&ListQuery::new().limit(1_000)).await?;
        print_all(page.items.iter().map(serde_json::to_value))
    })
}

/// Does what is asked with sessions.
pub(crate) fn sessions(asked: &Sessions) -> anyhow::Result<ExitCode> {
    run(&asked.target, |client| async move {
        match &asked.verb {
            SessionVerb::List => {
                let page = client.sessions(&ListQuery::new()).await?;
                print_all(page.items.iter().map(serde_json::to_value))
            }
            SessionVerb::Show { id } => {
                printer::line(&serde_json::to_string_pretty(&client.session(id).await?)?);
                Ok(())
            }
            SessionVerb::Cancel { id, reason } => Ok(client.cancel_session(id, reason.as_deref()).await?),
            SessionVerb::Retry { id } => Ok(client.retry_session(id).await?),
        }
    })
}

/// Does what is asked with dead letters.
pub(crate) fn dead_letters(asked: &DeadLetters) -> anyhow::Result<ExitCode> {
    run(&asked.target, |client| async move {
        match &asked.verb {
            DeadLetterVerb::List => {
                let page = client.dead_letters(&ListQuery::new()).await?;
                print_all(page.items.iter().map(serde_json::to_value))
            }
            DeadLetterVerb::Redrive { id } => Ok(client.redrive_dead_letter(id).await?),
        }
    })
}

/// One JSON object a line.
fn print_all(items: impl Iterator<Item = Result<Value, serde_json::Error>>) -> anyhow::Result<()> {
    for item in items {
        printer::line(&item?.to_string());
    }
    Ok(())
}

fn run<F: Future<Output = anyhow::Result<()>>>(
    target: &Target,
    work: impl FnOnce(Client) -> F,
) -> anyhow::Result<ExitCode> {
    let key = key(target)?;
    let client = Client::new(&target.url, Some(&key))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(client))?;
    Ok(ExitCode::SUCCESS)
}

fn key(target: &Target) -> anyhow::Result<String> {
    if let Some(key) = std::env::var("OPSCORE_API_KEY").ok().filter(|key| !key.is_empty()) {
        return Ok(key);
    }
    let path = target.data_dir.join("admin.key");
    let key = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "no key: set OPSCORE_API_KEY, or name the server's --data-dir ({} cannot be read)",
            path.display()
        )
    })?;
    match key.trim() {
        "" => bail!("{} is empty; set OPSCORE_API_KEY", path.display()),
        key => Ok(key.to_owned()),
    }
}
