//! `signalbox sessions`: look at sessions, and steer them, one or several.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method, Timestamp};
use signalbox_wire::nearest::nearest;

use super::context::{Context, body, text};
use super::failure::Misused;
use super::input::json;
use super::moments::left;
use super::resource::{Column, Kind, in_line};
use super::session::{SESSIONS, approved};
use super::table::Fields;
use super::which::{Bulk, Filter, Which};
use super::{Asked, Newest, run};
use super::{agent_names, output, table, timeline, watch};
use crate::printer;
use crate::story::Story;

/// The tasks of a session.
const TASKS: [Column; 8] = [
    Column::id("TASK", "/taskId"),
    Column::status("STATUS", "/status"),
    Column::text("ATTEMPT", "/attempt"),
    Column::text("AGENT", "/agentId"),
    Column::wait("WAITING FOR/ERROR", "/error"),
    Column::text("RESULT", "/result"),
    Column::age("STARTED", "/startedAt").wide(),
    Column::age("ENDED", "/endedAt").wide(),
];

/// Tasks that are named where another was meant, at most.
const NAMED_MAX: usize = 20;
/// Letters of a result in a table that is not wide, at most.
const RESULT_MAX: usize = 160;

/// What is done with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// List sessions, newest first, with what each open one waits for
    #[command(after_help = example!("sessions list --status failed --since 1d", "sessions list --waiting"))]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Those that wait for somebody: to approve, to signal, to resume, or to start an agent that is not there
        #[arg(long)]
        waiting: bool,
        #[command(flatten)]
        newest: Newest,
    },
    /// Show a session with its tasks
    #[command(after_help = example!("sessions show ses_01JQ"))]
    Show {
        /// The session
        id: String,
        /// With long values themselves, not references to them
        #[arg(long)]
        whole: bool,
    },
    /// Show where the time of a session went, task by task
    #[command(after_help = example!("sessions timeline ses_01JQ"))]
    Timeline {
        /// The session
        id: String,
    },
    /// Print a session's result, as JSON; ends with 3 where it failed, 4 where it was cancelled
    #[command(after_help = example!("sessions result ses_01JQ --wait"))]
    Result {
        /// The session
        id: String,
        /// Wait until the session is over
        #[arg(long)]
        wait: bool,
    },
    /// Watch a session until it is over; ends as it did: 0 completed, 3 failed, 4 cancelled
    #[command(after_help = example!("sessions watch ses_01JQ"))]
    Watch {
        /// The session
        id: String,
    },
    /// Pause sessions: no further task starts
    #[command(after_help = example!("sessions pause ses_01JQ", "sessions pause --workflow audit --status running"))]
    Pause(Which),
    /// Resume paused sessions
    #[command(after_help = example!("sessions resume ses_01JQ", "sessions resume --workflow audit"))]
    Resume(Which),
    /// Cancel sessions
    #[command(after_help = example!("sessions cancel ses_01JQ --reason 'wrong input'", "sessions cancel --workflow audit"))]
    Cancel {
        #[command(flatten)]
        which: Which,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Retry failed sessions from the tasks that failed
    #[command(after_help = example!("sessions retry ses_01JQ", "sessions retry --workflow audit --since 1h"))]
    Retry(Which),
    /// Rerun sessions, each as a new one; prints the new id of one
    #[command(after_help = example!("sessions rerun ses_01JQ"))]
    Rerun(Which),
    /// Signal sessions what their tasks wait for
    #[command(after_help = example!("sessions signal ses_01JQ received '{\"no\": 7}'", "sessions signal received --workflow pay"))]
    Signal {
        /// The session, unless there are filters; the signal's name; and what it carries, as JSON (@FILE reads a file)
        #[arg(required = true, num_args = 1..=3, value_names = ["SESSION", "SIGNAL", "PAYLOAD"])]
        words: Vec<String>,
        #[command(flatten)]
        bulk: Bulk,
    },
    /// Approve what a task asks approval for: what is printed, and just that
    #[command(after_help = example!("sessions approve ses_01JQ ask --comment 'looks right'",
                                    "sessions approve ask --workflow pay --digest 5f2c…"))]
    Approve {
        /// The session, unless there are filters; and the task that asks, where it is not the only one
        #[arg(required = true, num_args = 1..=2, value_names = ["SESSION", "TASK"])]
        words: Vec<String>,
        #[command(flatten)]
        bulk: Bulk,
        /// Why
        #[arg(long)]
        comment: Option<String>,
        /// The digest of what was seen before, as 'sessions show' prints it: anything else is not agreed to
        #[arg(long)]
        digest: Option<String>,
    },
    /// Refuse what a task asks approval for
    #[command(after_help = example!("sessions refuse ses_01JQ ask --comment 'too much'"))]
    Refuse {
        /// The session, unless there are filters; and the task that asks, where it is not the only one
        #[arg(required = true, num_args = 1..=2, value_names = ["SESSION", "TASK"])]
        words: Vec<String>,
        #[command(flatten)]
        bulk: Bulk,
        /// Why
        #[arg(long)]
        comment: Option<String>,
    },
    /// Delete sessions that are over, with their history
    #[command(after_help = example!("sessions delete ses_01JQ", "sessions delete --status completed --until 30d"))]
    Delete(Which),
}

