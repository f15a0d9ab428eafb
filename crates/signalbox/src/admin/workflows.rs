//! `signalbox workflows`: keep definitions, and start them.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::Value;

use super::{Asked, json, print_all, print_whole, run};
use crate::printer;

/// What is done with workflows.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowVerb {
    /// List them
    List,
    /// Show the definition of one
    Show {
        /// The workflow
        id: String,
    },
    /// Keep a definition as the newest revision of its workflow
    Apply {
        /// The file with the definition, in YAML or JSON; - reads standard input
        file: PathBuf,
    },
    /// Start a session of one; prints its id
    Trigger {
        /// The workflow
        id: String,
        /// The session's input, as JSON
        #[arg(value_parser = json, default_value = "null")]
        input: Value,
        /// The agent that does the tasks that name neither an agent nor a capability, by its id
        #[arg(long)]
        agent: Option<String>,
    },
    /// Remove one that nothing runs on
    Delete {
        /// The workflow
        id: String,
    },
}

/// Does what is asked with workflows.
pub(crate) fn workflows(asked: &Asked<WorkflowVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |client| async move {
        match &asked.verb {
            WorkflowVerb::List => print_all(&client, &["v1", "opscore", "workflows"]).await?,
            WorkflowVerb::Show { id } => print_whole(&client.workflow(id).await?)?,
            WorkflowVerb::Apply { file } => {
                let text = read(file)?;
                let kept = match serde_json::from_str::<Value>(&text) {
                    Ok(definition) => client.apply_workflow(&definition).await?,
                    Err(_) => client.apply_workflow_yaml(&text).await?,
                };
                print_whole(&kept)?;
            }
            WorkflowVerb::Trigger { id, input, agent } => {
                let triggered = match agent {
                    Some(agent) => client.trigger(agent, id, input).await?,
                    None => client.start_workflow(id, input).await?,
                };
                printer::line(triggered.session_id.as_str());
            }
            WorkflowVerb::Delete { id } => {
                client.delete_workflow(id).await?;
                printer::notice(&format!("workflow {id} is removed"));
            }
        }
        Ok(())
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read as text")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}
