//! Which sessions: some by their ids, or all that filters match.

use clap::Args;
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::context::{Context, body, filters, text};
use super::failure::Misused;
use super::moments::Moment;
use super::output;
use super::session::SESSIONS;
use crate::printer;

/// Sessions that match everything that is given.
#[derive(Debug, Clone, Args)]
pub(crate) struct Filter {
    /// Those of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Those with one of these statuses, with commas between them
    #[arg(long)]
    status: Option<String>,
    /// Those with a task of this agent, by its id or name
    #[arg(long)]
    agent: Option<String>,
    /// Those triggered from this moment on: how long ago, or RFC 3339
    #[arg(long, value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Those triggered before this moment
    #[arg(long, value_parser = Moment::parse)]
    until: Option<Moment>,
    /// Those with this text in their id, workflow, input or error, compared without case
    #[arg(long)]
    text: Option<String>,
}

/// Sessions by their ids, or by filters.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The sessions
    #[arg(value_name = "SESSION")]
    pub(crate) sessions: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    async fn given(&self, context: &Context) -> anyhow::Result<[(&'static str, Option<String>); 6]> {
        let moment = |moment: Option<Moment>| moment.map(|moment| moment.at(context.now));
        Ok([
            ("workflow", self.workflow.clone()),
            ("status", self.status.clone()),
            ("agent", context.maybe_agent(self.agent.as_deref()).await?),
            ("since", moment(self.since)),
            ("until", moment(self.until)),
            ("text", self.text.clone()),
        ])
    }

    /// As the query of a list.
    pub(crate) async fn query(&self, context: &Context) -> anyhow::Result<ListQuery> {
        self.given(context).await.map(filters)
    }

    fn is_given(&self) -> bool {
        [&self.workflow, &self.status, &self.agent, &self.text].into_iter().any(Option::is_some)
            || self.since.is_some()
            || self.until.is_some()
    }
}

impl Which {
    /// Which sessions, and what else is named with them: `SESSION THING [MORE]`, or `THING [MORE]` beside filters.
    pub(crate) fn and_more<'a>(
        words: &'a [String],
        filter: &Filter,
        thing: &str,
    ) -> anyhow::Result<(Self, &'a str, Option<&'a str>)> {
        let which = |sessions| Self { sessions, filter: filter.clone() };
        match (filter.is_given(), words) {
            (true, [thing]) => Ok((which(Vec::new()), thing, None)),
            (true, [thing, more]) => Ok((which(Vec::new()), thing, Some(more))),
            (false, [session, thing]) => Ok((which(vec![session.clone()]), thing, None)),
            (false, [session, thing, more]) => Ok((which(vec![session.clone()]), thing, Some(more))),
            (true, _) => {
                Err(Misused("name a session, or give filters such as --workflow; not both".to_owned()).into())
            }
            (false, _) => {
                let words =
                    format!("give SESSION and {thing}, or {thing} alone with filters such as --workflow");
                Err(Misused(words).into())
            }
        }
    }

    /// Whether they are given by filters.
    pub(crate) fn is_filter(&self) -> anyhow::Result<bool> {
        match (self.sessions.is_empty(), self.filter.is_given()) {
            (false, true) => {
                Err(Misused("name sessions, or give filters such as --workflow; not both".to_owned()).into())
            }
            (true, false) => {
                let words = "name a session, or give a filter: --workflow, --status, --agent, --since, --until, --text";
                Err(Misused(words.to_owned()).into())
            }
            (is_empty, _) => Ok(is_empty),
        }
    }

    /// Does something to all that match, however many requests that takes; says to how many, and which refused.
    pub(crate) async fn act_on_all(
        &self,
        context: &Context,
        (verb, done): (&str, &str),
        mut asked: Value,
    ) -> anyhow::Result<()> {
        let given = self.filter.given(context).await?;
        asked["filter"] = body(given.iter().map(|(name, value)| (*name, text(value.as_deref()))));
        let (mut count, mut matched, mut refused) = (0, 0, Vec::new());
        loop {
            let answer = context.send(Method::POST, &SESSIONS.at(&[verb]), Some(&asked)).await?;
            let answer = output::value(&answer)?;
            count += answer["done"].as_u64().unwrap_or_default();
            matched += answer["matched"].as_u64().unwrap_or_default();
            refused.extend(answer["refused"].as_array().cloned().unwrap_or_default());
            match &answer["next_cursor"] {
                Value::String(cursor) if answer["more"] == true => asked["cursor"] = json!(cursor),
                _ => break,
            }
        }
        for one in &refused {
            let part = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            printer::notice(&format!("session {} is not {done}: {}", part("sessionId"), part("detail")));
        }
        printer::notice(&format!("{count} of {matched} sessions that match are {done}"));
        if context.format.is_table() {
            return Ok(());
        }
        let told = json!({"matched": matched, "done": count, "refused": refused});
        output::whole(context.format, &serde_json::value::to_raw_value(&told)?)
    }
}
