//! What the demo prints: lines with the time since the start and, on a terminal, a display below them that
//! redraws itself. A closed pipe or terminal ends no run: what cannot be shown is not shown.

use std::io::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use signalbox_client::EventView;
use tokio::time::Instant;

use super::columns::Columns;
use crate::story::Story;
use crate::style::{Mark, Style};

/// Columns of a progress bar, at most.
const BAR: usize = 40;
/// Columns of what stands beside it.
const BESIDE_BAR: usize = 24;
/// Columns of what a line with a time begins with.
const TIMED: usize = 14;

/// The demo's output.
pub(super) struct Screen {
    pub(super) style: Style,
    pub(super) columns: Columns,
    started: Instant,
    live: Option<Live>,
}

/// The display below the lines.
struct Live {
    lines: MultiProgress,
    agents: Vec<ProgressBar>,
    tasks: ProgressBar,
    files: ProgressBar,
}

/// An agent as the display shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor<'a> {
    pub(super) name: &'static str,
    /// Its process, unless it is down.
    pub(super) pid: Option<u32>,
    /// What it does in words, where the story does not tell.
    pub(super) doing: Option<&'a str>,
}

impl Screen {
    pub(super) fn new(style: Style, columns: Columns) -> Self {
        Self { style, columns, started: Instant::now(), live: None }
    }

    /// A line without a time.
    pub(super) fn line(&self, text: &str) {
        let blanks = text.trim_start_matches('\n');
        self.broken(text, blanks.len() - blanks.trim_start().len());
    }

    /// A line in as many as it takes, the further ones after so many blanks.
    pub(super) fn broken(&self, text: &str, indent: usize) {
        let text = self.columns.broken(text, indent);
        match &self.live {
            Some(live) => drop(live.lines.println(text)),
            None => drop(writeln!(std::io::stdout(), "{text}")),
        }
    }

    /// Something that happened just now.
    pub(super) fn step(&self, mark: Mark, text: &str) {
        let time = format!("{:>6.2} s", self.started.elapsed().as_secs_f64());
        let indent = if self.columns.are_few() { 4 } else { TIMED };
        self.broken(&format!("  {}  {} {text}", self.style.dim(&time), self.style.mark(mark)), indent);
    }

    /// An event of the server's; where lines are all there is, with its type, for whoever searches them.
    pub(super) fn event(&self, mark: Mark, event: &EventView, story: &Story) {
        let words = story.in_words(event);
        if self.style.live {
            self.step(mark, &words);
        } else if self.columns.are_few() {
            self.step(mark, &format!("{} {words}", event.kind));
        } else {
            self.step(mark, &format!("{:<17} {words}", event.kind));
        }
    }

    /// Begins the display; before and after it there are only lines.
    pub(super) fn open(&mut self, agents: usize) {
        if !self.style.live {
            return;
        }
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let template =
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let add = || {
            let line = lines.add(ProgressBar::new_spinner());
            line.set_style(template.clone());
            line
        };
        let agents = (0..agents).map(|_| add()).collect();
        let (tasks, files) = (add(), add());
        self.live = Some(Live { lines, agents, tasks, files });
    }

