//! `signalbox sessions timeline`: each task's agent, tries and times, and a bar over the whole time.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use signalbox_client::{ListQuery, Timestamp};

use super::context::Context;
use super::output;
use super::resource::in_line;
use super::session::{SESSIONS, approved};
use crate::printer;
use crate::style::Style;

/// Columns of the bar.
const BAR: usize = 24;
/// Columns that a task's or an agent's name may take.
const NAME_MAX: usize = 16;

/// Prints where the time of a session went.
pub(crate) async fn print(context: &Context, session: &str) -> anyhow::Result<()> {
    let answer = context.fetch(&SESSIONS, &[session, "timeline"], &ListQuery::new()).await?;
    if !context.format.is_table() {
        return context.print(&answer);
    }
    let told = output::value(&answer)?;
    let names = names(context, &told).await;
    for line in table(&told, &names, context.now, Style::detect(false)) {
        printer::line(&line);
    }
    let query = ListQuery::new();
    let session = output::value(context.fetch(&SESSIONS, &[session], &query).await?.as_ref())?;
    for task in tasks(&session) {
        if let Some(approved) = approved(task) {
            printer::line(&format!("{}: {approved}", in_line(&task["taskId"])));
        }
    }
    if told["isComplete"] == false {
        printer::notice("a part of the history is no longer kept, or is longer than is read");
    }
    Ok(())
}

/// The names of the agents that had tasks; those that are gone stay ids.
async fn names(context: &Context, told: &Value) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for span in tasks(told).flat_map(spans) {
        let Some(id) = span["agentId"].as_str().filter(|id| !names.contains_key(*id)) else { continue };
        let name = context.client.agent(id).await.map(|agent| agent.agent_name);
        names.insert(id.to_owned(), name.unwrap_or_else(|_| id.to_owned()));
    }
    names
}

fn tasks(told: &Value) -> impl Iterator<Item = &Value> {
    told["tasks"].as_array().into_iter().flatten()
}

fn spans(task: &Value) -> impl Iterator<Item = &Value> {
    task["spans"].as_array().into_iter().flatten()
}

fn moment(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?).ok()
}

/// The table over a session; within 80 columns, but for tasks with long names.
fn table(told: &Value, names: &BTreeMap<String, String>, now: Timestamp, style: Style) -> Vec<String> {
    let Some(begin) = moment(&told["startedAt"]) else { return Vec::new() };
    let end = moment(&told["endedAt"]).unwrap_or(now);
    let scale = Scale { begin, length: end.since(begin) };
    let rows: Vec<Row> = tasks(told).map(|task| Row::of(task, names, &scale, end)).collect();
    let width = |part: fn(&Row) -> &str, least: usize| {
        rows.iter().map(|row| part(row).chars().count()).max().unwrap_or_default().clamp(least, NAME_MAX)
    };
    let (task, agent) = (width(|row| &row.task, 4), width(|row| &row.agent, 5));
    let head = format!(
        "{:<task$}  {:<agent$} {:>5} {:>8} {:>8}  {:<gap$}{}",
        "task",
        "agent",
        "tries",
        "waited",
        "took",
        "0 s",
        seconds(scale.length),
        gap = BAR.saturating_sub(seconds(scale.length).len()),
    );
    let line = |row: &Row| {
        let tries = format!("{:>5}", row.tries);
        let tries = if row.tries > 1 { style.yellow(&tries) } else { tries };
        let text = format!(
            "{:<task$}  {:<agent$} {tries} {:>8} {:>8}  {}",
            cut(&row.task),
            cut(&row.agent),
            row.waited.map(seconds).unwrap_or_default(),
            row.took.map(seconds).unwrap_or_default(),
            bar(&row.cells, style)
        );
        text.trim_end().to_owned()
    };
    let lines = [style.dim(&head)].into_iter().chain(rows.iter().map(line));
    lines.chain(legend(&rows, style).map(|legend| style.dim(&legend))).collect()
}

/// What the marks mean that are drawn, but for work's, which explains itself.
fn legend(rows: &[Row], style: Style) -> Option<String> {
    let is_drawn = |shown| rows.iter().any(|row| row.cells.contains(&Some(shown)));
    let parts = [
        (Shown::Waiting, format!("{} waited", style.pick("·", "."))),
        (Shown::Lost, format!("{} lost: it failed, or its agent was gone", style.pick("░", "x"))),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(shown, _)| is_drawn(*shown)).map(|(_, text)| text).collect();
    (!parts.is_empty()).then(|| parts.join("   "))
}