/// Does what is asked with sessions.
pub(crate) fn sessions(asked: &Asked<SessionVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            SessionVerb::List { filter, waiting, newest } => {
                let query = filter.query(&context).await?.filter("waits", "true");
                let query = if *waiting { query.filter("waiting", "true") } else { query };
                context.list(&SESSIONS, &[], &query, newest.limit).await?;
            }
            SessionVerb::Show { id, whole } => show(&context, id, *whole).await?,
            SessionVerb::Timeline { id } => timeline::print(&context, id).await?,
            SessionVerb::Result { id, wait } => return result(&context, id, *wait).await,
            SessionVerb::Watch { id } => return watch::watch(&context, id).await,
            SessionVerb::Pause(which) => act(&context, which, ("pause", "paused"), json!({})).await?,
            SessionVerb::Resume(which) => act(&context, which, ("resume", "resumed"), json!({})).await?,
            SessionVerb::Cancel { which, reason } => {
                let body = body([("reason", text(reason.as_deref()))]);
                act(&context, which, ("cancel", "cancelled"), body).await?;
            }
            SessionVerb::Retry(which) => act(&context, which, ("retry", "retried"), json!({})).await?,
            SessionVerb::Rerun(which) => rerun(&context, which).await?,
            SessionVerb::Signal { words, bulk } => {
                let (which, signal, payload) = Which::and_more(words, bulk, "SIGNAL")?;
                let payload = payload.map(json).transpose();
                let payload = payload.map_err(|fault| Misused(format!("PAYLOAD: {fault}")))?;
                let body = body([("signal", Some(json!(signal))), ("payload", payload)]);
                act(&context, &which, ("signal", "signalled"), body).await?;
            }
            SessionVerb::Approve { words, bulk, comment, digest } => {
                let (which, task) = Which::and_task(words, bulk)?;
                approve(&context, (task, &which), comment.as_deref(), digest.as_deref()).await?;
            }
            SessionVerb::Refuse { words, bulk, comment } => {
                let (which, task) = Which::and_task(words, bulk)?;
                let body = body([("comment", text(comment.as_deref()))]);
                answer(&context, (task, &which), ("refuse", "refused"), body).await?;
            }
            SessionVerb::Delete(which) => delete(&context, which).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Shows a session; its tasks as a table.
async fn show(context: &Context, id: &str, whole: bool) -> anyhow::Result<()> {
    let query = if whole { ListQuery::new().filter("whole", "true") } else { ListQuery::new() };
    let session = context.fetch(&SESSIONS, &[id], &query).await?;
    if !context.format.is_table() {
        return context.print(&session);
    }
    let mut session = Fields::read(&session)?;
    let tasks = session.remove("tasks");
    printer::line(&table::details(&session)?);
    let Some(Value::Array(mut tasks)) = tasks else { return Ok(()) };
    if tasks.iter().any(|task| task["agentId"].is_string()) {
        let story = Story::new(agent_names::all(context).await.unwrap_or_default());
        for task in &mut tasks {
            for field in ["agentId", "waitingFor"] {
                if let Some(text) = task[field].as_str().map(|text| story.with_names(text)) {
                    task[field] = json!(text);
                }
            }
        }
    }
    if !tasks.is_empty() {
        printer::line("");
        shorten(&mut tasks, context.format);
        // What no task has takes no room.
        let is_told = |column: &&Column| {
            !matches!(column.kind, Kind::Text | Kind::Wait)
                || tasks.iter().any(|task| column.cell(task, false, context.now) != "-")
        };
        let columns: Vec<Column> = TASKS.iter().filter(is_told).copied().collect();
        printer::line(&table::of_things(&columns, &tasks, (context.format, context.look, context.now)));
    }
    let notes: Vec<String> = tasks.iter().filter_map(|task| note(task, context.now)).collect();
    if !notes.is_empty() {
        printer::line(&format!("\n{}", notes.join("\n")));
    }
    let asking = tasks.iter().filter(|task| task.get("approval").is_some_and(|asked| !asked.is_null()));
    for task in asking {
        let (task_id, asked) = (in_line(&task["taskId"]), &task["approval"]);
        printer::line(&format!("\napproval asked by {task_id}:"));
        printer::line(&table::details(&Fields::read(&serde_json::value::to_raw_value(asked)?)?)?);
        if task["status"] == "waiting" {
            printer::notice(&format!("'signalbox sessions approve {id} {task_id}' agrees to just that"));
        }
    }
    Ok(())
}

/// Results as a table tells them: an approval's in words, and not all of a long one unless the table is wide.
fn shorten(tasks: &mut [Value], format: output::Format) {
    for task in tasks {
        let result = in_line(&task["result"]);
        if let Some(by) = approved(task) {
            task["approvedBy"] = json!(by);
            task["result"] = json!("approved");
        } else if format != output::Format::Wide
            && let Some((end, _)) = result.char_indices().nth(RESULT_MAX)
        {
            task["result"] = json!(format!("{}… (-o wide)", &result[..end]));
        }
    }
}

/// Who approved what a task asked for; or what failed of one that is tried again, and when that is.
fn note(task: &Value, now: Timestamp) -> Option<String> {
    let name = in_line(&task["taskId"]);
    if let Some(by) = task.get("approvedBy").and_then(Value::as_str) {
        return Some(format!("task {name}: {by}"));
    }
    let next = |at: &Value| {
        let at = at.as_str().and_then(|at| Timestamp::parse(at).ok())?;
        Some(if at > now {
            format!("next try in {}", left(at.since(now)))
        } else {
            "next try now".to_owned()
        })
    };
    if let Some(delivery) = task.get("delivery").filter(|delivery| delivery.is_object()) {
        let tries = match delivery["tries"].as_u64() {
            Some(1) => "once".to_owned(),
            tries => format!("{} times", tries.unwrap_or_default()),
        };
        let (agent, error) = (in_line(&task["agentId"]), in_line(&delivery["error"]));
        let next = next(&delivery["nextAt"])?;
        return Some(format!("task {name}: agent {agent} was tried {tries}, last: {error}; {next}"));
    }
    let is_open = task["status"] == "pending" || task["status"] == "waiting";
    let failed = task.get("error").filter(|error| error.is_string() && is_open)?;
    let (attempt, attempts) = (&task["attempt"], task["maxRetries"].as_u64().unwrap_or_default() + 1);
    let next = match next(&task["waitsUntil"]) {
        Some(next) => next,
        None => format!("it waits for {}", task["waitingFor"].as_str()?),
    };
    Some(format!("task {name}: attempt {attempt} of {attempts} failed: {}; {next}", in_line(failed)))
}

/// Prints what came of a session.
async fn result(context: &Context, id: &str, wait: bool) -> anyhow::Result<ExitCode> {
    if wait {
        watch::until_over(context, id).await?;
    }
    let query = ListQuery::new().filter("whole", "true");
    let session = output::value(context.fetch(&SESSIONS, &[id], &query).await?.as_ref())?;
    let status = session["status"].as_str().unwrap_or_default();
    match status {
        "completed" => {
            let result = serde_json::value::to_raw_value(&session["result"])?;
            let format = if context.format.is_table() { output::Format::Json } else { context.format };
            output::whole(format, &result)?;
        }
        "failed" | "cancelled" => {
            let why = session["error"].as_str().unwrap_or("it says no reason");
            printer::notice(&format!(
                "session {id} {}: {why}",
                if status == "failed" { status } else { "was cancelled" }
            ));
        }
        _ => bail!("session {id} is {status}; --wait waits until it is over"),
    }
    Ok(watch::code(status))
}

/// Does something to one session, to each of several that are named, or to all that match.
async fn act(
    context: &Context,
    which: &Which,
    (verb, done): (&str, &str),
    body: Value,
) -> anyhow::Result<()> {
    if which.is_filter()? {
        return which.act_on_all(context, (verb, done), body).await;
    }
    if !which.go_on(context, done).await? {
        return Ok(());
    }
    for id in &which.sessions {
        let answer = context.act((&SESSIONS, Method::POST), &[id, verb], Some(&body)).await?;
        let status = output::value(&answer)?["status"].as_str().unwrap_or_default().to_owned();
        let words = match (verb, status.as_str()) {
            // Undoing what was done takes its time.
            ("cancel", "running" | "started" | "paused") => {
                format!("session {id} ends as cancelled, once it has undone what its workflow undoes")
            }
            _ => format!("session {id} is {done}"),
        };
        context.done(&answer, &words)?;
    }
    Ok(())
}

async fn rerun(context: &Context, which: &Which) -> anyhow::Result<()> {
    if which.is_filter()? {
        return which.act_on_all(context, ("rerun", "run again"), json!({})).await;
    }
    if !which.go_on(context, "run again").await? {
        return Ok(());
    }
    for id in &which.sessions {
        let answer = context.act((&SESSIONS, Method::POST), &[id, "rerun"], None).await?;
        context.started(&answer, "/sessionId")?;
    }
    Ok(())
}

async fn delete(context: &Context, which: &Which) -> anyhow::Result<()> {
    if which.is_filter()? {
        return which.act_on_all(context, ("purge", "deleted"), json!({})).await;
    }
    if !which.go_on(context, "deleted").await? {
        return Ok(());
    }
    for id in &which.sessions {
        let answer = context.act((&SESSIONS, Method::DELETE), &[id], None).await?;
        context.done(&answer, &format!("session {id} is deleted"))?;
    }
    Ok(())
}

/// Shows what is asked for, and agrees to what was shown.
async fn approve(
    context: &Context,
    (task, which): (Option<&str>, &Which),
    comment: Option<&str>,
    digest: Option<&str>,
) -> anyhow::Result<()> {
    let body_of = |digest: &str| body([("digest", Some(json!(digest))), ("comment", text(comment))]);
    if which.is_filter()? {
        let digest = digest.ok_or_else(|| {
            Misused(
                "--digest is needed to approve in several sessions; 'sessions show' of one prints it"
                    .to_owned(),
            )
        })?;
        return answer(context, (task, which), ("approve", "approved"), body_of(digest)).await;
    }
    if !which.go_on(context, "approved").await? {
        return Ok(());
    }
    for id in &which.sessions {
        let asked = asking(context, id, task).await?;
        let task = in_line(&asked["taskId"]);
        let shown = asked["approval"]["digest"].as_str().unwrap_or_default();
        context.print(&serde_json::value::to_raw_value(&asked["approval"])?)?;
        let body = body_of(digest.unwrap_or(shown));
        context.act((&SESSIONS, Method::POST), &[id, "tasks", &task, "approve"], Some(&body)).await?;
        printer::notice(&format!("task {task} of session {id} is approved"));
    }
    Ok(())
}

/// Answers a task that asks, in one session, several, or all that match.
async fn answer(
    context: &Context,
    (task, which): (Option<&str>, &Which),
    (verb, done): (&str, &str),
    mut body: Value,
) -> anyhow::Result<()> {
    if which.is_filter()? {
        body["taskId"] = json!(task);
        return which.act_on_all(context, (verb, done), body).await;
    }
    if !which.go_on(context, done).await? {
        return Ok(());
    }
    for id in &which.sessions {
        let task = in_line(&asking(context, id, task).await?["taskId"]);
        let answer = context.act((&SESSIONS, Method::POST), &[id, "tasks", &task, verb], Some(&body)).await?;
        context.done(&answer, &format!("task {task} of session {id} is {done}"))?;
    }
    Ok(())
}

/// The task of a session that asks for approval: the one that is named, or the only one.
async fn asking(context: &Context, id: &str, named: Option<&str>) -> anyhow::Result<Value> {
    let mut session = output::value(context.fetch(&SESSIONS, &[id], &ListQuery::new()).await?.as_ref())?;
    let tasks = match session["tasks"].take() {
        Value::Array(tasks) => tasks,
        _ => Vec::new(),
    };
    let task = asking_among(&tasks, id, named).map_err(|words| anyhow::anyhow!(words))?;
    Ok(task.clone())
}

fn asking_among<'a>(tasks: &'a [Value], id: &str, named: Option<&str>) -> Result<&'a Value, String> {
    let asks = |task: &&Value| task["status"] == "waiting" && task["approval"].is_object();
    let asking: Vec<&Value> = tasks.iter().filter(asks).collect();
    let shows = format!("'signalbox sessions show {id}' says how it stands");
    let Some(named) = named else {
        return match asking.as_slice() {
            [task] => Ok(task),
            [] => Err(format!("no task of session {id} asks for approval now; {shows}")),
            several => {
                Err(format!("several tasks of session {id} ask for approval, name one: {}", names(several)))
            }
        };
    };
    if let Some(task) = asking.iter().find(|task| task["taskId"] == named) {
        return Ok(task);
    }
    if tasks.iter().any(|task| task["taskId"] == named) {
        return Err(format!("task {named} of session {id} asks for no approval now; {shows}"));
    }
    let meant = nearest(named, tasks.iter().filter_map(|task| task["taskId"].as_str()));
    let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
    Err(format!(
        "session {id} has no task '{named}', but {}{meant}",
        names(&tasks.iter().collect::<Vec<_>>())
    ))
}

