//! `signalbox sessions watch`: a session's tasks as they go, its timeline after, and an exit code by how it ended.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_client::{EventView, ListQuery, SessionView, Timestamp};
use tokio::time::timeout;

use super::agent_names;
use super::context::Context;
use super::moments::{left, length};
use super::session::SESSIONS;
use super::waiting::{self, Waiting};
use super::{logs, output, timeline};
use crate::edge;
use crate::printer;
use crate::story::{Awaited, Step, Story};
use crate::style::{Mark, Style};

/// The exit code of a session that failed.
pub(crate) const FAILED: u8 = 3;
/// The exit code of a session that was cancelled.
pub(crate) const CANCELLED: u8 = 4;

/// How often the display is drawn where nothing happens.
const TICK: Duration = Duration::from_millis(120);
/// How often the server is asked why nobody takes a task.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// How long that may take.
const ASKED_FOR: Duration = Duration::from_secs(1);
/// Tasks that are shown at once.
const ROWS_MAX: usize = 16;
/// Columns of a task's and of an agent's name.
const NAME: usize = 20;

/// The exit code of a session that ended so.
pub(crate) fn code(status: &str) -> ExitCode {
    match status {
        "failed" => ExitCode::from(FAILED),
        "cancelled" => ExitCode::from(CANCELLED),
        _ => ExitCode::SUCCESS,
    }
}

/// Waits until a session is over, and says what it waits for when that changes.
pub(crate) async fn until_over(context: &Context, session: &str) -> anyhow::Result<()> {
    let known = context.fetch(&SESSIONS, &[session], &ListQuery::new()).await?;
    // What it waited for once is nobody's business any more.
    let known: SessionView = serde_json::from_value(output::value(&known)?)?;
    if known.is_over() {
        return Ok(());
    }
    let mut story = Story::new(agent_names::all(context).await.unwrap_or_default());
    let mut waiting = Waiting::of(session, false);
    let mut reasons = Reasons::default();
    let mut events = context.client.follow_session(session, 0);
    let mut looked_at = edge::now();
    loop {
        if let Ok(event) = timeout(TICK, events.next()).await {
            let Some(event) = event? else { return Ok(()) };
            story.apply(&event);
        }
        // Not for each event: a session may have thousands, and as many tasks to look through.
        let now = edge::now();
        if now.since(looked_at) >= TICK {
            looked_at = now;
            reasons.learn((context, session), &mut story).await;
            waiting.news(&story, now).iter().for_each(|news| printer::notice(news));
        }
    }
}

/// Waits for a session that was just started, tells how it ended, and ends so.
pub(crate) async fn wait(context: &Context, session: &str) -> anyhow::Result<ExitCode> {
    if context.format.is_table() {
        printer::line(session);
    }
    until_over(context, session).await?;
    let ended = context.fetch(&SESSIONS, &[session], &ListQuery::new()).await?;
    if !context.format.is_table() {
        output::whole(context.format, &ended)?;
    }
    tell_end(session, &output::value(&ended)?)
}

/// Shows a session as it goes, until it is over.
pub(crate) async fn watch(context: &Context, session: &str) -> anyhow::Result<ExitCode> {
    // Asked first, so that one that is not there is told as such.
    context.fetch(&SESSIONS, &[session], &ListQuery::new()).await?;
    let style = Style::detect(false);
    let is_live = context.format.is_table() && style.live;
    let mut story = Story::new(agent_names::all(context).await?);
    let mut events = context.client.follow_session(session, 0);
    let mut screen = is_live.then(Screen::open);
    // A line for each event tells what is waited for, but not what can be done about it.
    let mut waiting = Waiting::of(session, context.format.is_table());
    let mut reasons = Reasons::default();
    loop {
        reasons.learn((context, session), &mut story).await;
        let event = match timeout(TICK, events.next()).await {
            Ok(event) => event?,
            Err(_) => {
                match &mut screen {
                    Some(screen) => screen.draw((session, &story), style),
                    None => {
                        let news = waiting.news(&story, edge::now());
                        news.iter().for_each(|news| printer::notice(news));
                    }
                }
                continue;
            }
        };
        let Some(event) = event else { break };
        story.apply(&event);
        match &mut screen {
            Some(screen) => screen.draw((session, &story), style),
            None if context.format.is_table() => printer::line(&line(&story, &event, style)),
            None => {
                logs::Lines::of_session(context).print(&RawValue::from_string(events.text().to_owned())?)?
            }
        }
    }
    drop(screen);
    if context.format.is_table() {
        timeline::print(context, session).await?;
    }
    let ended = context.fetch(&SESSIONS, &[session], &ListQuery::new()).await?;
    tell_end(session, &output::value(&ended)?)
}

