//! The second session, and the crash in it: [`Audit`] follows the events, shows them, kills the reader
//! halfway while it holds a task, and starts it again a second later.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use signalbox_client::{Client, Error, Event, Session};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cast::{Ready, Stage};
use super::plan::{Plan, REPORT, audit, batch_of, read_task};
use super::play::{Actor, Cast};
use super::roles::{PACE, Role};
use super::screen::{self, Screen};
use super::story::{Story, attempt, is_notable};
use super::style::Mark;

/// How long the reader stays away.
const ABSENCE: Duration = Duration::from_secs(1);
/// How often the display is drawn and the processes are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How long nothing may happen: above the longest wait between two deliveries.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Events that may wait to be shown.
const EVENTS_WAITING: usize = 256;

/// The second session while it runs.
pub(super) struct Audit<'a> {
    stage: &'a Stage,
    client: &'a Client,
    cast: &'a mut Cast,
    screen: &'a mut Screen,
    plan: &'a Plan,
    story: Story,
    session: String,
    reader: Reader,
    cues: (mpsc::Sender<Cue>, mpsc::Receiver<Cue>),
}

/// Where the reader is in its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Unharmed,
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
        plan: &'a Plan,
    ) -> Self {
        let reads = (1..).zip(&plan.batches).map(|(batch, files)| (read_task(batch), files.len()));
        let story = Story::new(reads.chain([(REPORT.to_owned(), 0)]), cast.names());
        let session = String::new();
        let cues = mpsc::channel(4);
        Self { stage, client, cast, screen, plan, story, session, reader: Reader::Unharmed, cues }
    }

    /// Runs the session to its end and answers it with its story.
    pub(super) async fn run(mut self) -> anyhow::Result<(Session, Story)> {
        let planner = self.cast.actor(Role::Planner)?.agent_id.clone();
        let started = self.client.trigger_inline(&planner, &audit(self.plan), &Value::Null).await?;
        self.session = started.session_id;
        let tasks = self.story.steps().len();
        self.screen.step(Mark::Good, &format!("session {} with {tasks} tasks", self.session));
        self.screen.open(self.cast.agents.len());
        let outcome = self.follow().await;
        self.draw();
        self.screen.close();
        outcome?;
        let session = self.client.session(&self.session).await?;
        let mark = if session.status == "completed" { Mark::Good } else { Mark::Bad };
        let settled = format!("{} of {tasks} tasks done", self.story.settled());
        self.screen.step(mark, &format!("the session is {}: {settled}", session.status));
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
                    self.on_event(&event);
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

    fn on_event(&mut self, event: &Event) {
        self.story.apply(event);
        if !self.screen.style.live || is_notable(event) {
            self.screen.event(mark(event), event, &self.story);
        }
        if self.reader == Reader::Unharmed && self.is_halfway(event) {
            self.reader = Reader::Doomed;
            // In the middle of the batch; at full speed there is no middle to wait for.
            let wait = if self.stage.fast { Duration::ZERO } else { PACE / 2 };
            self.cue_after(wait, Cue::Strike);
        }
        self.draw();
    }

    fn is_halfway(&self, event: &Event) -> bool {
        let batch = event.task_id.as_deref().and_then(batch_of);
        event.kind == "task.running" && batch.is_some_and(|batch| batch * 2 > self.plan.batches.len())
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
        let reader = self.reader_mut()?;
        let (pid, agent_id) = (reader.process.pid(), reader.agent_id.clone());
        reader.process.kill();
        self.reader = Reader::Down;
        self.cue_after(ABSENCE, Cue::Return);
        let session = self.client.session(&self.session).await?;
        let held = session.tasks.iter().find(|task| {
            task.agent_id.as_deref() == Some(&agent_id)
                && matches!(task.status.as_str(), "dispatched" | "running")
        });
        let holding = match held {
            Some(task) => format!("while it held {}, try {}", task.task_id, task.attempt),
            None => "between two tasks".to_owned(),
        };
        let text = format!("reader (pid {pid}) killed with SIGKILL {holding}");
        self.screen.step(Mark::Bad, &self.screen.style.red(&text));
        Ok(())
    }

    fn bring_back(&mut self) -> anyhow::Result<()> {
        let (process, arrival) = self.stage.agent(Role::Reader, &self.cast.address)?;
        let text = format!("reader started again as pid {}", process.pid());
        self.reader_mut()?.process = process;
        self.reader = Reader::Returning;
        self.screen.step(Mark::Again, &text);
        let cues = self.cues.0.clone();
        tokio::spawn(async move { cues.send(Cue::Arrived(arrival.ready().await)).await });
        Ok(())
    }

    fn welcome(&mut self, ready: &Ready) -> anyhow::Result<()> {
        let reader = self.reader_mut()?;
        let same = if reader.agent_id == ready.agent_id { "the same id" } else { "another id" };
        reader.agent_id.clone_from(&ready.agent_id);
        self.reader = Reader::Back;
        let text = format!("reader is back under {same}, at {}", ready.endpoint);
        self.screen.step(Mark::Good, &text);
        Ok(())
    }

    fn reader_mut(&mut self) -> anyhow::Result<&mut Actor> {
        let reader = self.cast.agents.iter_mut().find(|actor| actor.role == Role::Reader);
        reader.context("no reader is there")
    }

    /// Every process but a reader that was killed on purpose must be there.
    fn check(&mut self) -> anyhow::Result<()> {
        self.cast.server.check()?;
        let down = self.reader == Reader::Down;
        let mut alive = self.cast.agents.iter_mut().filter(|actor| !(down && actor.role == Role::Reader));
        alive.try_for_each(|actor| actor.process.check())
    }

    fn draw(&self) {
        let actors: Vec<_> = self.cast.agents.iter().map(|actor| self.shown(actor)).collect();
        self.screen.draw(&self.story, &actors);
    }

    fn shown(&self, actor: &Actor) -> screen::Actor<'static> {
        let (name, pid) = (actor.role.name(), Some(actor.process.pid()));
        match self.reader {
            Reader::Down if actor.role == Role::Reader => {
                screen::Actor { name, pid: None, doing: Some("killed") }
            }
            Reader::Returning if actor.role == Role::Reader => {
                screen::Actor { name, pid, doing: Some("starting again") }
            }
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

/// The session's events, followed in a task of its own so that drawing never interrupts a connection.
fn follow(client: &Client, session: &str) -> mpsc::Receiver<Result<Event, Error>> {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
    let mut stream = client.follow_session(session, 0);
    tokio::spawn(async move {
        while let Some(event) = stream.next().await.transpose() {
            let last = event.as_ref().map_or(true, Event::ends_session);
            if sender.send(event).await.is_err() || last {
                return;
            }
        }
    });
    receiver
}

fn mark(event: &Event) -> Mark {
    match event.kind.as_str() {
        "task.completed" | "session.completed" => Mark::Good,
        "task.failed" | "delivery.failed" | "session.failed" | "session.cancelled" => Mark::Bad,
        "task.retrying" | "task.returned" => Mark::Again,
        _ if attempt(event) > 1 => Mark::Again,
        _ => Mark::Plain,
    }
}
