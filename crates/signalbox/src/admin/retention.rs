//! `signalbox retention`: how long the tenant keeps what is over.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::context::Context;
use super::failure::Misused;
use super::resource::{Column, Resource};
use super::{Asked, output, run};

const RETENTION: Resource = Resource {
    noun: "retention",
    lister: "signalbox retention show",
    path: &["v1", "opscore", "retention"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::text("WHAT IS OVER", "/what"),
        Column::text("KEPT FOR", "/kept"),
        Column::text("SET BY", "/by"),
    ],
};

/// What is kept, by its field, and what it is.
const KEPT: [(&str, &str); 3] = [
    ("sessions", "sessions, from their end"),
    ("events", "events: log entries and reports"),
    ("messages", "messages that were delivered"),
];

/// What is done with retention.
#[derive(Debug, Subcommand)]
pub(crate) enum RetentionVerb {
    /// Show how long what is over is kept, and who says so
    #[command(after_help = example!("retention show"))]
    Show,
    /// Set how long the tenant keeps what is over; what is not given stays as it is
    #[command(after_help = example!("retention set --sessions 90d --messages 12h", "retention set --events default"))]
    Set(Set),
}

/// How long things are kept.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Sessions after their end, with their history: such as 90d; default: as long as the server's configuration says
    #[arg(long)]
    sessions: Option<String>,
    /// Log entries and reports
    #[arg(long)]
    events: Option<String>,
    /// Delivered messages; dead letters stay until they are removed
    #[arg(long)]
    messages: Option<String>,
}

/// Does what is asked with retention.
pub(crate) fn retention(asked: &Asked<RetentionVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            RetentionVerb::Show => {
                let now = context.get(RETENTION.path, &ListQuery::new()).await?;
                print(&context, &now)?;
            }
            RetentionVerb::Set(set) => {
                let before = output::value(&context.get(RETENTION.path, &ListQuery::new()).await?)?;
                let body = set.body(&before)?;
                let now = context.send(Method::PUT, RETENTION.path, Some(&body)).await?;
                crate::printer::notice(
                    "it is set, and holds from the next round of removal on, within a minute",
                );
                print(&context, &now)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl Set {
    /// What the tenant has set, with what is given in its place.
    fn body(&self, own: &Value) -> anyhow::Result<Value> {
        let given = [&self.sessions, &self.events, &self.messages];
        if given.iter().all(|given| given.is_none()) {
            return Err(Misused("give at least one of --sessions, --events and --messages".to_owned()).into());
        }
        let fields = KEPT.iter().zip(given).map(|((field, _), given)| {
            let value = match given.as_deref() {
                None => own[*field].clone(),
                Some("default") => Value::Null,
                Some(kept) => json!(kept),
            };
            ((*field).to_owned(), value)
        });
        Ok(Value::Object(fields.collect()))
    }
}

fn print(context: &Context, told: &RawValue) -> anyhow::Result<()> {
    if !context.format.is_table() {
        return output::whole(context.format, told);
    }
    let told = output::value(told)?;
    let rows = KEPT.map(|(field, what)| {
        let by = if told[field].is_null() { "the server's configuration" } else { "the tenant" };
        json!({"what": what, "kept": told["effective"][field], "by": by})
    });
    context.print_table(&RETENTION, &rows);
    Ok(())
}