/// Asks the server now and then why nobody takes a task: a session's events tell no more than that it waits.
#[derive(Default)]
struct Reasons {
    asked_at: Option<Timestamp>,
}

impl Reasons {
    async fn learn(&mut self, (context, session): (&Context, &str), story: &mut Story) {
        let now = edge::now();
        let is_known = self.asked_at.is_some_and(|asked_at| now.since(asked_at) < ASKED_AGAIN);
        if is_known || !story.waits_for_agents() {
            return;
        }
        self.asked_at = Some(now);
        // What is not known is not said: the watch goes on without it.
        let once = context.once();
        let query = ListQuery::new();
        let Ok(Ok(told)) = timeout(ASKED_FOR, once.fetch(&SESSIONS, &[session], &query)).await else {
            return;
        };
        let Ok(told) = output::value(&told) else { return };
        for task in told["tasks"].as_array().into_iter().flatten() {
            if let (Some(id), Some(words)) = (task["taskId"].as_str(), task["waitingFor"].as_str()) {
                story.explain(id, words);
            }
        }
    }
}

fn tell_end(session: &str, ended: &Value) -> anyhow::Result<ExitCode> {
    let status = ended["status"].as_str().context("the session has no status")?;
    let why = ended["error"].as_str().map_or(String::new(), |error| format!(": {error}"));
    printer::notice(&format!("session {session} is {status}{why}"));
    Ok(code(status))
}

/// An event in a line, where lines are all there is.
fn line(story: &Story, event: &EventView, style: Style) -> String {
    let mark = match event.kind.rsplit('.').next() {
        Some("completed") => Mark::Good,
        Some("failed" | "cancelled") => Mark::Bad,
        Some("retrying" | "returned") => Mark::Again,
        _ => Mark::Plain,
    };
    let time = event.timestamp.to_string().get(11..19).unwrap_or_default().to_owned();
    format!("{} {} {:<17} {}", style.dim(&time), style.mark(mark), event.kind, story.in_words(event))
}

/// The tasks on a terminal, drawn anew in place.
struct Screen {
    all: MultiProgress,
    rows: Vec<ProgressBar>,
    frame: usize,
}

impl Screen {
    fn open() -> Self {
        Self {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            rows: Vec::new(),
            frame: 0,
        }
    }

