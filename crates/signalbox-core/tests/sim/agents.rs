//! Agents as programs: they register, take tasks, report, and do all of it badly where the weather says so.
//!
//! A program knows only what it was told: its id, the tasks that reached it, the answers to its own calls.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use signalbox_core::Rejected;
use signalbox_core::agent_reports::CLOCK_AHEAD_MAX;
use signalbox_core::delivery::{MessageKind, TaskAttempt};
use signalbox_core::engine::{DeliveredReport, ReportState};
use signalbox_wire::id::{AgentId, MessageId, TaskId};
use signalbox_wire::raw::RawObject;
use signalbox_wire::time::Timestamp;

use crate::calls::{Call, ToolReply};
use crate::connections::{Link, address};
use crate::driver::Caller;
use crate::world::{Event, Letter, World};

/// One agent's program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) capabilities: Vec<&'static str>,
    pub(crate) concurrency: u32,
    /// The id it brings, when it brings one; an announced one always does.
    pub(crate) own_id: Option<AgentId>,
    /// Counts registrations at the service that announces it; `None` when that service does not count.
    pub(crate) generation: Option<u64>,
    pub(crate) is_foreign: bool,
    /// It has no contact endpoint: it is reached over the connection that it holds.
    pub(crate) connects: bool,
    /// Its connection, as far as it knows.
    pub(crate) link: Option<Link>,
    /// The id it was given.
    pub(crate) id: Option<AgentId>,
    pub(crate) is_up: bool,
    /// Once dead it stays so.
    pub(crate) is_mortal: bool,
    pub(crate) life: u32,
    skew: i64,
    /// The newest moment that it has put into a report.
    stamp: Timestamp,
    handled: BTreeSet<MessageId>,
}

/// Something that a program does.
#[derive(Debug)]
pub(crate) enum Act {
    Register,
    Deregister,
    Connect,
    LoseConnection,
    /// Say something about the task it was given.
    Report {
        task: TaskAttempt,
        step: String,
        word: Word,
    },
    /// Say something that it has no reason to say.
    Lie,
    /// Say that it is ready.
    Idle,
    Die,
    Revive,
}

/// What a report says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    Working,
    Done,
    Failed,
}

/// How far ahead a clock is that is wrong.
const AHEAD: Duration = Duration::from_secs(24 * 3_600);

pub(crate) const CAPABILITIES: [&str; 3] = ["read", "write", "count"];

impl World {
    /// Brings the programs of this world to life.
    pub(crate) fn people_agents(&mut self) {
        for index in 0..self.dice.below(4) + 1 {
            let is_foreign = self.dice.chance(self.weather.foreign);
            let own_id = (is_foreign || self.dice.chance(20))
                .then(|| AgentId::parse(&format!("own-{index}")).expect("valid"));
            let concurrency = self.dice.weighted(&[(6, 1), (2, 2), (1, 3), (1, 0)]);
            let capabilities = CAPABILITIES.into_iter().filter(|_| self.dice.chance(60)).collect();
            let skew = self.dice.between(-3_000_000, 3_000_000);
            let connects = !is_foreign && self.dice.chance(self.weather.connecting);
            // A service that announces its agents gives names out on its own: some are taken here.
            let takes_name = is_foreign && index > 0 && self.dice.chance(30);
            self.programs.push(Program {
                index,
                name: format!("agent {}", if takes_name { 0 } else { index }),
                capabilities,
                concurrency,
                own_id,
                generation: (is_foreign && self.dice.chance(60)).then_some(0),
                is_foreign,
                connects,
                link: None,
                id: None,
                is_up: true,
                is_mortal: self.weather.deaths && self.dice.chance(20),
                life: 0,
                skew,
                stamp: Timestamp::default(),
                handled: BTreeSet::new(),
            });
            let at = self.dice.millis(0, 10_000);
            self.plan_act(index, at, Act::Register);
            if self.weather.deaths && self.dice.chance(60) {
                let at = self.dice.millis(5_000, 80_000);
                self.plan_act(index, at, Act::Die);
            }
            if self.weather.lies {
                for _ in 0..self.dice.below(6) {
                    let at = self.dice.millis(3_000, 85_000);
                    self.plan_act(index, at, Act::Lie);
                }
            }
            for _ in 0..3 {
                if self.dice.chance(self.weather.faults) {
                    let at = self.dice.millis(10_000, 80_000);
                    let act = if self.dice.chance(30) { Act::Deregister } else { Act::Register };
                    self.plan_act(index, at, act);
                }
            }
        }
    }

    /// Whether something listens at `endpoint`.
    pub(crate) fn answers(&self, endpoint: &str) -> bool {
        match self.at_endpoint(endpoint) {
            Some(index) => self.programs[index].is_up,
            // A connection that nobody holds any more.
            None => !endpoint.starts_with("connection "),
        }
    }

