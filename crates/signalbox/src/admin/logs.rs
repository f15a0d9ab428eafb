//! `signalbox logs`: what agents wrote and what happened to them, once or as it comes.

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
use super::{Newest, run};
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
        return print_all(context, &entries);
    }
    let style = Style::detect(false);
    let mut last = 0;
    for entry in &entries {
        last = sequence(entry).unwrap_or(last);
        print_line(context.format, style, entry)?;
    }
    let mut stream = context.client.follow(LOGS.path, query, last);
    while let Some(entry) = stream.next().await? {
        print_line(context.format, style, &RawValue::from_string(entry)?)?;
    }
    Ok(())
}

fn print_all(context: &Context, entries: &[Box<RawValue>]) -> anyhow::Result<()> {
    if context.format.is_table() {
        if entries.is_empty() {
            printer::notice("there is no entry in the log that matches");
        }
        let style = Style::detect(false);
        return entries.iter().try_for_each(|entry| print_line(context.format, style, entry));
    }
    let mut many = Many::begin(context.format);
    for entry in entries {
        many.add(entry)?;
    }
    many.end();
    Ok(())
}

/// One entry as it comes: a line for people; one JSON object a line, or one document of YAML, for programs.
pub(crate) fn print_line(format: Format, style: Style, entry: &RawValue) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Wide => {
            printer::line(&line(&output::value(entry)?, format == Format::Wide, style));
            Ok(())
        }
        Format::Yaml => {
            printer::line("---");
            output::whole(format, entry)
        }
        Format::Json | Format::Jsonl => output::whole(Format::Jsonl, entry),
    }
}

/// An entry in a line: when, how severe, about whom, and what.
fn line(entry: &Value, wide: bool, style: Style) -> String {
    let part = |name: &str| entry.get(name).filter(|value| !value.is_null()).map(in_line);
    let time = part("timestamp").unwrap_or_default();
    let time = time.get(..19).filter(|_| !wide).map_or(time.clone(), |time| time.replace('T', " "));
    let level = part("level").unwrap_or_default();
    let level = format!("{level:<8}");
    let level = match level.trim_end() {
        "error" | "critical" => style.red(&level),
        "warning" => style.yellow(&level),
        _ => style.dim(&level),
    };
    let mut line = format!("{} {level} {}", style.dim(&time), part("message").unwrap_or_default());
    let about: &[(&str, &str)] = if wide {
        &[
            ("type", "type"),
            ("agent", "agentId"),
            ("session", "sessionId"),
            ("task", "taskId"),
            ("trace", "traceId"),
        ]
    } else {
        &[("task", "taskId")]
    };
    for (name, field) in about {
        if let Some(value) = part(field) {
            line.push_str(&style.dim(&format!(" {name}={value}")));
        }
    }
    if let Some(fields) = entry.get("fields").and_then(Value::as_object).filter(|fields| !fields.is_empty()) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}={}", in_line(value))).collect();
        line.push_str(&style.dim(&format!(" {}", fields.join(" "))));
    }
    line
}

fn sequence(entry: &RawValue) -> Option<u64> {
    output::value(entry).ok()?.get("sequence")?.as_u64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_a_line() {
        let style = Style { colour: false, unicode: true, live: false };
        let entry = json!({"timestamp": "2026-01-31T12:00:00.123456Z", "level": "warning", "message": "half\nis missing",
                           "taskId": "read[1]", "agentId": "agt_1", "sessionId": null, "fields": {"pages": 12}});
        assert_eq!(
            line(&entry, false, style),
            "2026-01-31 12:00:00 warning  half is missing task=read[1] pages=12"
        );
        assert!(line(&entry, true, style).contains("agent=agt_1 task=read[1] pages=12"));
    }
}