    fn draw(&mut self, (session, story): (&str, &Story), style: Style) {
        self.frame += 1;
        let now = edge::now();
        let mut lines = lines(story.steps(), style, self.frame, now);
        lines.extend(waiting::commands(session, story, now).into_iter().map(|line| format!("  {line}")));
        while self.rows.len() < lines.len() {
            let template = ProgressStyle::with_template("{wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let row = self.all.add(ProgressBar::new_spinner());
            row.set_style(template);
            self.rows.push(row);
        }
        for (row, line) in self.rows.iter().zip(lines.into_iter().chain(std::iter::repeat(String::new()))) {
            row.set_message(line);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.all.clear());
    }
}

/// A line for each task, those that are under way before those that are not where there are too many; and one that counts.
fn lines(steps: &[Step], style: Style, frame: usize, now: Timestamp) -> Vec<String> {
    let mut shown: Vec<&Step> = steps.iter().collect();
    if shown.len() > ROWS_MAX {
        let rank = |step: &&Step| match step.status.as_str() {
            "running" | "dispatched" => 0,
            "failed" | "retrying" | "returned" => 1,
            "waiting" => 2,
            "pending" => 3,
            _ => 4,
        };
        shown.sort_by_key(rank);
        shown.truncate(ROWS_MAX);
    }
    let done = steps.iter().filter(|step| step.is_done()).count();
    let more = steps.len() - shown.len();
    let more = if more > 0 { format!("  ({more} more)") } else { String::new() };
    let lines = shown.into_iter().flat_map(|step| {
        let row = row(step, style, frame, now);
        std::iter::once(row).chain(why(step, now).map(|why| style.dim(&why)))
    });
    lines.chain([format!("  {done}/{} tasks{more}", steps.len())]).collect()
}

fn row(step: &Step, style: Style, frame: usize, now: Timestamp) -> String {
    let frames = if style.unicode { ["◐", "◓", "◑", "◒"] } else { ["|", "/", "-", "\\"] };
    let mark = match step.status.as_str() {
        "completed" => style.mark(Mark::Good),
        "failed" | "cancelled" => style.mark(Mark::Bad),
        "retrying" | "returned" => style.mark(Mark::Again),
        "running" | "dispatched" => style.green(frames[frame % frames.len()]),
        _ => style.mark(Mark::Plain),
    };
    let last = step.tries.last();
    let agent = last.map_or("", |last| last.agent.as_str());
    let took = last.map(|last| last.ended.map_or(now, |(end, _)| end).since(last.given));
    let took = took.map(length).unwrap_or_default();
    let again = if step.tries.len() > 1 { format!("  try {}", step.tries.len()) } else { String::new() };
    format!(
        "  {mark} {:<NAME$} {:<10} {agent:<NAME$} {took:>5}{}",
        step.task,
        step.status,
        style.yellow(&again)
    )
}

/// What a task waits for, below its line; what the terminal has no room for is cut at its end. What there is a command for
/// is told with that.
fn why(step: &Step, now: Timestamp) -> Option<String> {
    let wait = step.wait.as_ref()?;
    let left = wait.until.filter(|until| *until > now).map(|until| left(until.since(now)));
    match (&wait.awaited, left) {
        (Awaited::Approval | Awaited::Signal(_), _) => None,
        (Awaited::Again, Some(left)) => Some(format!("      next try in {left}; {}", wait.detail)),
        (Awaited::Again, None) => Some(format!("      {}", wait.detail)),
        (Awaited::Other, Some(left)) => Some(format!("      waits for {}, {left} left", wait.shown())),
        (Awaited::Other, None) => Some(format!("      waits for {}", wait.shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::tests::{event, told};

    const PLAIN: Style = Style { colour: false, unicode: false, live: false };

    #[test]
    fn each_task_has_a_line_within_80_columns() {
        let lines = lines(told().steps(), PLAIN, 0, Timestamp::from_seconds(10));
        assert_eq!(lines.len(), told().steps().len() + 1);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
        assert!(lines[1].contains("a[1]") && lines[1].ends_with("try 2"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "  2/3 tasks");
    }

    #[test]
    fn of_many_tasks_those_under_way_are_shown() {
        let mut steps: Vec<Step> = (0..40)
            .map(|n| Step { task: format!("t{n}"), status: "pending".into(), ..Step::default() })
            .collect();
        steps[39].status = "running".into();
        let lines = lines(&steps, PLAIN, 0, Timestamp::default());
        assert!(lines[0].contains("t39"), "{lines:?}");
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (ROWS_MAX + 1, "  0/40 tasks  (24 more)"));
    }

    #[test]
    fn an_event_is_a_line() {
        let mut completed = event("task.completed", "a", "agt_1", 5);
        completed.message = "Task a completed".into();
        assert_eq!(line(&told(), &completed, PLAIN), "00:00:05 + task.completed    Task a completed");
    }
}
