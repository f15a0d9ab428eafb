//! `signalbox logs`: what agents wrote and what happened to them, once or as it comes.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_client::{ListQuery, Timestamp};

use super::agent::AGENTS;
use super::context::{Context, Pages, filters};
use super::moments::Moment;
use super::output::{self, Format, Many};
use super::resource::{Column, Resource, in_line};
use super::session::SESSIONS;
use super::target::Target;
use super::{Newest, agent_names, run};
use crate::printer;
use crate::style::Style;

const LOGS: Resource = Resource {
    noun: "entry in the log",
    lister: "signalbox logs",
    path: &["v1", "opscore", "logs"],
    items: "data",
    enveloped: false,
    columns: &[Column::age("AT", "/timestamp")],
};

/// Columns of a session's id.
const SESSION: usize = 30;
/// Columns of an agent's name.
const AGENT: usize = 16;
/// Columns of a level.
const LEVEL: usize = 8;
/// From how many columns on a line has room for the session's id.
const WIDTH_FOR_SESSIONS: usize = 120;

/// Show the log, newest entries at the end.
#[derive(Debug, Args)]
#[command(after_help = example!("logs --follow", "logs --session ses_01JQ --level warning --since 2h"))]
pub(crate) struct Logs {
    #[command(flatten)]
    filter: Filter,
    /// Those by or about this agent, by its id or name
    #[arg(long)]
    agent: Option<String>,
    #[command(flatten)]
    newest: Newest,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Those of this session
    #[arg(long)]
    session: Option<String>,
    /// Those at least this severe: debug, info, warning, error or critical
    #[arg(long)]
    level: Option<String>,
    /// Those from this moment on: how long ago, or RFC 3339
    #[arg(long, value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Those before this moment
    #[arg(long, value_parser = Moment::parse, conflicts_with = "follow")]
    until: Option<Moment>,
    /// Those that hold this text, compared without case
    #[arg(long)]
    text: Option<String>,
}

/// Whom or what the entries are about, as it was given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) agent: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
}

impl About<'_> {
    /// Refuses what is not there. Asked where nothing was found alone: what is gone may have left its entries.
    async fn check(self, context: &Context) -> anyhow::Result<()> {
        if let Some(session) = self.session {
            context.fetch(&SESSIONS, &[session], &ListQuery::new()).await?;
        }
        if let Some(agent) = self.agent {
            let id = context.agent(agent).await?;
            context.fetch(&AGENTS, &[&id], &ListQuery::new()).await?;
        }
        Ok(())
    }
}

impl Filter {
    /// The session whose entries are asked for.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    pub(crate) fn query(&self, now: Timestamp) -> ListQuery {
        filters([
            ("session", self.session.clone()),
            ("level", self.level.clone()),
            ("since", self.since.map(|moment| moment.at(now))),
            ("until", self.until.map(|moment| moment.at(now))),
            ("text", self.text.clone()),
        ])
    }
}

/// Shows the log.
pub(crate) fn logs(asked: &Logs) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        let mut query = asked.filter.query(context.now);
        if let Some(agent) = &asked.agent {
            query = query.filter("agent", context.agent(agent).await?);
        }
        let about = About { agent: asked.agent.as_deref(), session: asked.filter.session() };
        print(&context, &query, (asked.newest.limit, asked.follow), about).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints the newest entries, the last at the end, and what comes after them where that is wanted.
pub(crate) async fn print(
    context: &Context,
    query: &ListQuery,
    (limit, follow): (usize, bool),
    about: About<'_>,
) -> anyhow::Result<()> {
    let mut pages = Pages::new(&LOGS, query, limit);
    let mut entries: Vec<Box<RawValue>> = Vec::new();
    while let Some(page) = pages.next(context, LOGS.path).await? {
        entries.extend(page);
    }
    if pages.has_more && !follow {
        printer::notice(&format!("there are more than the newest {limit}; --limit 0 shows all"));
    }
    entries.reverse();
    if entries.is_empty() {
        about.check(context).await?;
    }
    if !follow {
        return print_all(context, &entries).await;
    }
    let lines = Lines::of_log(context, &[]).await;
    let mut last = 0;
    for entry in &entries {
        last = sequence(entry).unwrap_or(last);
        lines.print(entry)?;
    }
    let mut stream = context.client.follow(LOGS.path, query, last);
    while let Some(entry) = stream.next().await? {
        lines.print(&RawValue::from_string(entry)?)?;
    }
    Ok(())
}

