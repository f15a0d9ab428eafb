//! What the session's events tell: [`Story`] keeps the tasks, and for each its tries and how they ended. Pure,
//! fed by events alone, so that what is shown is what the server recorded.

use std::collections::BTreeMap;

use serde_json::Value;
use signalbox_client::{EventTask, EventView, Timestamp};

/// A session as told by its events.
#[derive(Debug, Default)]
pub(crate) struct Story {
    steps: Vec<Step>,
    /// Agents' names by their ids.
    names: BTreeMap<String, String>,
    /// What the session waits for as a whole.
    held: Option<Held>,
}

/// Why no task of a session starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Somebody paused it.
    Paused,
    /// As many sessions like it run as may.
    Queued,
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// For what, in words.
    pub(crate) words: String,
    /// What that is.
    pub(crate) awaited: Awaited,
    /// What more is known of it: what is to be approved, or why it failed.
    pub(crate) detail: String,
    /// When it ends or goes on by itself.
    pub(crate) until: Option<Timestamp>,
    /// The same words with why nobody takes it, where that is known.
    pub(crate) why: String,
}

impl Wait {
    fn of(words: String, awaited: Awaited, detail: String, until: Option<Timestamp>) -> Self {
        Self { words, awaited, detail, until, why: String::new() }
    }

    /// What is said of it.
    pub(crate) fn shown(&self) -> &str {
        if self.why.is_empty() { &self.words } else { &self.why }
    }

    /// Whether it is for an agent that takes a task.
    fn is_for_agent(&self) -> bool {
        let words = &self.words;
        self.awaited == Awaited::Other
            && self.until.is_none()
            && (words.starts_with("an available agent")
                || words == "any available agent"
                || (words.starts_with("agent ") && words.ends_with(" to be available")))
    }
}

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// That somebody approves.
    Approval,
    /// A signal, by its name.
    Signal(String),
    /// That what failed is tried again.
    Again,
    /// Anything else: an agent, a moment.
    Other,
}

/// One task, or one instance of a task that is done for each item of a list.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its id in the session, such as `read[3]`.
    pub(crate) task: String,
    /// How many files it is about.
    pub(crate) files: usize,
    /// The last thing that happened to it, such as `running`.
    pub(crate) status: String,
    /// Who was given it, in order.
    pub(crate) tries: Vec<Try>,
    /// What it waits for.
    pub(crate) wait: Option<Wait>,
}

/// One time that a task was given to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Try {
    /// The agent's name.
    pub(crate) agent: String,
    /// When it was given the task.
    pub(crate) given: Timestamp,
    /// When that ended, and whether with a result.
    pub(crate) ended: Option<(Timestamp, bool)>,
}

impl Story {
    /// Of tasks that these agents do.
    pub(crate) fn new(names: BTreeMap<String, String>) -> Self {
        Self { steps: Vec::new(), names, held: None }
    }

    /// Takes the next event.
    pub(crate) fn apply(&mut self, event: &EventView) {
        match event.kind.as_str() {
            "session.started" => self.steps = steps(event),
            "session.paused" => self.held = Some(Held::Paused),
            "session.queued" => self.held = Some(Held::Queued),
            "session.resumed" | "session.admitted" | "session.retried" => self.held = None,
            "task.expanded" => self.expand(event),
            _ => self.tell(event),
        }
    }

    /// A task that is done for each item of a list stands for nothing but its instances.
    fn expand(&mut self, event: &EventView) {
        let position = self.steps.iter().position(|step| Some(&step.task) == event.task_id.as_ref());
        if let Some(position) = position {
            self.steps.splice(position..=position, steps(event));
        }
    }

    fn tell(&mut self, event: &EventView) {
        let (Some(task), at) = (&event.task_id, event.timestamp) else { return };
        let agent = event.agent_id.as_ref().map(|id| self.name(id.as_str()));
        let wait = self.wait(event);
        let Some(step) = self.steps.iter_mut().find(|step| step.task == *task) else { return };
        match event.kind.strip_prefix("task.") {
            Some("dispatched") => step.give(agent.unwrap_or_default(), at),
            Some("completed") => step.end(at, true),
            Some("failed" | "retrying" | "returned" | "cancelled") => step.end(at, false),
            _ => {}
        }
        match event.kind.strip_prefix("task.") {
            Some("progress") => {}
            Some("begun") => "waiting".clone_into(&mut step.status),
            Some(status) => status.clone_into(&mut step.status),
            None => {}
        }
        if event.kind != "task.progress" {
            step.wait = wait;
        }
    }

