//! What a session waits for, said once each time that it changes to somebody who waits for the session; with the command
//! that lets it go on, where there is one.

use std::collections::BTreeMap;
use std::time::Duration;

use signalbox_client::Timestamp;

use super::moments::left;
use crate::story::{Awaited, Held, Story, Wait};

/// How long a wait lasts before it is said: one that is over at once is nobody's business, and a history that is read
/// again has many.
const PATIENCE: Duration = Duration::from_millis(400);
/// The same for a wait that mostly ends by itself soon.
const PATIENCE_FOR_AGENTS: Duration = Duration::from_millis(1_500);
/// Waits that are told of at once, at most.
const TOLD_MAX: usize = 5;

/// What was said of what a session waits for.
pub(crate) struct Waiting<'a> {
    session: &'a str,
    /// Whether only that is said which there is a command for: the rest is told elsewhere.
    needs_command: bool,
    /// The waits that there are, by what is said of each.
    known: BTreeMap<String, Known>,
}

struct Known {
    since: Timestamp,
    is_said: bool,
}

/// One wait, as it is said.
struct Line {
    /// What makes it another one.
    key: String,
    words: String,
    patience: Duration,
    has_command: bool,
    /// Whether nobody is there who could end it.
    needs_somebody: bool,
}

impl<'a> Waiting<'a> {
    /// Of a session; `needs_command` leaves out what nobody can do anything about.
    pub(crate) fn of(session: &'a str, needs_command: bool) -> Self {
        Self { session, needs_command, known: BTreeMap::new() }
    }

    /// What is to be said now.
    pub(crate) fn news(&mut self, story: &Story, now: Timestamp) -> Vec<String> {
        let lines = lines(self.session, story, now);
        self.known.retain(|key, _| lines.iter().any(|line| line.key == *key));
        let mut news = Vec::new();
        for line in lines {
            let known = self.known.entry(line.key).or_insert(Known { since: now, is_said: false });
            let is_due = now.since(known.since) >= line.patience && news.len() < TOLD_MAX;
            if !known.is_said && is_due && (line.has_command || line.needs_somebody || !self.needs_command) {
                known.is_said = true;
                news.push(line.words);
            }
        }
        news
    }
}

/// What there is a command for, as it stands now, line by line.
pub(crate) fn commands(session: &str, story: &Story, now: Timestamp) -> Vec<String> {
    let lines = lines(session, story, now).into_iter().filter(|line| line.has_command).take(TOLD_MAX);
    lines.flat_map(|line| line.words.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// All that the session waits for: what somebody can do something about first.
fn lines(session: &str, story: &Story, now: Timestamp) -> Vec<Line> {
    let held = story.held().map(|held| match held {
        Held::Paused => Line {
            key: "paused".to_owned(),
            words: format!("waiting for somebody to resume it\n  signalbox sessions resume {session}"),
            patience: PATIENCE,
            has_command: true,
            needs_somebody: true,
        },
        Held::Queued => Line {
            key: "queued".to_owned(),
            words: "waiting for its turn among sessions like it".to_owned(),
            patience: PATIENCE_FOR_AGENTS,
            has_command: false,
            needs_somebody: false,
        },
    });
    let mut waits: Vec<(&str, &Wait)> =
        story.steps().iter().filter_map(|step| Some((step.task.as_str(), step.wait.as_ref()?))).collect();
    waits.sort_by_key(|(_, wait)| match wait.awaited {
        Awaited::Approval | Awaited::Signal(_) => 0,
        Awaited::Again => 1,
        Awaited::Other => 2,
    });
    held.into_iter().chain(waits.into_iter().map(|(task, wait)| line(session, task, wait, now))).collect()
}

fn line(session: &str, task: &str, wait: &Wait, now: Timestamp) -> Line {
    let Wait { words, awaited, detail, until, why } = wait;
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    let word = quoted(task);
    let command = match awaited {
        Awaited::Approval => Some(format!("signalbox sessions approve {session} {word}")),
        Awaited::Signal(signal) => Some(format!("signalbox sessions signal {session} {}", quoted(signal))),
        Awaited::Again | Awaited::Other => None,
    };
    let left = until.filter(|until| *until > now).map(|until| left(until.since(now)));
    let left = match (left, awaited) {
        (Some(left), Awaited::Again) => format!("; next try in {left}"),
        (Some(left), _) => format!("; {left} left"),
        (None, _) => String::new(),
    };
    // Many tasks wait for the same agents: that is said once.
    let key = match awaited {
        Awaited::Other if until.is_none() => format!("{words} {}", why.is_empty()),
        _ => format!("{task} {words}{detail}"),
    };
    let told = format!("waiting for {} (task {task}){detail}{left}", wait.shown());
    let patience = if *awaited == Awaited::Other { PATIENCE_FOR_AGENTS } else { PATIENCE };
    let has_command = command.is_some();
    let words = command.map_or(told.clone(), |command| format!("{told}\n  {command}"));
    Line { key, words, patience, has_command, needs_somebody: !why.is_empty() }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain =
        !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() || "_-.:/".contains(letter));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use signalbox_client::{EventData, EventView};

    use super::*;
    use crate::story::tests::{event, started};

    fn waits(task: &str, words: &str) -> EventView {
        let data = EventData { waiting_for: Some(words.to_owned()), ..EventData::default() };
        EventView { data, ..event("task.begun", task, "", 0) }
    }

    #[test]
    fn a_wait_is_said_once_and_with_its_command() {
        let mut story = Story::default();
        story.apply(&started(&["a[0]", "b"]));
        story.apply(&waits("a[0]", "the signal 'go'"));
        let mut waiting = Waiting::of("ses_1", false);
        let at = |millis: i64| Timestamp::from_micros(millis * 1_000);
        assert!(waiting.news(&story, at(0)).is_empty(), "it may be over at once");
        let said = waiting.news(&story, at(1_000));
        assert_eq!(said, ["waiting for the signal 'go' (task a[0])\n  signalbox sessions signal ses_1 go"]);
        assert!(waiting.news(&story, at(2_000)).is_empty(), "it was said");
        let mut asked = waits("a[0]", "an approval by finance");
        asked.data.approval = Some(Default::default());
        story.apply(&asked);
        waiting.news(&story, at(3_000));
        let said = waiting.news(&story, at(4_000));
        assert!(said[0].ends_with("\n  signalbox sessions approve ses_1 'a[0]'"), "{said:?}");
        assert_eq!(commands("ses_1", &story, at(0)).len(), 2);
    }

    #[test]
    fn what_many_tasks_wait_for_is_said_once() {
        let mut story = Story::default();
        story.apply(&started(&["a", "b"]));
        for task in ["a", "b"] {
            let data = EventData { waiting_for: Some("any available agent".into()), ..EventData::default() };
            story.apply(&EventView { data, ..event("task.waiting", task, "", 0) });
        }
        let mut waiting = Waiting::of("ses_1", false);
        waiting.news(&story, Timestamp::from_seconds(0));
        assert_eq!(
            waiting.news(&story, Timestamp::from_seconds(5)),
            ["waiting for any available agent (task a)"]
        );
        let mut waiting = Waiting::of("ses_1", true);
        waiting.news(&story, Timestamp::from_seconds(0));
        assert!(waiting.news(&story, Timestamp::from_seconds(5)).is_empty(), "there is no command for it");
        story.explain("b", "an agent: none is registered");
        waiting.news(&story, Timestamp::from_seconds(6));
        assert_eq!(
            waiting.news(&story, Timestamp::from_seconds(9)),
            ["waiting for an agent: none is registered (task b)"]
        );
    }
}
