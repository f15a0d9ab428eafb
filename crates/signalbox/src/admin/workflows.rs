//! `signalbox workflows`: keep definitions, look at them, and start them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};
use signalbox_wire::nearest::nearest;

use super::context::{Context, body, text};
use super::definition;
use super::failure;
use super::input::{json, name, read};
use super::output;
use super::resource::{Column, Resource, in_line};
use super::{All, Asked, run};
use super::{watch, words};
use crate::printer;
use crate::style::Style;

const WORKFLOWS: Resource = Resource {
    noun: "workflow",
    lister: "signalbox workflows list",
    path: &["v1", "opscore", "workflows"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::id("ID", "/id"),
        Column::text("NAME", "/name"),
        Column::count("TASKS", "/tasks"),
        Column::text("REVISION", "/revision"),
        Column::age("CHANGED", "/createdAt"),
        Column::text("VERSION", "/version").wide(),
        Column::text("DESCRIPTION", "/description").wide(),
    ],
};

/// Agents that are asked for at once, to see what they offer.
const AGENTS_ASKED_FOR: u32 = 1_000;
/// Capabilities that are warned of, at most; the rest is counted.
const WARNED_MAX: usize = 10;

const VERSIONS: Resource = Resource {
    columns: &[
        Column::text("REVISION", "/revision"),
        Column::text("CURRENT", "/isCurrent"),
        Column::text("NAME", "/name"),
        Column::text("VERSION", "/version"),
        Column::text("TASKS", "/tasks"),
        Column::age("MADE", "/createdAt"),
    ],
    ..WORKFLOWS
};

/// What is done with workflows.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowVerb {
    /// List workflows
    #[command(after_help = example!("workflows list"))]
    List(All),
    /// Show a workflow's definition
    #[command(after_help = example!("workflows show audit -o yaml", "workflows show audit --revision 2"))]
    Show {
        /// The workflow
        id: String,
        /// The revision; the current one where absent
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Apply a definition: keep it as the newest revision of its workflow. Unknown keys are refused
    #[command(after_help = example!("workflows apply audit.yaml"))]
    Apply {
        /// The file with the definition, in YAML or JSON; - reads standard input
        file: PathBuf,
    },
    /// Validate a definition without keeping it; no server is asked
    #[command(after_help = example!("workflows validate audit.yaml"))]
    Validate {
        /// The file with the definition, in YAML or JSON; - reads standard input
        file: PathBuf,
    },
    /// Show what a definition would change, or what differs between two revisions
    #[command(after_help = example!("workflows diff audit.yaml", "workflows diff audit 1 2"))]
    Diff {
        /// A file with a definition, or with two revisions a workflow
        what: String,
        /// The earlier revision
        #[arg(requires = "to")]
        from: Option<u64>,
        /// The later revision
        to: Option<u64>,
    },
    /// Trigger a workflow; prints the session's id
    #[command(after_help = example!("workflows trigger audit '{\"folder\": \"docs\"}' --wait"))]
    Trigger(Trigger),
    /// List a workflow's revisions, newest first
    #[command(after_help = example!("workflows versions audit"))]
    Versions {
        /// The workflow
        id: String,
        #[command(flatten)]
        all: All,
    },
    /// Roll a workflow back: keep what a revision says as the newest one
    #[command(after_help = example!("workflows rollback audit 1"))]
    Rollback {
        /// The workflow
        id: String,
        /// The revision
        revision: u64,
    },
    /// Delete a workflow that nothing runs on or starts, or one revision of it
    #[command(after_help = example!("workflows delete audit", "workflows delete audit --revision 1"))]
    Delete {
        /// The workflow
        id: String,
        /// The revision; all of the workflow where absent
        #[arg(long)]
        revision: Option<u64>,
        /// Delete it also where schedules or webhooks start it: they stay, and start nothing from then on
        #[arg(long, conflicts_with = "revision")]
        force: bool,
    },
}

/// A session to start.
#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// The workflow
    id: String,
    /// The session's input, as a JSON object; @FILE reads it from a file, @- from standard input
    #[arg(value_parser = json, default_value = "{}")]
    input: Value,
    /// The agent that does the tasks that name neither an agent nor a capability, by its id or name
    #[arg(long)]
    agent: Option<String>,
    /// Wait until the session is over, and end as it did: 0 completed, 3 failed, 4 cancelled
    #[arg(long)]
    wait: bool,
}

