//! Which sessions: some by their ids, or all that filters match.

use clap::Args;
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method};

use super::context::{Context, Pages, body, filters, text};
use super::failure::Misused;
use super::moments::Moment;
use super::session::SESSIONS;
use super::{output, words};
use crate::printer;

/// The statuses of sessions that are not over.
pub(crate) const OPEN_STATUSES: [&str; 3] = ["started", "running", "paused"];
const OPEN: &str = "started,running,paused";
/// All statuses.
const OPEN_OR_OVER: &str = "started,running,paused,completed,failed,cancelled";
/// Sessions that could not be acted upon and are named, at most; the rest is counted.
const REFUSED_SHOWN_MAX: usize = 10;

/// Sessions that are named before something is done to them, at most; the rest is counted.
const HIT_SHOWN_MAX: usize = 10;
/// Sessions that are counted before something is done to them, at most.
const HIT_COUNTED_MAX: usize = 10_000;

/// Sessions that match everything that is given.
#[derive(Debug, Clone, Args)]
pub(crate) struct Filter {
    /// Those of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Those with one of these statuses, with commas between them; open means all that are not over
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

/// Several sessions by filters, and whether something is done to them.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bulk {
    #[command(flatten)]
    filter: Filter,
    /// Only list the sessions; do nothing to them
    #[arg(long)]
    dry_run: bool,
}

/// Sessions by their ids, or by filters.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The sessions
    #[arg(value_name = "SESSION")]
    pub(crate) sessions: Vec<String>,
    #[command(flatten)]
    bulk: Bulk,
}

