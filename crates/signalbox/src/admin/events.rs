//! `signalbox events`: the history of a session, once or as it happens.

use std::process::ExitCode;

use clap::Args;
use serde_json::value::RawValue;
use signalbox_client::ListQuery;

use super::context::Pages;
use super::logs::Lines;
use super::output::Many;
use super::resource::{Column, Resource};
use super::session::SESSIONS;
use super::target::Target;
use super::{All, run};

const EVENTS: Resource =
    Resource { noun: "session", columns: &[Column::age("AT", "/timestamp")], ..SESSIONS };

/// Show the events of a session, oldest first.
#[derive(Debug, Args)]
#[command(after_help = example!("events ses_01JQ --follow", "events ses_01JQ -o jsonl"))]
pub(crate) struct Events {
    /// The session
    session: String,
    #[command(flatten)]
    all: All,
    /// Go on with what happens, until the session is over
    #[arg(short, long, conflicts_with = "limit")]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

/// Shows the events of a session.
pub(crate) fn events(asked: &Events) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        let lines = Lines::of_session(&context);
        let session = asked.session.as_str();
        if asked.follow {
            // Asked first, so that one that is not there is told as such.
            context.fetch(&SESSIONS, &[session], &ListQuery::new()).await?;
            let mut events = context.client.follow_session(session, 0);
            while events.next().await?.is_some() {
                lines.print(&RawValue::from_string(events.text().to_owned())?)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let path = EVENTS.at(&[session, "events"]);
        let query = ListQuery::new();
        let mut pages = Pages::new(&EVENTS, &query, asked.all.limit);
        let mut many = (!context.format.is_table()).then(|| Many::begin(context.format));
        while let Some(page) = pages.next(&context, &path).await? {
            for event in page {
                match &mut many {
                    Some(many) => many.add(&event)?,
                    None => lines.print(&event)?,
                }
            }
        }
        if let Some(many) = many {
            many.end();
        }
        Ok(ExitCode::SUCCESS)
    })
}
