//! `signalbox schedules`: workflows that start by the clock.

use std::process::ExitCode;
use std::str::FromStr as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use signalbox_client::{ListQuery, Method, Timestamp};
use signalbox_wire::duration::Period;

use super::context::{Context, body, text};
use super::failure::{self, Misused};
use super::input::json;
use super::moments::{Moment, age};
use super::output;
use super::resource::{Column, Resource, in_line};
use super::{All, Asked, Newest, run};

const SCHEDULES: Resource = Resource {
    noun: "schedule",
    lister: "signalbox schedules list",
    path: &["v1", "opscore", "schedules"],
    items: "data",
    enveloped: false,
    columns: &[
        Column::id("ID", "/id"),
        Column::text("WORKFLOW", "/workflowId"),
        Column::text("CRON", "/cron"),
        Column::text("EVERY", "/every"),
        Column::status("STATUS", "/status"),
        Column::age("NEXT", "/nextAt"),
        Column::text("TIME ZONE", "/timeZone").wide(),
        Column::text("OVERLAP", "/overlap").wide(),
        Column::text("WAITING", "/waiting").wide(),
        Column::text("NOTE", "/note").wide(),
    ],
};

const RUNS: Resource = Resource {
    noun: "run of the schedule",
    columns: &[
        Column::text("NUMBER", "/number"),
        Column::age("TIME", "/scheduledAt"),
        Column::text("CAUSE", "/cause"),
        Column::status("OUTCOME", "/outcome"),
        Column::id("SESSION", "/sessionId"),
        Column::text("REASON", "/reason"),
        Column::age("DECIDED", "/decidedAt").wide(),
    ],
    ..SCHEDULES
};

/// What may become of a run while an earlier session is open.
const OVERLAPS: [&str; 5] = ["skip", "bufferOne", "bufferAll", "cancelOther", "allowAll"];

/// What is done with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleVerb {
    /// List schedules
    #[command(after_help = example!("schedules list"))]
    List(All),
    /// Show a schedule
    #[command(after_help = example!("schedules show nightly"))]
    Show {
        /// The schedule
        id: String,
    },
    /// Set a schedule: make one, or change one that is there
    #[command(after_help = example!("schedules set nightly --workflow audit --cron '0 3 * * *' --time-zone Europe/Berlin",
                                    "schedules set often --workflow audit --every 1h"))]
    Set(Set),
    /// Pause a schedule: it starts nothing until it is resumed
    #[command(after_help = example!("schedules pause nightly"))]
    Pause {
        /// The schedule
        id: String,
    },
    /// Resume a paused schedule
    #[command(after_help = example!("schedules resume nightly"))]
    Resume {
        /// The schedule
        id: String,
    },
    /// Trigger a schedule now; prints the session's id
    #[command(after_help = example!("schedules trigger nightly"))]
    Trigger {
        /// The schedule
        id: String,
        /// What happens where an earlier session is open
        #[arg(long, value_parser = OVERLAPS)]
        overlap: Option<String>,
    },
    /// Backfill a schedule: start the sessions of its times that went by, from --from until before --to
    #[command(after_help = example!("schedules backfill nightly --from 3d --to 1d"))]
    Backfill {
        /// The schedule
        id: String,
        /// Where the times begin: how long ago, or RFC 3339
        #[arg(long, value_parser = Moment::parse)]
        from: Moment,
        /// Where they end: how long ago, or RFC 3339; now where absent
        #[arg(long, value_parser = Moment::parse)]
        to: Option<Moment>,
        /// What happens where an earlier session is open
        #[arg(long, value_parser = OVERLAPS)]
        overlap: Option<String>,
    },
    /// List a schedule's runs, newest first
    #[command(after_help = example!("schedules runs nightly --limit 10"))]
    Runs {
        /// The schedule
        id: String,
        #[command(flatten)]
        newest: Newest,
    },
    /// Delete a schedule; its sessions go on
    #[command(after_help = example!("schedules delete nightly"))]
    Delete {
        /// The schedule
        id: String,
    },
}

/// A schedule.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The schedule
    id: String,
    /// The workflow that it starts
    #[arg(long)]
    workflow: String,
    /// When: five fields, six with seconds before them, or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(long, required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// When: again and again after this long, such as 30m or 1d
    #[arg(long, value_parser = period)]
    every: Option<String>,
    /// By whose clock the cron expression is read: an IANA time zone; UTC where absent
    #[arg(long)]
    time_zone: Option<String>,
    /// The input of each session, as a JSON object; @FILE reads it from a file
    #[arg(long, value_parser = json)]
    input: Option<Value>,
    /// The agent that does the tasks that name neither an agent nor a capability, by its id or name
    #[arg(long)]
    agent: Option<String>,
    /// What happens where an earlier session is open
    #[arg(long, value_parser = OVERLAPS)]
    overlap: Option<String>,
    /// How late a run may still start after the server was away, such as 6h; 10m where absent
    #[arg(long, value_parser = period)]
    catch_up: Option<String>,
    /// What it is for
    #[arg(long)]
    note: Option<String>,
    /// Make it paused
    #[arg(long)]
    paused: bool,
}