async fn print_all(context: &Context, entries: &[Box<RawValue>]) -> anyhow::Result<()> {
    if context.format.is_table() {
        if entries.is_empty() {
            printer::notice("there is no entry in the log that matches");
            return Ok(());
        }
        let lines = Lines::of_log(context, entries).await;
        return entries.iter().try_for_each(|entry| lines.print(entry));
    }
    let mut many = Many::begin(context.format);
    for entry in entries {
        many.add(entry)?;
    }
    many.end();
    Ok(())
}

/// How entries are written as they come.
pub(crate) struct Lines {
    format: Format,
    style: Style,
    /// The columns that there are, where the output is a terminal; else nothing is cut.
    width: Option<usize>,
    /// Whether the entries are of many sessions and agents, which they have to name.
    has_session: bool,
    has_agent: bool,
    /// Agents' names by their ids.
    names: BTreeMap<String, String>,
}

impl Lines {
    /// The entries of one session, whose sentences name their agents.
    pub(crate) fn of_session(context: &Context) -> Self {
        Self {
            format: context.format,
            style: Style::detect(false),
            width: context.look.width.map(usize::from),
            has_session: false,
            has_agent: false,
            names: BTreeMap::new(),
        }
    }

    /// Entries of the log: these, or all that may come.
    async fn of_log(context: &Context, entries: &[Box<RawValue>]) -> Self {
        let lines = Self::of_session(context);
        let is_wide = context.format == Format::Wide;
        if !context.format.is_table() || is_wide {
            return lines;
        }
        let entries: Vec<Value> = entries.iter().filter_map(|entry| output::value(entry).ok()).collect();
        let some_have =
            |field: &str| entries.is_empty() || entries.iter().any(|entry| entry[field].is_string());
        let has_room = lines.width.is_none_or(|width| width >= WIDTH_FOR_SESSIONS);
        let has_agent = some_have("agentId");
        let names =
            if has_agent { agent_names::all(context).await.unwrap_or_default() } else { BTreeMap::new() };
        Self { has_session: has_room && some_have("sessionId"), has_agent, names, ..lines }
    }

    /// One entry: a line for people; one JSON object a line, or one document of YAML, for programs.
    pub(crate) fn print(&self, entry: &RawValue) -> anyhow::Result<()> {
        match self.format {
            Format::Table => printer::line(&self.line(&output::value(entry)?)),
            Format::Wide => printer::line(&self.whole(&output::value(entry)?)),
            Format::Yaml => {
                printer::line("---");
                return output::whole(self.format, entry);
            }
            Format::Json | Format::Jsonl => return output::whole(Format::Jsonl, entry),
        }
        Ok(())
    }

    /// An entry in a line: when, how severe, of which session, about whom, and what; no longer than the terminal is wide.
    fn line(&self, entry: &Value) -> String {
        let style = self.style;
        let time = part(entry, "timestamp").unwrap_or_default();
        let time = time.get(..19).map_or(time.clone(), |time| time.replace('T', " "));
        let mut about = String::new();
        if self.has_session {
            about.push_str(&format!("{:<SESSION$} ", part(entry, "sessionId").unwrap_or("-".to_owned())));
        }
        if self.has_agent {
            let id = part(entry, "agentId").unwrap_or("-".to_owned());
            let name = self.names.get(&id).map_or(id.clone(), |name| in_line(&Value::from(name.as_str())));
            let room = if self.names.contains_key(&id) { self.width.map(|_| AGENT) } else { None };
            about.push_str(&format!("{:<AGENT$} ", self.cut(&name, room)));
        }
        let text = entry["message"].as_str().unwrap_or_default();
        let mut lines = text.lines().map(|line| in_line(&Value::from(line)));
        let mut message = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() {
            format!(" {} (-o wide)", style.pick("…", "..."))
        } else {
            String::new()
        };
        let taken = time.chars().count() + LEVEL + 2 + about.chars().count() + more.chars().count();
        message = self.cut(&message, self.width.map(|width| width.saturating_sub(taken).max(1)));
        format!(
            "{} {} {}{message}{}",
            style.dim(&time),
            self.level(entry),
            style.dim(&about),
            style.dim(&more)
        )
    }

