//! The table at the end: each task's agent, tries, times and a bar over the whole time. Pure: from the
//! story to lines of text.

use std::time::Duration;

use signalbox_client::Timestamp;

use super::columns::Columns;
use crate::story::{Step, Story};
use crate::style::Style;

/// Columns of the bar.
const BAR: usize = 22;

/// The table over a session, in the order in which its tasks began; within 80 columns. Where there are fewer, without
/// the start and the bar, which is within 48.
pub(super) fn table(story: &Story, style: Style, columns: Columns) -> Vec<String> {
    let steps = story.steps();
    let begin = steps.iter().filter_map(|step| step.tries.first()).map(|first| first.given).min();
    let end = steps.iter().filter_map(|step| step.span()).map(|(_, end)| end).max();
    let (Some(begin), Some(end)) = (begin, end) else { return Vec::new() };
    let scale = Scale { begin, length: end.since(begin) };
    let task_width = steps.iter().map(|step| step.task.len()).max().unwrap_or_default().max(4);
    let is_short = columns.are_few();
    let whole_head = format!(
        "{:<task_width$}  {:<8} {:>5}  {:>7}  {:>7}  {:<9}  {:<width$}{:>8}",
        "task",
        "agent",
        "tries",
        "start",
        "took",
        "status",
        "0 s",
        seconds(scale.length),
        width = BAR - 8,
    );
    let short_head =
        || format!("{:<task_width$}  {:<8} {:>5}  {:>7}  status", "task", "agent", "tries", "took");
    let head = if is_short { short_head() } else { whole_head };
    let mut steps: Vec<_> = steps.iter().collect();
    steps.sort_by_key(|step| step.tries.first().map_or(end, |first| first.given));
    let rows = steps.into_iter().map(|step| row(step, &scale, (task_width, is_short), style));
    [style.dim(&head)].into_iter().chain(rows).collect()
}

/// Seconds with two decimals.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

struct Scale {
    begin: Timestamp,
    length: Duration,
}

impl Scale {
    /// The column that a point in time falls into.
    fn column(&self, at: Timestamp) -> usize {
        let share = at.since(self.begin).as_secs_f64() / self.length.as_secs_f64().max(f64::EPSILON);
        let column = (share * BAR as f64) as usize;
        column.min(BAR - 1)
    }
}

fn row(step: &Step, scale: &Scale, (task_width, is_short): (usize, bool), style: Style) -> String {
    let agent = step.tries.last().map_or("", |last| last.agent.as_str());
    let start = step.tries.first().map(|first| seconds(first.given.since(scale.begin)));
    let took = step.span().map(|(begin, end)| seconds(end.since(begin)));
    let status = format!("{:<9}", step.status);
    let status = if step.is_done() { style.green(&status) } else { style.red(&status) };
    let tries = format!("{:>5}", step.tries.len());
    let tries = if step.tries.len() > 1 { style.yellow(&tries) } else { tries };
    if is_short {
        let took = took.unwrap_or_default();
        return format!("{:<task_width$}  {agent:<8} {tries}  {took:>7}  {status}", step.task);
    }
    format!(
        "{:<task_width$}  {agent:<8} {tries}  {:>7}  {:>7}  {status}  {}",
        step.task,
        start.unwrap_or_default(),
        took.unwrap_or_default(),
        bar(step, scale, style)
    )
}

/// What each column of the bar shows: later tries are drawn over earlier ones.
fn bar(step: &Step, scale: &Scale, style: Style) -> String {
    let mut cells = [None; BAR];
    for one in &step.tries {
        let (end, with_result) = one.ended.unwrap_or((one.given, false));
        cells[scale.column(one.given)..=scale.column(end)].fill(Some(with_result));
    }
    let used = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let paint = |cell: &Option<bool>| match cell {
        None => " ".to_owned(),
        Some(true) => style.cyan(style.pick("█", "#")),
        Some(false) => style.red(style.pick("░", "x")),
    };
    cells[..used].iter().map(paint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::tests::{event, started, told};

    const PLAIN: Style = Style { colour: false, unicode: false, live: false };

    fn table(story: &Story, style: Style) -> Vec<String> {
        super::table(story, style, Columns::of(None))
    }

    #[test]
    fn a_narrow_table_has_what_matters() {
        let expected = [
            "task  agent    tries     took  status",
            "a[0]  reader-1     1   2.00 s  completed",
            "a[1]  reader-2     2   6.00 s  completed",
            "c                  0           waiting  ",
        ];
        assert_eq!(super::table(&told(), PLAIN, Columns::of(Some(50))), expected);
    }

    #[test]
    fn columns_line_up_and_bars_show_what_was_lost() {
        let expected = [
            "task  agent    tries    start     took  status     0 s             8.00 s",
            "a[0]  reader-1     1   0.00 s   2.00 s  completed  ######",
            "a[1]  reader-2     2   2.00 s   6.00 s  completed       xxxxxxxxx  ######",
            "c                  0                    waiting    ",
        ];
        assert_eq!(table(&told(), PLAIN), expected);
    }

    #[test]
    fn rows_come_in_the_order_in_which_tasks_began() {
        let mut story = Story::default();
        story.apply(&started(&["a", "b", "c"]));
        for (task, second) in [("c", 1), ("a", 2)] {
            story.apply(&event("task.dispatched", task, "x", second));
            story.apply(&event("task.completed", task, "x", second + 1));
        }
        let order: Vec<_> = table(&story, PLAIN)[1..].iter().map(|row| row[..1].to_owned()).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn an_instant_has_a_bar_too_and_nothing_has_no_table() {
        let mut story = Story::default();
        assert_eq!(table(&story, PLAIN), Vec::<String>::new());
        story.apply(&started(&["a"]));
        story.apply(&event("task.dispatched", "a", "x", 0));
        story.apply(&event("task.completed", "a", "x", 0));
        assert!(table(&story, PLAIN)[1].ends_with('#'));
    }
}
