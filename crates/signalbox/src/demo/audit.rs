//! The session, and the crash in it: [`Audit`] follows the events, shows them, kills one of the readers halfway
//! while it holds a task, and starts it again a little later; the other goes on meanwhile.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use signalbox_client::{Client, Error, EventView, SessionStatus, SessionView, TaskStatus};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::actors::{Actor, Cast};
use super::cast::{Ready, Stage};
use super::plan::{PLAN, Plan, WORKFLOW, WORKFLOW_ID, is_held, part_of};
use super::roles::{PACE, Role};
use super::screen::{self, Screen};
use crate::story::{Story, attempt, is_notable};
use crate::style::Mark;

/// Into how many parts the planner splits the work, at most.
const PARTS_MAX: usize = 16;
/// How long the reader that was killed stays away.
const ABSENCE: Duration = Duration::from_millis(1_500);
/// How often the display is drawn and the processes are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How long nothing may happen: above the longest wait between two deliveries.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Events that may wait to be shown.
const EVENTS_WAITING: usize = 256;

/// The session while it runs.
pub(super) struct Audit<'a> {
    stage: &'a Stage,
    client: &'a Client,
    cast: &'a mut Cast,
    screen: &'a mut Screen,
    story: Story,
    session: String,
    victim: Option<Victim>,
    cues: (mpsc::Sender<Cue>, mpsc::Receiver<Cue>),
}

/// The reader that is killed.
struct Victim {
    /// Its place among the agents.
    place: usize,
    fate: Fate,
    /// What others brought to its end while it was away.
    meanwhile: Vec<String>,
}

/// Where the victim is in its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Doomed,
    Down,
    Returning,
    Back,
}

/// What is to happen next, sent when its time has come.
enum Cue {
    Strike,
    Return,
    Arrived(anyhow::Result<Ready>),
}

impl<'a> Audit<'a> {
    pub(super) fn new(
        stage: &'a Stage,
        client: &'a Client,
        cast: &'a mut Cast,
        screen: &'a mut Screen,
    ) -> Self {
        let story = Story::new(cast.names());
        let cues = mpsc::channel(4);
        Self { stage, client, cast, screen, story, session: String::new(), victim: None, cues }
    }