    /// What a task waits for from this event on.
    fn wait(&self, event: &EventView) -> Option<Wait> {
        let data = &event.data;
        let words = || data.waiting_for.as_deref().map(|words| self.with_names(words));
        let error = data.error.clone().unwrap_or_else(|| "no reason was kept".to_owned());
        match event.kind.as_str() {
            "task.waiting" => Some(Wait::of(words()?, Awaited::Other, String::new(), None)),
            "task.begun" => {
                let words = words()?;
                let signal = words.strip_prefix("the signal '").and_then(|rest| rest.strip_suffix('\''));
                let what = data.approval.as_ref().and_then(|asked| asked.what.clone()).unwrap_or_default();
                let (awaited, detail) = match (&data.approval, signal) {
                    (Some(_), _) => (Awaited::Approval, what),
                    (None, Some(signal)) => (Awaited::Signal(signal.to_owned()), String::new()),
                    (None, None) => (Awaited::Other, String::new()),
                };
                // What is to be approved is told beside the words, not in them too.
                let words = words.strip_suffix(&format!(": {detail}")).unwrap_or(&words).to_owned();
                Some(Wait::of(words, awaited, detail, data.waits_until))
            }
            "task.retrying" => {
                let detail = format!("attempt {} failed: {error}", attempt(event));
                let words = "its next attempt".to_owned();
                Some(Wait::of(words, Awaited::Again, detail, data.retry_at))
            }
            "delivery.failed" => {
                let agent =
                    event.agent_id.as_ref().map_or("its agent".to_owned(), |id| self.name(id.as_str()));
                let detail = match data.tries {
                    Some(1) | None => format!("tried once: {error}"),
                    Some(tries) => format!("tried {tries} times, last: {error}"),
                };
                let words = format!("agent {agent} to take it");
                Some(Wait::of(words, Awaited::Again, detail, data.retry_at))
            }
            _ => None,
        }
    }

    /// Whether a task waits for an agent to take it.
    pub(crate) fn waits_for_agents(&self) -> bool {
        self.steps.iter().any(|step| step.wait.as_ref().is_some_and(Wait::is_for_agent))
    }

    /// Takes what the server says of why nobody takes a task.
    pub(crate) fn explain(&mut self, task: &str, words: &str) {
        let words = self.with_names(words);
        let step = self.steps.iter_mut().find(|step| step.task == task);
        if let Some(wait) = step.and_then(|step| step.wait.as_mut()).filter(|wait| wait.is_for_agent()) {
            wait.why = if words == wait.words { String::new() } else { words };
        }
    }

    fn name(&self, agent: &str) -> String {
        self.names.get(agent).map_or(agent, String::as_str).to_owned()
    }

    /// What an event says, with agents' names for their ids.
    pub(crate) fn in_words(&self, event: &EventView) -> String {
        self.with_names(&event.message)
    }

    /// A text with agents' names for their ids.
    pub(crate) fn with_names(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (id, name)| {
            text.replace(&format!("'{name}' ({id})"), name).replace(id, name)
        })
    }

    /// Why no task of it starts, where none does.
    pub(crate) fn held(&self) -> Option<Held> {
        self.held
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Tasks that are done.
    pub(crate) fn settled(&self) -> usize {
        self.steps.iter().filter(|step| step.is_done()).count()
    }

    /// Files of the tasks that are done.
    pub(crate) fn files_done(&self) -> usize {
        self.steps.iter().filter(|step| step.is_done()).map(|step| step.files).sum()
    }

    /// Files of all tasks.
    pub(crate) fn files(&self) -> usize {
        self.steps.iter().map(|step| step.files).sum()
    }

    /// Tasks that an agent brought to their end.
    pub(crate) fn done_by(&self, agent: &str) -> usize {
        let did = |step: &&Step| step.is_done() && step.tries.last().is_some_and(|last| last.agent == agent);
        self.steps.iter().filter(did).count()
    }

    /// What an agent has in hand: the task, and which try it is.
    pub(crate) fn in_hand(&self, agent: &str) -> Option<(&Step, usize)> {
        let has =
            |step: &&Step| step.tries.last().is_some_and(|last| last.agent == agent && last.ended.is_none());
        self.steps.iter().find(has).map(|step| (step, step.tries.len()))
    }
}

impl Step {
    pub(crate) fn is_done(&self) -> bool {
        self.status == "completed"
    }

