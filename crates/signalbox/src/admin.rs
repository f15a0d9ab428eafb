//! What an operator does with a running server from a shell: lists to read, and a few verbs.

mod sessions;
mod workflows;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_client::{Client, ListQuery, Page};

pub(crate) use self::sessions::{SessionVerb, sessions};
pub(crate) use self::workflows::{WorkflowVerb, workflows};
use crate::printer;

/// Entries that are asked for at once.
const PAGE: u32 = 1_000;

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

/// What is to be done, and on which server.
#[derive(Debug, Args)]
pub(crate) struct Asked<V: Subcommand> {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    verb: V,
}

/// What is done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterVerb {
    /// List them, oldest first
    List,
    /// Give one new attempts, or all that match
    Redrive {
        /// Its message id
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All of them, or all that the filters match
        #[arg(long)]
        all: bool,
        /// Those for this agent, by its id
        #[arg(long, requires = "all")]
        agent: Option<String>,
        /// Those of this kind: message, task or webhook
        #[arg(long, requires = "all")]
        kind: Option<String>,
        /// Those given up at or after this moment
        #[arg(long, requires = "all")]
        since: Option<String>,
    },
}

/// Lists the agents.
pub(crate) fn agents(target: &Target) -> anyhow::Result<ExitCode> {
    run(target, |client| async move { print_all(&client, &["v1", "agents"]).await })
}

/// Does what is asked with dead letters.
pub(crate) fn dead_letters(asked: &Asked<DeadLetterVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |client| async move {
        match &asked.verb {
            DeadLetterVerb::List => print_all(&client, &["v1", "dead-letters"]).await,
            DeadLetterVerb::Redrive { id: Some(id), .. } => {
                client.redrive_dead_letter(id).await?;
                printer::notice(&format!("message {id} will be delivered anew"));
                Ok(())
            }
            DeadLetterVerb::Redrive { id: None, agent, kind, since, .. } => {
                let filters = [("agent", agent), ("kind", kind), ("since", since)];
                redrive_all(&client, &filters).await
            }
        }
    })
}

/// Gives new attempts to all dead letters that match, however many requests that takes.
async fn redrive_all(client: &Client, filters: &[(&str, &Option<String>)]) -> anyhow::Result<()> {
    let asked = || {
        let given = filters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        given.fold(ListQuery::new(), |query, (name, value)| query.filter(name, value))
    };
    let (mut query, mut redriven, mut passed_over) = (asked(), 0, 0);
    loop {
        let answer = client.redrive_dead_letters(&query).await?;
        redriven += answer.redriven;
        passed_over += answer.passed_over;
        match answer.next_cursor.filter(|_| answer.more) {
            Some(cursor) => query = asked().cursor(cursor),
            None => break,
        }
    }
    printer::notice(&format!("{redriven} messages will be delivered anew"));
    if passed_over > 0 {
        printer::notice(&format!(
            "{passed_over} of tasks were passed over; retry their sessions, or run them again (signalbox sessions --help)"
        ));
    }
    Ok(())
}

/// Every page of a list.
async fn print_all(client: &Client, path: &[&str]) -> anyhow::Result<()> {
    let mut query = ListQuery::new().limit(PAGE);
    while let Some(cursor) = print_page(client, path, &query).await? {
        query = ListQuery::new().limit(PAGE).cursor(cursor);
    }
    Ok(())
}

/// A page of a list, one JSON object a line, each as the server sent it: a later server may tell more of it than is
/// known here. Answers where the next page begins.
async fn print_page(client: &Client, path: &[&str], query: &ListQuery) -> anyhow::Result<Option<String>> {
    let page: Page<Box<RawValue>> = client.read(path, query).await?;
    page.data.iter().for_each(|item| printer::line(item.get()));
    Ok(page.next_cursor)
}

fn print_whole(value: &impl Serialize) -> anyhow::Result<()> {
    printer::line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A value that is given as JSON on the command line.
fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}; quote a text as '\"text\"'"))
}

fn run<F: Future<Output = anyhow::Result<()>>>(
    target: &Target,
    work: impl FnOnce(Client) -> F,
) -> anyhow::Result<ExitCode> {
    let (key, source) = key(target)?;
    let warn = |text: &str| printer::notice(&format!("warning: {text}"));
    let client = Client::new(&target.url, Some(&key))?.on_warning(warn);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(work(client)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if is_unauthorized(&error) => {
            Err(error.context(format!("{} does not take the key of {source}", target.url)))
        }
        Err(error) => Err(error),
    }
}

fn is_unauthorized(error: &anyhow::Error) -> bool {
    error.downcast_ref::<signalbox_client::Error>().and_then(signalbox_client::Error::status) == Some(401)
}

/// The key, and where it was found.
fn key(target: &Target) -> anyhow::Result<(String, String)> {
    if let Some(key) = std::env::var("OPSCORE_API_KEY").ok().filter(|key| !key.is_empty()) {
        return Ok((key, "the variable OPSCORE_API_KEY".to_owned()));
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
        key => Ok((key.to_owned(), path.display().to_string())),
    }
}