    /// Runs the session to its end and answers it, its results whole, with its story.
    pub(super) async fn run(mut self) -> anyhow::Result<(SessionView, Story)> {
        let planner = &self.cast.actor(Role::Planner)?.agent_id;
        self.client.apply_workflow_yaml(WORKFLOW).await?;
        let input = json!({"partsMax": PARTS_MAX});
        self.session = self.client.trigger(planner, WORKFLOW_ID, &input).await?.session_id.to_string();
        self.screen.step(Mark::Good, &format!("session {} of workflow {WORKFLOW_ID}", self.session));
        self.screen.open(self.cast.agents.len());
        let outcome = self.follow().await;
        self.draw();
        self.screen.close();
        outcome?;
        let session = self.client.whole_session(&self.session).await?;
        let mark = if session.status == SessionStatus::Completed { Mark::Good } else { Mark::Bad };
        let (done, of) = (self.story.settled(), self.story.steps().len());
        let status = session.status.as_str();
        self.screen.step(mark, &format!("the session is {status}: {done} of {of} tasks done"));
        Ok((session, self.story))
    }

    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut events = follow(self.client, &self.session);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                event = events.recv() => {
                    let event = event.context("the session's events ended before the session did")??;
                    heard = Instant::now();
                    self.on_event(&event).await?;
                    if event.ends_session() {
                        return Ok(());
                    }
                }
                Some(cue) = self.cues.1.recv() => {
                    self.on_cue(cue).await?;
                    self.draw();
                }
                _ = tick.tick() => {
                    self.check()?;
                    self.draw();
                    if heard.elapsed() > SILENCE_MAX {
                        bail!("nothing happened in session {} for {} s", self.session, SILENCE_MAX.as_secs());
                    }
                }
            }
        }
    }

    async fn on_event(&mut self, event: &EventView) -> anyhow::Result<()> {
        self.story.apply(event);
        if is_notable(event) || (!self.screen.style.live && event.kind != "task.waiting") {
            self.screen.event(mark(event), event, &self.story);
        }
        if event.kind == "task.completed" {
            self.on_completed(event).await?;
        }
        if self.victim.is_none() && self.is_halfway(event) {
            self.doom(event.task_id.as_deref().unwrap_or_default());
        }
        self.draw();
        Ok(())
    }

    async fn on_completed(&mut self, event: &EventView) -> anyhow::Result<()> {
        let task = event.task_id.as_deref().unwrap_or_default();
        if task == PLAN {
            // The event may hold no more than a reference to it.
            let session = self.client.whole_session(&self.session).await?;
            let plan = session.task(PLAN).and_then(|plan| plan.result.clone());
            self.screen.step(Mark::Good, &planned(plan.unwrap_or_default())?);
        }
        let away = |victim: &Victim| matches!(victim.fate, Fate::Down | Fate::Returning);
        let Some(by) = event.agent_id.as_ref() else { return Ok(()) };
        let Some(victim) = self.victim.as_mut().filter(|victim| away(victim)) else { return Ok(()) };
        match self.cast.agents.get(victim.place).filter(|reader| reader.agent_id == by.as_str()) {
            // At full speed it may have reported just before: then nothing was lost.
            Some(reader) => {
                let text = format!("{} had reported {task} before it was killed", reader.name);
                self.screen.step(Mark::Plain, &text);
            }
            None => victim.meanwhile.push(task.to_owned()),
        }
        Ok(())
    }

    /// Whether a reader is given the part that is held until its reader is killed.
    fn is_halfway(&self, event: &EventView) -> bool {
        let parts = self.story.steps().iter().filter(|step| part_of(&step.task).is_some()).count();
        let part = event.task_id.as_deref().and_then(part_of);
        let is_first = event.kind == "task.dispatched" && attempt(event) == 1;
        is_first && part.is_some_and(|part| is_held(part, parts))
    }

    /// Whoever holds the task will be killed.
    fn doom(&mut self, task: &str) {
        let holds = |actor: &Actor| self.story.in_hand(actor.name).is_some_and(|(step, _)| step.task == task);
        let Some(place) = self.cast.agents.iter().position(holds) else { return };
        self.victim = Some(Victim { place, fate: Fate::Doomed, meanwhile: Vec::new() });
        // In the middle of the part, which its reader does not end.
        let wait = if self.stage.fast { Duration::ZERO } else { PACE / 2 };
        self.cue_after(wait, Cue::Strike);
    }

    async fn on_cue(&mut self, cue: Cue) -> anyhow::Result<()> {
        match cue {
            Cue::Strike => self.strike().await,
            Cue::Return => self.bring_back(),
            Cue::Arrived(ready) => self.welcome(&ready?),
        }
    }

    /// What the reader held is asked of the server after the process is gone, so that what is said is true.
    async fn strike(&mut self) -> anyhow::Result<()> {
        let reader = self.become_of_victim(Fate::Down)?;
        let (name, pid, agent_id) = (reader.name, reader.process.pid(), reader.agent_id.clone());
        reader.process.kill();
        self.cue_after(ABSENCE, Cue::Return);
        let session = self.client.session(&self.session).await?;
        let held = session.tasks.iter().flatten().find(|task| {
            task.agent_id.as_ref().is_some_and(|agent| agent.as_str() == agent_id)
                && matches!(task.status, TaskStatus::Dispatched | TaskStatus::Running)
        });
        let holding = match held {
            Some(task) => format!("holding {}, try {}", task.task_id, task.attempt),
            None => "between two tasks".to_owned(),
        };
        let text = format!("{name} (pid {pid}) killed with SIGKILL {holding}");
        self.screen.step(Mark::Bad, &self.screen.style.red(&text));
        Ok(())
    }

    fn bring_back(&mut self) -> anyhow::Result<()> {
        let address = self.cast.address.clone();
        let stage = self.stage;
        let reader = self.become_of_victim(Fate::Returning)?;
        let (process, arrival) = stage.agent(reader.name, reader.role, &address)?;
        let text = format!("{} started again as pid {}", reader.name, process.pid());
        reader.process = process;
        self.screen.step(Mark::Again, &text);
        let cues = self.cues.0.clone();
        tokio::spawn(async move { cues.send(Cue::Arrived(arrival.ready().await)).await });
        Ok(())
    }

    fn welcome(&mut self, ready: &Ready) -> anyhow::Result<()> {
        let reader = self.become_of_victim(Fate::Back)?;
        let same = if reader.agent_id == ready.agent_id { "the same id" } else { "another id" };
        reader.agent_id.clone_from(&ready.agent_id);
        let text = format!("{} is back under {same}, at {}", reader.name, ready.endpoint);
        self.screen.step(Mark::Good, &text);
        let meanwhile = self.victim.as_ref().map(|victim| victim.meanwhile.join(", ")).unwrap_or_default();
        if !meanwhile.is_empty() {
            self.screen.step(Mark::Good, &format!("done while it was away: {meanwhile}"));
        }
        Ok(())
    }

    fn become_of_victim(&mut self, fate: Fate) -> anyhow::Result<&mut Actor> {
        let victim = self.victim.as_mut().context("no reader was chosen")?;
        victim.fate = fate;
        self.cast.agents.get_mut(victim.place).context("the reader that was chosen is not there")
    }

    /// Every process but a reader that was killed on purpose must be there.
    fn check(&mut self) -> anyhow::Result<()> {
        self.cast.server.check()?;
        let down = self.victim.as_ref().filter(|victim| victim.fate == Fate::Down).map(|victim| victim.place);
        let mut alive = self.cast.agents.iter_mut().enumerate().filter(|(place, _)| Some(*place) != down);
        alive.try_for_each(|(_, actor)| actor.process.check())
    }

    fn draw(&self) {
        let agents = self.cast.agents.iter().enumerate();
        let actors: Vec<_> = agents.map(|(place, actor)| self.shown(place, actor)).collect();
        self.screen.draw(&self.story, &actors);
    }

    fn shown(&self, place: usize, actor: &Actor) -> screen::Actor<'static> {
        let (name, pid) = (actor.name, Some(actor.process.pid()));
        let fate = self.victim.as_ref().filter(|victim| victim.place == place).map(|victim| victim.fate);
        match fate {
            Some(Fate::Down) => screen::Actor { name, pid: None, doing: Some("killed") },
            Some(Fate::Returning) => screen::Actor { name, pid, doing: Some("starting again") },
            _ => screen::Actor { name, pid, doing: None },
        }
    }

    fn cue_after(&self, wait: Duration, cue: Cue) {
        let cues = self.cues.0.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            cues.send(cue).await
        });
    }
}