/// Does what is asked with workflows.
pub(crate) fn workflows(asked: &Asked<WorkflowVerb>) -> anyhow::Result<ExitCode> {
    if let WorkflowVerb::Validate { file } = &asked.verb {
        return validate(file);
    }
    run(&asked.target, |context| async move {
        match &asked.verb {
            WorkflowVerb::List(all) => context.list(&WORKFLOWS, &[], &ListQuery::new(), all.limit).await?,
            WorkflowVerb::Show { id, revision } => {
                let revision = revision.map(|revision| revision.to_string());
                let path = of_revision(id, revision.as_deref());
                context.print(&context.fetch(&WORKFLOWS, &path, &ListQuery::new()).await?)?;
            }
            WorkflowVerb::Apply { file } => apply(&context, file).await?,
            WorkflowVerb::Validate { .. } => {}
            WorkflowVerb::Diff { what, from: Some(from), to: Some(to) } => {
                diff_revisions(&context, what, (*from, *to)).await?;
            }
            WorkflowVerb::Diff { what, .. } => diff_file(&context, Path::new(what)).await?,
            WorkflowVerb::Trigger(trigger) => return trigger.start(&context).await,
            WorkflowVerb::Versions { id, all } => {
                context.list(&VERSIONS, &[id, "versions"], &ListQuery::new(), all.limit).await?;
            }
            WorkflowVerb::Rollback { id, revision } => {
                let revision = revision.to_string();
                let path = [id.as_str(), "versions", &revision, "rollback"];
                let kept = context.act((&WORKFLOWS, Method::POST), &path, None).await?;
                context.done(&kept, &format!("workflow {id} is as its revision {revision} was"))?;
            }
            WorkflowVerb::Delete { id, revision, force } => {
                let revision = revision.map(|revision| revision.to_string());
                let path = of_revision(id, revision.as_deref());
                let forced = if *force { ListQuery::new().filter("force", "true") } else { ListQuery::new() };
                let answer = context.act_with((&WORKFLOWS, Method::DELETE), &path, &forced, None).await?;
                let what =
                    revision.as_ref().map_or(String::new(), |revision| format!("revision {revision} of "));
                context.done(&answer, &format!("{what}workflow {id} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn of_revision<'a>(id: &'a str, revision: Option<&'a str>) -> Vec<&'a str> {
    match revision {
        Some(revision) => vec![id, "versions", revision],
        None => vec![id],
    }
}

async fn apply(context: &Context, file: &Path) -> anyhow::Result<()> {
    let text = read(file)?;
    let definition = definition::parse(file, &text)?;
    let before = current(context, &definition).await?;
    // The server is the judge of what is known.
    let strict = ListQuery::new().filter("strict", "true");
    let kept = context.send_with(Method::POST, WORKFLOWS.path, &strict, Some(&definition)).await;
    let kept = kept.map_err(|error| match failure::faults(&error) {
        [] => error.context(format!("{} is not kept", name(file))),
        faults => anyhow::anyhow!("{} is not kept: {}", name(file), definition::listed(faults)),
    })?;
    let told = output::value(&kept)?;
    let (id, revision) = (told.get("id").map(in_line).unwrap_or_default(), told["revision"].as_u64());
    let words = match (&before, revision) {
        (Some(before), Some(now))
            if before["revision"] == now && before["createdAt"] == told["createdAt"] =>
        {
            format!("workflow {id} is unchanged: it is as its revision {now} is")
        }
        _ => format!("workflow {id} is kept as revision {}", revision.unwrap_or_default()),
    };
    let (shown, current) =
        (definition::revision(file, &text), before.and_then(|before| before["revision"].as_u64()));
    if let (Some(shown), Some(current)) = (shown, current)
        && shown < current
        && revision.is_some_and(|revision| revision > current)
    {
        printer::notice(&format!(
            "{} is of revision {shown}: what revisions {} to {current} changed is taken back; 'signalbox workflows diff {id} {current} {}' shows it",
            name(file),
            shown + 1,
            revision.unwrap_or_default()
        ));
    }
    context.done(&kept, &words)?;
    offered(context, &definition).await;
    Ok(())
}

/// Warns of capabilities that no agent offers now: the tasks would wait. Where the agents are not known, or are too many to be
/// asked for at once, nothing is said.
async fn offered(context: &Context, definition: &Value) {
    let tasks = definition["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut asked: Vec<(&str, &str)> = Vec::new();
    for task in tasks {
        let capability =
            task["agentCapability"].as_str().filter(|name| !name.is_empty() && !name.contains("${"));
        if let Some(capability) = capability.filter(|name| !asked.iter().any(|(known, _)| known == name)) {
            asked.push((capability, task["taskId"].as_str().unwrap_or_default()));
        }
    }
    if asked.is_empty() {
        return;
    }
    let query = ListQuery::new().limit(AGENTS_ASKED_FOR);
    let Ok(page) = context.client.agents(&query).await else { return };
    if page.next_cursor.is_some() {
        return;
    }
    let agents: Vec<Value> = page.data.iter().filter_map(|agent| serde_json::to_value(agent).ok()).collect();
    let warnings = unoffered(&asked, &agents);
    warnings.iter().take(WARNED_MAX).for_each(|warning| printer::notice(warning));
    if let Some(more) = warnings.len().checked_sub(WARNED_MAX + 1) {
        printer::notice(&format!("warning: {} more capabilities are offered by no agent", more + 1));
    }
}

/// What is said of capabilities, each with the task that needs it, that none of these agents offers.
fn unoffered(asked: &[(&str, &str)], agents: &[Value]) -> Vec<String> {
    let capabilities = agents.iter().flat_map(|agent| agent["capabilities"].as_array().into_iter().flatten());
    let known: Vec<&str> =
        capabilities.filter_map(|one| one.as_str().or_else(|| one.get("name")?.as_str())).collect();
    let lacking = asked.iter().filter(|(capability, _)| !known.contains(capability));
    let told = lacking.map(|(capability, task)| {
        let meant = nearest(capability, known.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
        format!("warning: no registered agent offers capability '{capability}' of task {task}: it would wait for one{meant}")
    });
    told.collect()
}

/// The definition that is kept under the same id, where one is.
async fn current(context: &Context, definition: &Value) -> anyhow::Result<Option<Value>> {
    let Some(id) = definition.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    match context.get(&WORKFLOWS.at(&[id]), &ListQuery::new()).await {
        Ok(kept) => Ok(Some(output::value(&kept)?)),
        Err(error) if failure::status(&error).is_some_and(|status| status != 401) => Ok(None),
        Err(error) => Err(error),
    }
}

fn validate(file: &Path) -> anyhow::Result<ExitCode> {
    let definition = definition::parse(file, &read(file)?)?;
    let faults = signalbox_server::workflow_faults(&definition);
    if !faults.is_empty() {
        bail!("{} is no workflow: {}", name(file), definition::listed(&faults));
    }
    printer::notice(&format!("{} is a workflow", name(file)));
    Ok(ExitCode::SUCCESS)
}

/// What `apply` would change.
async fn diff_file(context: &Context, file: &Path) -> anyhow::Result<()> {
    let given = definition::parse(file, &read(file)?)?;
    let id =
        given.get("id").and_then(Value::as_str).with_context(|| format!("{} names no id", name(file)))?;
    let kept = context.fetch(&WORKFLOWS, &[id], &ListQuery::new()).await?;
    let mut kept = output::value(&kept)?;
    definition::strip(&mut kept);
    let (differences, _) = signalbox_server::differences(&kept, &given);
    let differences = differences.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    print_differences(context, &json!({"workflowId": id, "differences": differences}))
}

async fn diff_revisions(context: &Context, id: &str, (from, to): (u64, u64)) -> anyhow::Result<()> {
    let (from, to) = (from.to_string(), to.to_string());
    let path = [id, "versions", &from, "compare", &to];
    let compared = context.fetch(&WORKFLOWS, &path, &ListQuery::new()).await?;
    print_differences(context, &output::value(&compared)?)
}

fn print_differences(context: &Context, compared: &Value) -> anyhow::Result<()> {
    if !context.format.is_table() {
        return output::whole(context.format, &serde_json::value::to_raw_value(compared)?);
    }
    let differences = compared.get("differences").and_then(Value::as_array);
    let style = Style::detect(false);
    for difference in differences.into_iter().flatten() {
        let part = |name: &str| difference.get(name).map(in_line).unwrap_or_default();
        let path = words::place(&part("path"));
        if difference.get("from").is_some_and(|from| !from.is_null()) {
            printer::line(&style.red(&format!("- {path}: {}", part("from"))));
        }
        if difference.get("to").is_some_and(|to| !to.is_null()) {
            printer::line(&style.green(&format!("+ {path}: {}", part("to"))));
        }
    }
    if differences.is_none_or(Vec::is_empty) {
        printer::notice("there is no difference");
    }
    Ok(())
}

impl Trigger {
    async fn start(&self, context: &Context) -> anyhow::Result<ExitCode> {
        let agent = context.maybe_agent(self.agent.as_deref()).await?;
        let body = body([("agentId", text(agent.as_deref())), ("initialPayload", Some(self.input.clone()))]);
        let answer = context.act((&WORKFLOWS, Method::POST), &[&self.id, "trigger"], Some(&body)).await?;
        if !self.wait {
            context.started(&answer, "/sessionId")?;
            return Ok(ExitCode::SUCCESS);
        }
        let session = output::value(&answer)?;
        let session =
            session.get("sessionId").and_then(Value::as_str).context("the answer names no session")?;
        watch::wait(context, session).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_offers_is_warned_of() {
        let agents = [json!({"capabilities": ["summarise", {"name": "read"}]})];
        let asked = [("read", "a"), ("summarize", "b"), ("sing", "c")];
        assert_eq!(
            unoffered(&asked, &agents),
            [
                "warning: no registered agent offers capability 'summarize' of task b: it would wait for one; did you \
                 mean 'summarise'?",
                "warning: no registered agent offers capability 'sing' of task c: it would wait for one",
            ]
        );
    }
}