    /// A delivery reaches its endpoint.
    pub(crate) fn arrive(&mut self, letter: &Letter) {
        let Some(index) = self.at_endpoint(&letter.endpoint) else {
            if letter.endpoint.starts_with("connection ") {
                return;
            }
            self.promises.arrived.insert(letter.message.id.clone());
            return;
        };
        if !self.programs[index].is_up {
            return;
        }
        self.promises.arrived.insert(letter.message.id.clone());
        let is_new = self.programs[index].handled.insert(letter.message.id.clone());
        if !is_new && !self.dice.chance(self.weather.faults) {
            return;
        }
        if let (MessageKind::Task, Some(task)) = (letter.message.kind, &letter.message.task) {
            if is_new && self.dice.chance(20) && self.answer_with_report(&letter.message.id) {
                return;
            }
            if is_new || !self.answers.contains_key(&letter.message.id) {
                self.take_on(index, task);
            }
        }
    }

    /// The program's answer to the delivery is its report; whether that is all that it has to say of the task.
    fn answer_with_report(&mut self, message: &MessageId) -> bool {
        let state = self.dice.weighted(&[(6, "completed"), (1, "IDLE"), (1, "failed"), (1, "active")]);
        let details = RawObject::parse(json!({"result": {"v": 7, "s": "x"}}).to_string()).ok();
        self.answers.insert(message.clone(), DeliveredReport { state: state.to_owned(), details });
        state != "active"
    }

    /// A program acts, if it still lives that life.
    pub(crate) fn act(&mut self, index: usize, life: u32, act: Act) {
        if self.programs[index].life != life {
            return;
        }
        match act {
            Act::Register => self.register(index),
            Act::Deregister => self.deregister(index),
            Act::Connect => self.connect(index),
            Act::LoseConnection => self.lose_connection(index),
            Act::Report { task, step, word } => self.report_on(index, &task, &step, word),
            Act::Lie => self.lie(index),
            Act::Idle => self.report(index, "idle", (None, None), json!({})),
            Act::Die => self.die(index),
            Act::Revive => self.revive(index),
        }
    }

    /// A program is told what came of its call.
    pub(crate) fn program_hears(&mut self, index: usize, life: u32, call: &Call, answer: &ToolReply) {
        if let Call::ReportState(report) = call {
            let mark = report.details.as_ref().and_then(|details| mark_of(details.as_str()));
            self.promises.marks.extend(mark);
            // What it said before it was registered was heard after: nobody but itself can put that right.
            let said = Timestamp::from_micros(report.timestamp.as_micros() - self.programs[index].skew);
            let is_behind = self.registered.get(&report.agent).is_some_and(|at| said < *at);
            if self.programs[index].is_up && is_behind {
                self.plan_act(index, Duration::from_millis(1), Act::Idle);
            }
            if said > self.now + AHEAD / 2 {
                self.after(CLOCK_AHEAD_MAX + Duration::from_secs(10), Event::Say { index });
            }
        }
        if self.programs[index].life != life {
            return;
        }
        match (call, answer) {
            (_, ToolReply::Registered(registered)) => {
                self.programs[index].id = Some(registered.agent.clone());
                let wait = self.dice.millis(1, 500);
                self.plan_act(index, wait, Act::Connect);
            }
            (Call::Announce(announce), ToolReply::Announced) => {
                self.programs[index].id = Some(announce.id.clone())
            }
            _ => {}
        }
    }

    /// A program's call is refused.
    pub(crate) fn program_is_refused(&mut self, index: usize, life: u32, call: &Call, rejected: &Rejected) {
        if self.programs[index].life != life {
            return;
        }
        match (call, rejected) {
            // Its first call was answered to nobody, or its name is left from an earlier life.
            (Call::Register(call), Rejected::NameTaken(_)) if !call.replace => {
                self.call_register(index, true)
            }
            (Call::Connect(_) | Call::ReportState(_), Rejected::UnknownAgent(_))
                if self.is_calm || self.dice.chance(50) =>
            {
                let wait = self.dice.millis(0, 1_000);
                self.plan_act(index, wait, Act::Register);
            }
            _ => {}
        }
    }

    /// Plans an act in the program's present life.
    pub(crate) fn plan_act(&mut self, index: usize, wait: Duration, act: Act) {
        let life = self.programs[index].life;
        self.after(wait, Event::Program { index, life, act });
    }

    fn at_endpoint(&self, endpoint: &str) -> Option<usize> {
        let is_link = |link: &Link| endpoint == address(&link.id);
        self.programs
            .iter()
            .position(|program| endpoint == program.endpoint() || program.link.as_ref().is_some_and(is_link))
    }

