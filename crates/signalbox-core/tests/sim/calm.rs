//! The calm after the storm, and the judgement at its end: what can be finished is finished, what cannot says
//! why it waits, and everything that was ever acknowledged is there.

use std::time::Duration;

use signalbox_core::delivery::MessageStatus;
use signalbox_core::due::DueJob;
use signalbox_core::engine::{Drain, Resume};
use signalbox_core::routing::Route;
use signalbox_core::session::{SessionEvent, SessionStatus};
use signalbox_core::task::{Task, TaskStatus};
use signalbox_wire::id::AgentId;

use crate::agents::Act;
use crate::driver::Caller;
use crate::world::{Event, World};

impl World {
    /// Faults stop: planes are started, programs come back and say so, operators tidy up.
    pub(crate) fn calm(&mut self) {
        self.say(|_| "calm".to_owned());
        self.is_calm = true;
        self.weather = self.weather.calm();
        for plane in 0..self.planes.len() {
            self.soon(Event::Restart(plane));
        }
        for index in 0..self.programs.len() {
            let program = &self.programs[index];
            if program.is_up {
                self.plan_act(index, Duration::from_secs(3), Act::Connect);
                let program = &self.programs[index];
                let act =
                    if program.id.is_none() || self.dice.chance(50) { Act::Register } else { Act::Idle };
                let wait = self.dice.millis(0, 2_000);
                self.plan_act(index, wait, act);
                // What it meant to say of its work before may still come, and be its last word.
                self.plan_act(index, Duration::from_secs(20), Act::Idle);
            } else if !program.is_mortal {
                let wait = self.dice.millis(0, 5_000);
                self.plan_act(index, wait, Act::Revive);
            }
            // Where registrations are not counted, announcing the same again tells nothing new.
            if self.programs[index].generation.is_none() && self.programs[index].is_foreign {
                self.after(Duration::from_secs(8), Event::Say { index });
            }
        }
        self.tidy_up();
        self.remove_schedules();
    }

    /// What should still happen, in words; empty when everything has been done that can be done.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let mut open = Vec::new();
        for id in self.store.sessions.keys() {
            let Some(read) = self.store.session(id) else { continue };
            let state = &read.value;
            if state.session.status.is_over() || state.session.status == SessionStatus::Paused {
                continue;
            }
            if state.session.waits_for_group {
                let begins = self.store.due.contains_key(&DueJob::Begin { session: id.clone() }.id());
                open.extend(begins.then(|| format!("{id} is about to begin")));
                continue;
            }
            for task in &state.tasks {
                if task.queued_at.is_some() {
                    open.extend(self.able(task).map(|agent| {
                        format!("{agent} could do {task:?}; it is {:?}", self.store.status(&agent))
                    }));
                } else if task.status == TaskStatus::Waiting || task.retry_at.is_some() {
                    open.push(format!("a task waits: {task:#?}"));
                } else if task.status.is_held() && !task.is_expanding() && task.child.is_none() {
                    open.push(format!("a task is under way: {task:#?}"));
                }
            }
        }
        let on_their_way =
            self.store.messages.values().filter(|message| message.status == MessageStatus::Scheduled);
        open.extend(on_their_way.map(|message| format!("on its way: {message:?}")));
        open.extend(self.store.due.values().map(|row| format!("due: {row:?}")));
        if !self.running.is_empty() {
            open.push(format!("{} operations are under way", self.running.len()));
        }
        open
    }

    /// What must be true of a world that has come to rest.
    pub(crate) fn judge(&mut self) {
        self.checker.at_the_end(&self.store);
        for id in &self.promises.sessions {
            assert!(self.store.sessions.contains_key(id), "{id} was acknowledged and is gone");
        }
        for id in self.promises.messages.difference(&self.promises.discarded) {
            assert!(self.store.messages.contains_key(id), "{id} was acknowledged and is gone");
        }
        for mark in &self.promises.marks {
            assert!(self.store.marks.contains(mark), "report {mark} was acknowledged and is not in the log");
        }
        for message in self.store.messages.values() {
            let has_arrived = self.promises.arrived.contains(&message.id);
            assert!(
                has_arrived || message.status != MessageStatus::Delivered,
                "{} counts as delivered and never arrived",
                message.id
            );
        }
        for (id, history) in &self.store.histories {
            let Some(read) = self.store.session(id) else { continue };
            self.figures.completed += u64::from(read.value.session.status == SessionStatus::Completed);
            for task in read.value.tasks.iter().filter(|task| task.queued_at.is_some()) {
                let says_why = |event: &SessionEvent| matches!(event, SessionEvent::TaskWaiting { task: id, .. } if *id == task.id);
                assert!(
                    history.iter().any(|(_, event)| says_why(event)),
                    "{} waits and does not say for what",
                    task.id
                );
            }
        }
        let digest = self.store.histories.values().map(Vec::len).sum::<usize>() as u64;
        self.digest(digest);
    }

    /// An agent that would do this task if it were given to it.
    fn able(&self, task: &Task) -> Option<AgentId> {
        if let Route::Agent(agent) = &task.route
            && !self.store.agents.contains_key(agent)
        {
            return Some(agent.clone()); // It is gone: the task must fail, not wait.
        }
        let able = self.store.agents.values().find(|agent| {
            let address = agent.endpoint.clone().or_else(|| self.connection_of(&agent.id));
            let is_up = address.is_some_and(|address| self.answers(&address));
            let is_draining = self.store.status(&agent.id).is_none_or(|status| status.draining);
            is_up && !is_draining && agent.concurrency > 0 && task.route.admits(agent)
        });
        able.map(|agent| agent.id.clone())
    }

    fn tidy_up(&mut self) {
        let sessions: Vec<_> = self.store.sessions.keys().cloned().collect();
        for session in sessions {
            if self.dice.chance(60) {
                let wait = self.dice.millis(0, 20_000);
                self.after(wait, Event::Call(Resume { session }.into(), Caller::Client { tries: 0 }));
            }
        }
        let agents: Vec<_> = self.store.agents.keys().cloned().collect();
        for agent in agents {
            if self.dice.chance(60) {
                let wait = Duration::from_secs(1) + self.dice.millis(0, 5_000);
                self.after(
                    wait,
                    Event::Call(Drain { agent, draining: false }.into(), Caller::Client { tries: 0 }),
                );
            }
        }
    }
}