/// What the planner made of the folder, in words.
fn planned(plan: Value) -> anyhow::Result<String> {
    let plan: Plan =
        serde_json::from_value(plan).context("the planner's result is not what a planner makes")?;
    let (files, parts) = (plan.parts.iter().map(Vec::len).sum::<usize>(), plan.parts.len());
    let left_out = match plan.skipped.in_words() {
        nothing if nothing.is_empty() => nothing,
        some => format!("; left out {some}"),
    };
    Ok(format!("planned: files {files}, parts {parts}{left_out}"))
}

/// The session's events, followed in a task of its own so that drawing never interrupts a connection.
fn follow(client: &Client, session: &str) -> mpsc::Receiver<Result<EventView, Error>> {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
    let mut stream = client.follow_session(session, 0);
    tokio::spawn(async move {
        while let Some(event) = stream.next().await.transpose() {
            let last = event.as_ref().map_or(true, EventView::ends_session);
            if sender.send(event).await.is_err() || last {
                return;
            }
        }
    });
    receiver
}

fn mark(event: &EventView) -> Mark {
    match event.kind.as_str() {
        "task.completed" | "session.completed" => Mark::Good,
        "task.failed" | "delivery.failed" | "session.failed" | "session.cancelled" => Mark::Bad,
        "task.retrying" | "task.returned" => Mark::Again,
        _ if attempt(event) > 1 => Mark::Again,
        _ => Mark::Plain,
    }
}