impl Filter {
    async fn given(&self, context: &Context) -> anyhow::Result<[(&'static str, Option<String>); 6]> {
        if self.status.iter().flat_map(|named| named.split(',')).any(|status| status.trim() == "waiting") {
            let words = "--status: no session has the status 'waiting'; 'signalbox sessions list --waiting' lists \
                         those that wait for somebody";
            return Err(Misused(words.to_owned()).into());
        }
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

    /// The same, of sessions with these statuses alone; where it names statuses itself, of those that are in both.
    fn within(&self, possible: &[&str], done: &str) -> anyhow::Result<Self> {
        let mut filter = self.clone();
        let named = self.status.as_deref().unwrap_or(OPEN_OR_OVER);
        let named = named.replace("open", OPEN);
        let named: Vec<&str> = named.split(',').map(str::trim).collect();
        // What is no status is for the server to refuse.
        if named.iter().any(|status| !OPEN_OR_OVER.split(',').any(|known| known == *status)) {
            return Ok(filter);
        }
        let both: Vec<&str> = possible.iter().filter(|status| named.contains(status)).copied().collect();
        if both.is_empty() {
            let words = format!("only sessions that are {} can be {done}", listed(possible));
            return Err(Misused(words).into());
        }
        filter.status = Some(both.join(","));
        Ok(filter)
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
        bulk: &Bulk,
        thing: &str,
    ) -> anyhow::Result<(Self, &'a str, Option<&'a str>)> {
        let which = |sessions| Self { sessions, bulk: bulk.clone() };
        match (bulk.filter.is_given(), words) {
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

    /// The same where the task may be left out: `SESSION [TASK]`, or `TASK` beside filters.
    pub(crate) fn and_task<'a>(words: &'a [String], bulk: &Bulk) -> anyhow::Result<(Self, Option<&'a str>)> {
        if let (false, [session]) = (bulk.filter.is_given(), words) {
            return Ok((Self { sessions: vec![session.clone()], bulk: bulk.clone() }, None));
        }
        Self::and_more(words, bulk, "TASK").map(|(which, task, _)| (which, Some(task)))
    }

    /// Lists sessions that are named, where they are several or nothing is to be done to them; says whether to go on.
    pub(crate) async fn go_on(&self, context: &Context, done: &str) -> anyhow::Result<bool> {
        let is_dry = self.bulk.dry_run;
        if self.sessions.len() < 2 && !is_dry {
            return Ok(true);
        }
        let mut hit = Vec::new();
        for id in self.sessions.iter().take(if is_dry { usize::MAX } else { HIT_SHOWN_MAX }) {
            let read = context.fetch(&SESSIONS, &[id], &ListQuery::new()).await;
            let read = if is_dry {
                read?
            } else if let Ok(read) = read {
                read
            } else {
                continue;
            };
            hit.push(output::value(&read)?);
        }
        tell_hit((&hit, self.sessions.len(), false), done, is_dry);
        if is_dry && !context.format.is_table() {
            dry_answer(context, &hit, self.sessions.len())?;
        }
        Ok(!is_dry)
    }

    /// The same for all that match.
    async fn all_go_on(&self, context: &Context, filter: &ListQuery, done: &str) -> anyhow::Result<bool> {
        let is_dry = self.bulk.dry_run;
        let mut pages = Pages::new(&SESSIONS, filter, HIT_COUNTED_MAX);
        let (mut hit, mut count) = (Vec::new(), 0);
        while let Some(page) = pages.next(context, SESSIONS.path).await? {
            count += page.len();
            let room = if is_dry { HIT_COUNTED_MAX } else { HIT_SHOWN_MAX }.saturating_sub(hit.len());
            for session in page.iter().take(room) {
                hit.push(output::value(session)?);
            }
        }
        if is_dry || count > 1 {
            tell_hit((&hit, count, pages.has_more), done, is_dry);
        }
        if is_dry && !context.format.is_table() {
            dry_answer(context, &hit, count)?;
        }
        Ok(!is_dry)
    }

    /// Whether they are given by filters.
    pub(crate) fn is_filter(&self) -> anyhow::Result<bool> {
        match (self.sessions.is_empty(), self.bulk.filter.is_given()) {
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

    /// Does something to all that match and are so that it can be done to them, however many requests that takes; says to
    /// how many, and which refused.
    pub(crate) async fn act_on_all(
        &self,
        context: &Context,
        (verb, done): (&str, &str),
        mut asked: Value,
    ) -> anyhow::Result<()> {
        let possible = possible(verb);
        let given = self.bulk.filter.within(possible, done)?.given(context).await?;
        if !self.all_go_on(context, &filters(given.clone()), done).await? {
            return Ok(());
        }
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
        for one in refused.iter().take(REFUSED_SHOWN_MAX) {
            let part = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            let (id, why) = (part("sessionId"), words::in_commands(&part("detail")));
            let why =
                why.strip_prefix(&format!("Session {id} ")).map_or(why.clone(), |why| format!("it {why}"));
            printer::notice(&format!("session {id} is not {done}: {why}"));
        }
        if let Some(more) = refused.len().checked_sub(REFUSED_SHOWN_MAX + 1) {
            printer::notice(&format!("{} more are not {done}; -o json names them all", more + 1));
        }
        printer::notice(&match (count, matched) {
            (_, 0) if possible.len() == 6 => "no session matches".to_owned(),
            (_, 0) => format!("no session that matches is {}: none is {done}", listed(possible)),
            (1, 1) => format!("1 session is {done}"),
            (count, matched) if count == matched => format!("{count} sessions are {done}"),
            (count, matched) => format!("{count} of {matched} sessions that match are {done}"),
        });
        if context.format.is_table() {
            return Ok(());
        }
        let told = json!({"matched": matched, "done": count, "refused": refused});
        output::whole(context.format, &serde_json::value::to_raw_value(&told)?)
    }
}

/// Says which sessions something is done to: the first of them, and how many there are.
fn tell_hit((hit, count, has_more): (&[Value], usize, bool), done: &str, is_dry: bool) {
    let sessions = match (count, has_more) {
        (0, _) => "no session".to_owned(),
        (1, _) => "1 session".to_owned(),
        (count, false) => format!("{count} sessions"),
        (count, true) => format!("more than {count} sessions"),
    };
    printer::notice(&match (is_dry, count) {
        (true, 0) => format!("{sessions} matches: none would be {done}"),
        (true, _) => format!("{sessions} would be {done}; nothing is done:"),
        (false, _) => format!("{sessions} to be {done}:"),
    });
    for session in hit.iter().take(HIT_SHOWN_MAX) {
        let part = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
        printer::notice(&format!("  {}  {}  {}", part("sessionId"), part("workflowId"), part("status")));
    }
    if let Some(more) = count.checked_sub(hit.len().min(HIT_SHOWN_MAX)).filter(|more| *more > 0) {
        printer::notice(&format!("  and {more} more"));
    }
}

fn dry_answer(context: &Context, hit: &[Value], count: usize) -> anyhow::Result<()> {
    let ids: Vec<&Value> = hit.iter().map(|session| &session["sessionId"]).collect();
    let told = json!({"matched": count, "done": 0, "sessions": ids});
    output::whole(context.format, &serde_json::value::to_raw_value(&told)?)
}

/// The statuses of sessions that something can be done to.
fn possible(verb: &str) -> &'static [&'static str] {
    match verb {
        "pause" => &["started", "running"],
        "resume" => &["paused"],
        "retry" => &["failed"],
        "purge" => &["completed", "failed", "cancelled"],
        "cancel" | "signal" | "approve" | "refuse" => &OPEN_STATUSES,
        _ => &["started", "running", "paused", "completed", "failed", "cancelled"],
    }
}

/// `a`, `a or b`, `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(status: Option<&str>, verb: &str) -> Result<Option<String>, String> {
        let filter = Filter {
            workflow: None,
            status: status.map(str::to_owned),
            agent: None,
            since: None,
            until: None,
            text: None,
        };
        let within = filter.within(possible(verb), "done");
        within.map(|filter| filter.status).map_err(|error| error.to_string())
    }

    #[test]
    fn only_what_can_be_acted_upon_is_meant() {
        for (status, verb, expected) in [
            (None, "cancel", "started,running,paused"),
            (Some("open"), "pause", "started,running"),
            (Some("failed, running"), "retry", "failed"),
            (Some("completed"), "rerun", "completed"),
            (Some("nonsense"), "cancel", "nonsense"),
        ] {
            assert_eq!(within(status, verb), Ok(Some(expected.to_owned())), "{status:?} {verb}");
        }
        let told = within(Some("completed"), "cancel").unwrap_err();
        assert_eq!(told, "only sessions that are started, running or paused can be done");
    }
}
