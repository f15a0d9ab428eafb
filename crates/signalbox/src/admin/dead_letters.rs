//! `signalbox dead-letters`: messages that could not be delivered.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use signalbox_client::{ListQuery, Method};

use super::context::{Context, filters};
use super::failure::Misused;
use super::moments::Moment;
use super::resource::{Column, Resource};
use super::{All, Asked, output, run};
use crate::printer;

const DEAD_LETTERS: Resource = Resource {
    noun: "dead letter",
    lister: "signalbox dead-letters list",
    path: &["v1", "dead-letters"],
    items: "data",
    enveloped: true,
    columns: &[
        Column::id("ID", "/messageId"),
        Column::text("KIND", "/kind"),
        Column::age("DIED", "/deadAt"),
        Column::text("TRIES", "/attempts"),
        Column::text("LAST ERROR", "/lastError"),
        Column::text("AGENT", "/agentId").wide(),
        Column::text("LAST STATUS", "/lastStatus").wide(),
        Column::age("MADE", "/createdAt").wide(),
    ],
};

/// Dead letters that match everything that is given.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Those for this agent, by its id or name
    #[arg(long)]
    agent: Option<String>,
    /// Those of this kind: message, task or webhook
    #[arg(long)]
    kind: Option<String>,
    /// Those given up from this moment on: how long ago, or RFC 3339
    #[arg(long, value_parser = Moment::parse)]
    since: Option<Moment>,
}

/// Dead letters by their ids, or by filters.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The messages
    #[arg(value_name = "MESSAGE")]
    ids: Vec<String>,
    /// All, or all that the filters match
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

/// What is done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterVerb {
    /// List dead letters, the longest dead first
    #[command(after_help = example!("dead-letters list --agent reader-1 --since 1d"))]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        all: All,
    },
    /// Show a dead letter with its body
    #[command(after_help = example!("dead-letters show msg_01JQ"))]
    Show {
        /// The message
        id: String,
    },
    /// Redrive dead letters: give them new attempts
    #[command(after_help = example!("dead-letters redrive msg_01JQ", "dead-letters redrive --all --agent reader-1"))]
    Redrive(Which),
    /// Drop dead letters
    #[command(after_help = example!("dead-letters drop msg_01JQ", "dead-letters drop --all --kind webhook"))]
    Drop(Which),
}

/// Does what is asked with dead letters.
pub(crate) fn dead_letters(asked: &Asked<DeadLetterVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            DeadLetterVerb::List { filter, all } => {
                let query = filter.query(&context).await?;
                context.list(&DEAD_LETTERS, &[], &query, all.limit).await?;
            }
            DeadLetterVerb::Show { id } => context.show(&DEAD_LETTERS, id).await?,
            DeadLetterVerb::Redrive(which) => which.redrive(&context).await?,
            DeadLetterVerb::Drop(which) => which.drop(&context).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl Filter {
    async fn query(&self, context: &Context) -> anyhow::Result<ListQuery> {
        Ok(filters([
            ("agent", context.maybe_agent(self.agent.as_deref()).await?),
            ("kind", self.kind.clone()),
            ("since", self.since.map(|since| since.at(context.now))),
        ]))
    }
}

impl Which {
    async fn redrive(&self, context: &Context) -> anyhow::Result<()> {
        for id in self.one_by_one()? {
            let answer = context.act((&DEAD_LETTERS, Method::POST), &[id, "redrive"], None).await?;
            context.done(&answer, &format!("message {id} will be delivered anew"))?;
        }
        if !self.all {
            return Ok(());
        }
        let [redriven, passed_over] =
            self.act_on_all(context, (Method::POST, &["redrive"]), ["redriven", "passed_over"]).await?;
        printer::notice(&match redriven {
            0 => "no message that matches can be delivered anew".to_owned(),
            1 => "1 message will be delivered anew".to_owned(),
            many => format!("{many} messages will be delivered anew"),
        });
        if passed_over > 0 {
            let (were, sessions) = if passed_over == 1 {
                ("is of a task", "its session")
            } else {
                ("are of tasks", "their sessions")
            };
            printer::notice(&format!(
                "{passed_over} {were} and passed over: retry {sessions} ('signalbox sessions retry') or run it again \
                 ('signalbox sessions rerun')"
            ));
        }
        self.tell(context, &json!({"redriven": redriven, "passed_over": passed_over}))
    }

    async fn drop(&self, context: &Context) -> anyhow::Result<()> {
        for id in self.one_by_one()? {
            let answer = context.act((&DEAD_LETTERS, Method::DELETE), &[id], None).await?;
            context.done(&answer, &format!("message {id} is dropped"))?;
        }
        if !self.all {
            return Ok(());
        }
        let [discarded] = self.act_on_all(context, (Method::DELETE, &[]), ["discarded"]).await?;
        printer::notice(&match discarded {
            0 => "no message matches: none is dropped".to_owned(),
            1 => "1 message is dropped".to_owned(),
            many => format!("{many} messages are dropped"),
        });
        self.tell(context, &json!({"discarded": discarded}))
    }

    fn tell(&self, context: &Context, told: &serde_json::Value) -> anyhow::Result<()> {
        if context.format.is_table() {
            return Ok(());
        }
        output::whole(context.format, &serde_json::value::to_raw_value(told)?)
    }

    /// Those that are named; filters without `--all` name none.
    fn one_by_one(&self) -> anyhow::Result<&[String]> {
        let has_filter =
            self.filter.agent.is_some() || self.filter.kind.is_some() || self.filter.since.is_some();
        match (self.all, self.ids.is_empty()) {
            (false, true) => {
                Err(Misused("name a message, or say --all, with filters or without".to_owned()).into())
            }
            (false, false) if has_filter => {
                Err(Misused("filters go with --all, not with a message's id".to_owned()).into())
            }
            _ => Ok(&self.ids),
        }
    }

    /// Does something to all that match, however many requests that takes, and adds up what the answers count.
    async fn act_on_all<const N: usize>(
        &self,
        context: &Context,
        (method, rest): (Method, &[&str]),
        counted: [&str; N],
    ) -> anyhow::Result<[u64; N]> {
        let query = self.filter.query(context).await?;
        // Dropping takes a filter, so that nothing is dropped by a slip; `--all` alone is meant.
        let drops_everything = method == Method::DELETE
            && self.filter.agent.is_none()
            && self.filter.kind.is_none()
            && self.filter.since.is_none();
        let query = if drops_everything { query.filter("since", "1970-01-01T00:00:00Z") } else { query };
        let (mut sums, mut cursor) = ([0; N], None::<String>);
        loop {
            let asked = match cursor.take() {
                Some(cursor) => query.clone().cursor(cursor),
                None => query.clone(),
            };
            let path = DEAD_LETTERS.at(rest);
            let answer =
                output::value(context.send_with(method.clone(), &path, &asked, None).await?.as_ref())?;
            let data = &answer["data"];
            for (sum, name) in sums.iter_mut().zip(counted) {
                *sum += data[name].as_u64().unwrap_or_default();
            }
            match data["next_cursor"].as_str() {
                Some(next) if data["more"] == true => cursor = Some(next.to_owned()),
                _ => return Ok(sums),
            }
        }
    }
}