    /// From when it was first given out until it was settled.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let ended = self.tries.iter().filter_map(|one| one.ended).next_back()?;
        Some((self.tries.first()?.given, ended.0))
    }

    fn give(&mut self, agent: String, at: Timestamp) {
        self.end(at, false);
        self.tries.push(Try { agent, given: at, ended: None });
    }

    /// Ends the open try, if there is one.
    fn end(&mut self, at: Timestamp, with_result: bool) {
        if let Some(open) = self.tries.last_mut().filter(|last| last.ended.is_none()) {
            open.ended = Some((at, with_result));
        }
    }
}

/// The tasks that an event brings; an instance is about as many files as its item is long.
fn steps(event: &EventView) -> Vec<Step> {
    event.data.tasks.iter().flatten().map(step).collect()
}

fn step(task: &EventTask) -> Step {
    let files = task.item.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    Step { task: task.task_id.clone(), files, status: "pending".to_owned(), ..Step::default() }
}

/// Which try of its task an event is about.
pub(crate) fn attempt(event: &EventView) -> u32 {
    event.data.attempt.unwrap_or_default()
}

/// Whether an event is worth a line of its own where the display already shows the usual ones.
pub(crate) fn is_notable(event: &EventView) -> bool {
    let usual = [
        "session.started",
        "task.expanded",
        "task.waiting",
        "task.dispatched",
        "task.running",
        "task.completed",
        "session.completed",
    ];
    !usual.contains(&event.kind.as_str()) || (attempt(event) > 1 && event.kind != "task.running")
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;
    use signalbox_client::{EventData, LogLevel};
    use signalbox_wire::id::AgentId;

    use super::*;

    /// An event of a task, this many seconds after the beginning.
    pub(crate) fn event(kind: &str, task: &str, agent: &str, second: i64) -> EventView {
        EventView {
            sequence: 1,
            kind: kind.to_owned(),
            timestamp: Timestamp::from_seconds(second),
            level: LogLevel::Info,
            session_id: None,
            agent_id: AgentId::parse(agent).ok(),
            task_id: Some(task.to_owned()),
            message: String::new(),
            data: EventData::default(),
        }
    }

    /// The same with tasks, each with its item.
    fn with_tasks(event: EventView, tasks: &[(&str, Value)]) -> EventView {
        let task = |(task, item): &(&str, Value)| EventTask {
            task_id: (*task).to_owned(),
            name: None,
            item: Some(item.clone()),
        };
        EventView {
            data: EventData { tasks: Some(tasks.iter().map(task).collect()), ..EventData::default() },
            ..event
        }
    }

    /// The beginning of a session of these tasks.
    pub(crate) fn started(tasks: &[&str]) -> EventView {
        let tasks: Vec<_> = tasks.iter().map(|task| (*task, Value::Null)).collect();
        with_tasks(event("session.started", "", "", 0), &tasks)
    }

    /// `a` is done for two items: the first at once, the second is lost by one reader and done by another.
    pub(crate) fn told() -> Story {
        let names = [("agt_1", "reader-1"), ("agt_2", "reader-2")];
        let names = names.map(|(id, name)| (id.to_owned(), name.to_owned()));
        let mut story = Story::new(BTreeMap::from(names));
        story.apply(&started(&["a", "c"]));
        let items = [("a[0]", json!(["x", "y"])), ("a[1]", json!(["x", "y", "z"]))];
        story.apply(&with_tasks(event("task.expanded", "a", "", 0), &items));
        for (kind, task, agent, second) in [
            ("task.dispatched", "a[0]", "agt_1", 0),
            ("task.running", "a[0]", "agt_1", 1),
            ("task.completed", "a[0]", "agt_1", 2),
            ("task.dispatched", "a[1]", "agt_1", 2),
            ("task.running", "a[1]", "agt_1", 3),
            ("task.returned", "a[1]", "agt_1", 5),
            ("task.dispatched", "a[1]", "agt_2", 6),
            ("delivery.failed", "a[1]", "agt_2", 7),
            ("task.completed", "a[1]", "agt_2", 8),
            ("task.completed", "a", "", 8),
            ("task.waiting", "c", "", 8),
        ] {
            story.apply(&event(kind, task, agent, second));
        }
        story
    }

    #[test]
    fn tries_and_their_ends_are_kept() {
        let story = told();
        let [a, b, c] = story.steps() else { panic!("three steps") };
        assert_eq!((a.tries.len(), b.tries.len(), c.tries.len()), (1, 2, 0));
        assert_eq!(b.tries[0].ended, Some((Timestamp::from_seconds(5), false)));
        assert_eq!(b.tries[1].ended, Some((Timestamp::from_seconds(8), true)));
        assert_eq!(b.span(), Some((Timestamp::from_seconds(2), Timestamp::from_seconds(8))));
        assert_eq!((c.status.as_str(), c.span()), ("waiting", None));
        assert_eq!((story.settled(), story.files_done(), story.files()), (2, 5, 5));
    }

    #[test]
    fn instances_take_the_place_of_their_task() {
        let story = told();
        let tasks: Vec<_> = story.steps().iter().map(|step| (step.task.as_str(), step.files)).collect();
        assert_eq!(tasks, [("a[0]", 2), ("a[1]", 3), ("c", 0)]);
        assert_eq!((story.done_by("reader-1"), story.done_by("reader-2"), story.done_by("")), (1, 1, 0));
    }

    #[test]
    fn a_list_without_items_leaves_no_task() {
        let mut story = Story::default();
        story.apply(&started(&["a", "b"]));
        story.apply(&with_tasks(event("task.expanded", "a", "", 0), &[]));
        assert_eq!(story.steps().len(), 1);
    }

    #[test]
    fn an_agent_has_in_hand_what_it_was_given_last() {
        let mut story = told();
        assert_eq!(story.in_hand("reader-1"), None);
        story.apply(&event("task.dispatched", "c", "agt_1", 9));
        assert_eq!(story.in_hand("reader-1").map(|(step, nth)| (step.task.as_str(), nth)), Some(("c", 1)));
        assert_eq!(story.in_hand("writer"), None);
    }

    #[test]
    fn a_task_given_out_anew_ends_the_try_before() {
        let mut story = told();
        story.apply(&event("task.dispatched", "c", "agt_1", 9));
        story.apply(&event("task.dispatched", "c", "agt_1", 10));
        let tries = &story.steps()[2].tries;
        assert_eq!(tries[0].ended, Some((Timestamp::from_seconds(10), false)));
        assert_eq!(tries[1].ended, None);
    }

    #[test]
    fn a_task_waits_until_it_goes_on() {
        let mut story = told();
        let mut happens = |kind: &str, data: EventData| {
            story.apply(&EventView { data, ..event(kind, "c", "agt_1", 9) });
            story.steps()[2].wait.clone()
        };
        let waits = |words: &str| EventData { waiting_for: Some(words.to_owned()), ..EventData::default() };
        let wait = happens("task.begun", waits("the signal 'go'")).expect("it waits");
        assert_eq!(wait.awaited, Awaited::Signal("go".to_owned()));
        assert_eq!(happens("task.completed", EventData::default()), None);
        let wait = happens("task.waiting", waits("agent agt_2 to be available")).expect("it waits");
        assert_eq!((wait.words.as_str(), wait.awaited), ("agent reader-2 to be available", Awaited::Other));
        let failed = |tries| EventData { error: Some("refused".to_owned()), tries, ..EventData::default() };
        let wait = happens("delivery.failed", failed(Some(3))).expect("it waits");
        assert_eq!(wait.words, "agent reader-1 to take it");
        assert_eq!(wait.detail, "tried 3 times, last: refused");
        assert!(happens("task.progress", EventData::default()).is_some(), "that changes nothing");
        assert_eq!(happens("task.running", EventData::default()), None);
    }

    #[test]
    fn messages_name_the_agents() {
        let message = "Task a given to agent 'reader-1' (agt_1) (attempt 1)".to_owned();
        let words = told().in_words(&EventView { message, ..event("task.dispatched", "a", "agt_1", 0) });
        assert_eq!(words, "Task a given to agent reader-1 (attempt 1)");
    }

    #[test]
    fn the_unusual_and_the_unknown_are_notable() {
        let kind = |kind, attempt: u32| EventView {
            data: EventData { attempt: Some(attempt), ..EventData::default() },
            ..event(kind, "a", "x", 0)
        };
        for (event, notable) in [
            (kind("task.dispatched", 1), false),
            (kind("task.dispatched", 2), true),
            (kind("task.running", 2), false),
            (kind("task.returned", 1), true),
            (kind("delivery.failed", 1), true),
            (kind("weather.changed", 0), true),
        ] {
            assert_eq!(is_notable(&event), notable, "{event:?}");
        }
    }
}