fn cut(name: &str) -> String {
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    let kept: String = name.chars().take(NAME_MAX - 1).collect();
    format!("{kept}~")
}

fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

struct Scale {
    begin: Timestamp,
    length: Duration,
}

impl Scale {
    /// The column that a point in time falls into.
    fn column(&self, at: Timestamp) -> usize {
        let share = at.since(self.begin).as_secs_f64() / self.length.as_secs_f64().max(f64::EPSILON);
        ((share * BAR as f64) as usize).min(BAR - 1)
    }
}

/// What a column of the bar shows; later ones are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Waiting,
    Working,
    Lost,
}

struct Row {
    task: String,
    agent: String,
    tries: usize,
    waited: Option<Duration>,
    took: Option<Duration>,
    cells: [Option<Shown>; BAR],
}

impl Row {
    fn of(task: &Value, names: &BTreeMap<String, String>, scale: &Scale, end: Timestamp) -> Self {
        let mut row = Self {
            task: task["taskId"].as_str().unwrap_or_default().to_owned(),
            agent: String::new(),
            tries: 0,
            waited: None,
            took: None,
            cells: [None; BAR],
        };
        let mut attempts = std::collections::BTreeSet::new();
        for span in spans(task) {
            let Some(from) = moment(&span["start"]) else { continue };
            let to = moment(&span["end"]).unwrap_or(end);
            let length = to.since(from);
            let shown = match span["kind"].as_str() {
                Some("dispatched" | "running") => {
                    let outcome = span["outcome"].as_str();
                    attempts.insert(span["attempt"].as_u64());
                    // What was taken back had an agent that was gone: nobody worked on it, as far as is known.
                    let sum = if outcome == Some("returned") { &mut row.waited } else { &mut row.took };
                    *sum.get_or_insert_default() += length;
                    let is_lost = matches!(outcome, Some("failed" | "retrying" | "returned" | "cancelled"));
                    if is_lost { Shown::Lost } else { Shown::Working }
                }
                _ => {
                    *row.waited.get_or_insert_default() += length;
                    Shown::Waiting
                }
            };
            if let Some(agent) = span["agentId"].as_str() {
                row.agent = names.get(agent).map_or(agent, String::as_str).to_owned();
            }
            row.cells[scale.column(from)..=scale.column(to)].fill(Some(shown));
        }
        row.tries = attempts.len();
        row
    }
}

fn bar(cells: &[Option<Shown>], style: Style) -> String {
    let used = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let paint = |cell: &Option<Shown>| match cell {
        None => " ".to_owned(),
        Some(Shown::Waiting) => style.dim(style.pick("·", ".")),
        Some(Shown::Working) => style.cyan(style.pick("█", "#")),
        Some(Shown::Lost) => style.red(style.pick("░", "x")),
    };
    cells[..used].iter().map(paint).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_and_bars_show_what_was_lost() {
        let at = |second: u32| format!("1970-01-01T00:00:{second:02}Z");
        let span = |kind: &str, from: u32, to: u32, attempt: u32, outcome: &str| json!({"kind": kind, "start": at(from), "end": at(to), "attempt": attempt, "agentId": "agt_1", "outcome": outcome});
        let told = json!({"startedAt": at(0), "endedAt": at(12), "tasks": [
            {"taskId": "split", "spans": [span("dispatched", 0, 1, 1, "running"), span("running", 1, 3, 1, "completed")]},
            {"taskId": "read", "spans": [
                {"kind": "waiting", "start": at(0), "end": at(3), "attempt": 1},
                span("running", 3, 5, 1, "failed"), span("running", 5, 6, 1, "returned"), span("running", 9, 12, 2, "completed")]},
            {"taskId": "a task with a very long name", "spans": []}]});
        let names = BTreeMap::from([("agt_1".to_owned(), "reader".to_owned())]);
        let plain = Style { colour: false, unicode: false, live: false };
        let lines = table(&told, &names, Timestamp::from_seconds(20), plain);
        assert_eq!(
            lines,
            [
                "task              agent  tries   waited     took  0 s              12.00 s",
                "split             reader     1            3.00 s  #######",
                "read              reader     2   4.00 s   5.00 s  ......xxxxxxx     ######",
                "a task with a v~             0",
                ". waited   x lost: it failed, or its agent was gone",
            ]
        );
        assert!(lines.iter().all(|line| line.len() <= 80));
    }
}