/// Tasks by their names; those beyond what can be read are counted.
fn names(tasks: &[&Value]) -> String {
    let named: Vec<String> = tasks.iter().take(NAMED_MAX).map(|task| in_line(&task["taskId"])).collect();
    match tasks.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_that_asks_is_found() {
        let task = |id: &str, asks: bool| {
            let approval = if asks { json!({"digest": "5f"}) } else { Value::Null };
            json!({"taskId": id, "status": if asks { "waiting" } else { "completed" }, "approval": approval})
        };
        let one = [task("draft", false), task("review", true)];
        let found = |tasks: &[Value], named| {
            asking_among(tasks, "ses_1", named).map(|task| task["taskId"].as_str().unwrap_or("-").to_owned())
        };
        assert_eq!(found(&one, None), Ok("review".to_owned()));
        assert_eq!(found(&one, Some("review")), Ok("review".to_owned()));
        for (tasks, named, expected) in [
            (
                &one[..],
                Some("reviw"),
                "session ses_1 has no task 'reviw', but draft, review; did you mean 'review'?",
            ),
            (&one, Some("draft"), "task draft of session ses_1 asks for no approval now; 'signalbox"),
            (&one[..1], None, "no task of session ses_1 asks for approval now; 'signalbox"),
            (
                &[task("a", true), task("b", true)],
                None,
                "several tasks of session ses_1 ask for approval, name one: a, b",
            ),
        ] {
            let told = found(tasks, named).unwrap_err();
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