    /// An entry with all that is told of it, its further lines below it.
    fn whole(&self, entry: &Value) -> String {
        let style = self.style;
        let time = part(entry, "timestamp").unwrap_or_default();
        let text = entry["message"].as_str().unwrap_or_default();
        let mut lines = text.lines().map(|line| in_line(&Value::from(line)));
        let first = lines.next().unwrap_or_default();
        let mut told = format!("{} {} {first}", style.dim(&time), self.level(entry));
        for (name, field) in [
            ("type", "type"),
            ("agent", "agentId"),
            ("session", "sessionId"),
            ("task", "taskId"),
            ("trace", "traceId"),
        ] {
            if let Some(value) = part(entry, field) {
                told.push_str(&style.dim(&format!(" {name}={value}")));
            }
        }
        let fields = entry.get("fields").and_then(Value::as_object);
        for (name, value) in fields.into_iter().flatten() {
            told.push_str(&style.dim(&format!(" {name}={}", in_line(value))));
        }
        lines.for_each(|line| told.push_str(&format!("\n  {line}")));
        told
    }

    fn level(&self, entry: &Value) -> String {
        let level = part(entry, "level").unwrap_or_default();
        let padded = format!("{level:<LEVEL$}");
        match level.as_str() {
            "error" | "critical" => self.style.red(&padded),
            "warning" => self.style.yellow(&padded),
            _ => self.style.dim(&padded),
        }
    }

    fn cut(&self, text: &str, room: Option<usize>) -> String {
        match room.filter(|room| text.chars().count() > *room) {
            Some(room) => {
                let kept: String = text.chars().take(room - 1).collect();
                kept + self.style.pick("…", "~")
            }
            None => text.to_owned(),
        }
    }
}

fn part(entry: &Value, name: &str) -> Option<String> {
    entry.get(name).filter(|value| !value.is_null()).map(in_line)
}

fn sequence(entry: &RawValue) -> Option<u64> {
    output::value(entry).ok()?.get("sequence")?.as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(width: Option<usize>, has_session: bool) -> Lines {
        Lines {
            format: Format::Table,
            style: Style { colour: false, unicode: true, live: false },
            width,
            has_session,
            has_agent: true,
            names: [("agt_1".to_owned(), "reader".to_owned())].into(),
        }
    }

    fn entry() -> Value {
        json!({"timestamp": "2026-01-31T12:00:00.123456Z", "level": "warning",
               "message": "half is missing, and \u{1b}nobody knows why\n  at read.rs:3\n  at main.rs:1",
               "taskId": "read[1]", "agentId": "agt_1", "sessionId": "ses_1", "fields": {"pages": 12}})
    }

    #[test]
    fn an_entry_is_a_line_that_fits() {
        let bare =
            json!({"timestamp": "2026-01-31T12:00:00Z", "level": "info", "message": "Tool 'x' registered"});
        assert_eq!(
            lines(None, true).line(&entry()),
            "2026-01-31 12:00:00 warning  ses_1                          reader           half is missing, and  nobody \
             knows why … (-o wide)"
        );
        assert_eq!(
            lines(None, false).line(&bare),
            "2026-01-31 12:00:00 info     -                Tool 'x' registered"
        );
        for width in [60, 70, 80] {
            let line = lines(Some(width), false).line(&entry());
            assert!(line.chars().count() <= width && line.ends_with("… … (-o wide)"), "{line}");
        }
    }

    #[test]
    fn a_wide_entry_is_whole() {
        assert_eq!(
            lines(Some(40), true).whole(&entry()),
            "2026-01-31T12:00:00.123456Z warning  half is missing, and  nobody knows why agent=agt_1 session=ses_1 \
             task=read[1] pages=12\n    at read.rs:3\n    at main.rs:1"
        );
    }
}