    /// Draws how things stand.
    pub(super) fn draw(&self, story: &Story, actors: &[Actor<'_>]) {
        let Some(live) = &self.live else { return };
        for (line, actor) in live.agents.iter().zip(actors) {
            line.set_message(self.actor(story, *actor));
        }
        live.tasks.set_message(self.progress("tasks", story.settled(), story.steps().len()));
        live.files.set_message(self.progress("files", story.files_done(), story.files()));
    }

    /// Ends the display and leaves the lines.
    pub(super) fn close(&mut self) {
        if let Some(live) = self.live.take() {
            drop(live.lines.clear());
        }
    }

    /// How long the demo has been running.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn actor(&self, story: &Story, actor: Actor<'_>) -> String {
        let style = self.style;
        let pid = actor.pid.map_or_else(String::new, |pid| format!("pid {pid}"));
        let (dot, doing) = match (actor.pid, actor.doing, story.in_hand(actor.name)) {
            (None, doing, _) => (style.red(style.pick("●", "x")), style.red(doing.unwrap_or("down"))),
            (_, Some(doing), _) => (style.yellow(style.pick("●", "~")), doing.to_owned()),
            (_, None, Some((step, nth))) => {
                let files = if step.files > 0 { format!(", {} files", step.files) } else { String::new() };
                let again = if nth > 1 { style.yellow(&format!(", try {nth}")) } else { String::new() };
                (style.green(self.spinner()), format!("{}{files}{again}", step.task))
            }
            (_, None, None) => (style.dim(style.pick("○", "o")), style.dim("idle")),
        };
        let done = match story.done_by(actor.name) {
            0 => String::new(),
            done => format!("{done} done"),
        };
        let known =
            if self.columns.are_few() { format!("{done:>7}") } else { format!("{pid:<11} {done:>7}") };
        format!("  {:<8} {dot} {}  {doing}", actor.name, style.dim(&known))
    }

    fn progress(&self, name: &str, done: usize, of: usize) -> String {
        let bar = self.columns.beside(BESIDE_BAR, BAR);
        let filled = (bar * done).checked_div(of).unwrap_or(bar);
        let full = self.style.cyan(&self.style.pick("━", "=").repeat(filled));
        let rest = self.style.dim(&self.style.pick("─", "-").repeat(bar - filled));
        format!("  {name:<8} {full}{rest} {done}/{of}")
    }

    fn spinner(&self) -> &'static str {
        let frames: &[&str] =
            if self.style.unicode { &["◐", "◓", "◑", "◒"] } else { &["|", "/", "-", "\\"] };
        let turn = usize::try_from(self.started.elapsed().as_millis() / 120).unwrap_or_default();
        frames[turn % frames.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::tests::{event, told};

    fn screen() -> Screen {
        wide(None)
    }

    fn wide(columns: Option<usize>) -> Screen {
        Screen::new(Style { colour: false, unicode: false, live: false }, Columns::of(columns))
    }

    #[tokio::test]
    async fn the_display_holds_at_50_columns() {
        let mut story = told();
        story.apply(&event("task.dispatched", "c", "agt_1", 9));
        let reader = Actor { name: "reader-1", pid: Some(4_194_304), doing: None };
        let screen = wide(Some(50));
        assert_eq!(screen.actor(&story, reader), "  reader-1 |  1 done  c");
        for line in [screen.actor(&story, reader), screen.progress("files", 2_000, 2_500)] {
            assert!(line.len() <= 50, "{line}");
        }
    }

    #[tokio::test]
    async fn an_agent_s_line_says_what_it_does() {
        let mut story = told();
        let reader = Actor { name: "reader-1", pid: Some(7), doing: None };
        assert_eq!(screen().actor(&story, reader), "  reader-1 o pid 7        1 done  idle");
        story.apply(&event("task.dispatched", "c", "agt_1", 9));
        assert!(screen().actor(&story, reader).ends_with("  c"));
        story.apply(&event("task.dispatched", "c", "agt_1", 10));
        assert!(screen().actor(&story, reader).ends_with("  c, try 2"));
        let down = Actor { pid: None, doing: Some("killed"), ..reader };
        assert_eq!(screen().actor(&story, down), "  reader-1 x              1 done  killed");
    }

    #[tokio::test]
    async fn bars_keep_their_length() {
        for (done, of) in [(0, 13), (7, 13), (13, 13), (0, 0)] {
            let line = screen().progress("tasks", done, of);
            assert_eq!(line.matches(['=', '-']).count(), BAR, "{line}");
        }
        assert!(screen().progress("files", 5, 10).ends_with(" 5/10"));
    }
}