/// A length of time, with its unit.
fn period(text: &str) -> Result<String, String> {
    let has_unit = text.chars().any(char::is_alphabetic);
    let period = Period::from_str(text).ok().filter(|_| has_unit);
    period.map(|_| text.to_owned()).ok_or_else(|| {
        "give a length of time with its unit (ms, s, m, h, d or w), such as 30s, 1h30m or 2d".to_owned()
    })
}

/// Does what is asked with schedules.
pub(crate) fn schedules(asked: &Asked<ScheduleVerb>) -> anyhow::Result<ExitCode> {
    run(&asked.target, |context| async move {
        match &asked.verb {
            ScheduleVerb::List(all) => context.list(&SCHEDULES, &[], &ListQuery::new(), all.limit).await?,
            ScheduleVerb::Show { id } => context.show(&SCHEDULES, id).await?,
            ScheduleVerb::Set(set) => set.keep(&context).await?,
            ScheduleVerb::Pause { id } => act(&context, (id, "pause"), None, "is paused").await?,
            ScheduleVerb::Resume { id } => act(&context, (id, "resume"), None, "is resumed").await?,
            ScheduleVerb::Trigger { id, overlap } => {
                let body = body([("overlap", text(overlap.as_deref()))]);
                let fired = context.act((&SCHEDULES, Method::POST), &[id, "trigger"], Some(&body)).await?;
                let told = output::value(&fired)?;
                if told["sessionId"].is_string() {
                    context.started(&fired, "/sessionId")?;
                } else {
                    let reason = told["reason"].as_str().unwrap_or("an earlier session is not over");
                    context.done(
                        &fired,
                        &format!("nothing is started now ({}): {reason}", in_line(&told["outcome"])),
                    )?;
                }
            }
            ScheduleVerb::Backfill { id, from, to, overlap } => {
                let (from, to) =
                    (from.moment(context.now), to.map_or(context.now, |to| to.moment(context.now)));
                if from >= to {
                    return Err(Misused("--to must be later than --from".to_owned()).into());
                }
                let body = body([
                    ("from", Some(json!(from.to_string()))),
                    ("to", Some(json!(to.to_string()))),
                    ("overlap", text(overlap.as_deref())),
                ]);
                let filled = context.act((&SCHEDULES, Method::POST), &[id, "backfill"], Some(&body)).await?;
                context.done(&filled, &filled_in_words(id, &output::value(&filled)?))?;
            }
            ScheduleVerb::Runs { id, newest } => {
                let listed = context.list(&RUNS, &[id, "runs"], &ListQuery::new(), newest.limit).await;
                listed.map_err(|error| failure::renamed(error, &SCHEDULES, id))?;
            }
            ScheduleVerb::Delete { id } => {
                let answer = context.act((&SCHEDULES, Method::DELETE), &[id], None).await?;
                context.done(&answer, &format!("schedule {id} is deleted"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What came of a backfill.
fn filled_in_words(id: &str, told: &Value) -> String {
    let count = |field: &str| told[field].as_u64().unwrap_or_default();
    let waiting = match count("waiting") {
        0 => String::new(),
        1 => "; 1 of them waits for an earlier session to end".to_owned(),
        waiting => format!("; {waiting} of them wait for an earlier session to end"),
    };
    match count("fireTimes") {
        0 => format!("schedule {id} has no time between --from and --to: nothing is started"),
        1 => format!(
            "1 run of schedule {id} is made up for{waiting}; 'signalbox schedules runs {id}' shows it"
        ),
        times => format!(
            "{times} runs of schedule {id} are made up for{waiting}; 'signalbox schedules runs {id}' shows them"
        ),
    }
}

async fn act(
    context: &Context,
    (id, verb): (&str, &str),
    body: Option<&Value>,
    words: &str,
) -> anyhow::Result<()> {
    let answer = context.act((&SCHEDULES, Method::POST), &[id, verb], body).await?;
    context.done(&answer, &format!("schedule {id} {words}"))
}

impl Set {
    async fn keep(&self, context: &Context) -> anyhow::Result<()> {
        let agent = context.maybe_agent(self.agent.as_deref()).await?;
        let body = body([
            ("id", Some(json!(self.id))),
            ("workflowId", Some(json!(self.workflow))),
            ("cron", text(self.cron.as_deref())),
            ("every", text(self.every.as_deref())),
            ("timeZone", text(self.time_zone.as_deref())),
            ("input", self.input.clone()),
            ("agentId", text(agent.as_deref())),
            ("overlap", text(self.overlap.as_deref())),
            ("catchUp", text(self.catch_up.as_deref())),
            ("note", text(self.note.as_deref())),
            ("paused", self.paused.then_some(json!(true))),
        ]);
        let kept = context.send(Method::POST, SCHEDULES.path, Some(&body)).await?;
        let told = output::value(&kept)?;
        let next = match told["nextAt"].as_str() {
            Some(at) => {
                let left = Timestamp::parse(at).map(|next| format!(" ({})", age(next, context.now)));
                format!("; it starts next at {at}{}", left.unwrap_or_default())
            }
            None if told["status"] == "paused" => {
                format!("; it is paused until 'signalbox schedules resume {}'", self.id)
            }
            None => "; it has no time to come".to_owned(),
        };
        context.done(&kept, &format!("schedule {} is kept{next}", self.id))
    }
}