    fn take_on(&mut self, index: usize, task: &TaskAttempt) {
        let step = self.step_of(task);
        let timeout = u64::try_from(self.policy.task_timeout.as_millis()).unwrap_or(u64::MAX);
        let faulty = self.dice.chance(self.weather.faults);
        let fault = if faulty { self.dice.below(6) } else { usize::MAX };
        let mut at = self.dice.millis(10, 4_000);
        if self.dice.chance(30) {
            // A sign of life, which is about nothing.
            let idle = self.dice.millis(0, 5_000);
            self.plan_act(index, idle, Act::Idle);
        }
        if fault == 0 {
            return; // It forgets the task.
        }
        if fault == 1 {
            at += self.dice.millis(timeout / 2, timeout * 2);
        }
        let report = |world: &mut Self, at: Duration, word: Word| {
            world.plan_act(index, at, Act::Report { task: task.clone(), step: step.clone(), word });
        };
        if self.dice.chance(60) {
            let early = if fault == 2 { at + Duration::from_millis(500) } else { at / 3 };
            report(self, early, Word::Working);
            if self.dice.chance(30) {
                report(self, (early + at) / 2, Word::Working);
            }
        }
        let word = if matches!(fault, 3 | 4) { Word::Failed } else { Word::Done };
        report(self, at, word);
        if fault == 5 {
            let again = at + self.dice.millis(0, 5_000);
            report(self, again, word);
        }
    }

    fn step_of(&self, task: &TaskAttempt) -> String {
        let session = self.store.session(&task.session);
        session
            .and_then(|session| session.value.task(&task.task).map(|task| task.step.clone()))
            .unwrap_or_default()
    }

    fn report_on(&mut self, index: usize, task: &TaskAttempt, step: &str, word: Word) {
        let state = match word {
            Word::Working => self.dice.weighted(&[(2, "active"), (1, "Busy")]),
            Word::Done => self.dice.weighted(&[(4, "completed"), (2, "finished"), (1, "IDLE")]),
            Word::Failed => self.dice.weighted(&[(1, "error"), (1, "failed")]),
        };
        let exact = task.task.attempt_name(task.attempt);
        let named = match self.dice.below(10) {
            0 | 1 if !self.is_calm && self.programs[index].concurrency == 1 => None,
            2 if !self.is_calm => Some(step.to_owned()),
            3 | 4 => Some(task.task.to_string()),
            _ => Some(exact.clone()),
        };
        let result = if self.dice.chance(90) { json!({"v": 7, "s": "x"}) } else { json!("plain") };
        let session = self.dice.chance(30).then(|| task.session.to_string());
        self.report(
            index,
            state,
            (named, session),
            json!({"result": result, "meant": exact, "progress": 40}),
        );
    }

    fn lie(&mut self, index: usize) {
        if !self.weather.lies {
            return;
        }
        let tasks: Vec<TaskId> = self
            .store
            .sessions
            .values()
            .flat_map(|state| &state.value.tasks)
            .map(|task| task.id.clone())
            .collect();
        let foreign = self.dice.pick(&tasks).cloned();
        let attempt = u32::try_from(self.dice.below(4)).unwrap_or(0);
        let words =
            ["completed", "idle", "error", "failed", "active", "offline", "meditating", "initializing"];
        let state = self.dice.pick(&words).copied().unwrap_or("idle");
        let named = match self.dice.below(5) {
            0 => foreign.map(|task| task.to_string()),
            1 => foreign.map(|task| task.attempt_name(attempt)),
            2 => Some("step-0".to_owned()),
            3 => Some("no such task".to_owned()),
            _ => None,
        };
        self.report(index, state, (named, None), json!({"note": "not so"}));
    }

    fn report(
        &mut self,
        index: usize,
        state: &str,
        (task, session): (Option<String>, Option<String>),
        mut details: Value,
    ) {
        let mark = self.number();
        let is_ahead = self.dice.chance(self.weather.faults / 5);
        let at = Timestamp::from_micros(self.now.as_micros() + self.programs[index].skew);
        let program = &mut self.programs[index];
        let Some(agent) = program.id.clone().filter(|_| program.is_up) else { return };
        program.stamp = at.max(program.stamp + Duration::from_micros(1));
        // Now and then its clock is far ahead, for this one report.
        let timestamp = if is_ahead { program.stamp + AHEAD } else { program.stamp };
        details["mark"] = json!(mark);
        let details = RawObject::parse(details.to_string()).ok();
        let call = ReportState { agent, state: state.to_owned(), timestamp, details, task, session };
        // Calls overtake each other on their way.
        let wait = self.dice.millis(0, if self.is_calm { 5 } else { 400 });
        let caller = Caller::Program { index, life: self.programs[index].life, tries: 0 };
        // What is dated ahead stays new for as long as its order counts.
        let (often, late) = if is_ahead { (50, 70_000) } else { (self.weather.faults / 4, 10_000) };
        if self.dice.chance(often) {
            let again = wait + self.dice.millis(0, late);
            self.after(again, Event::Call(call.clone().into(), caller.clone()));
        }
        self.after(wait, Event::Call(call.into(), caller));
    }
}

fn mark_of(details: &str) -> Option<u64> {
    serde_json::from_str::<Value>(details).ok()?.get("mark")?.as_u64()
}
