//! The engine's own attempts as every plane runs them, cut into steps: between any two of them others may come in
//! between, or the plane may crash. Operations that stand in line are decided as one; what comes of that is held
//! against what comes of them one after the other.

use std::collections::HashMap;
use std::time::Duration;

use signalbox_core::decision::{Key, MatchHint};
use signalbox_core::engine::attempt::{Attempt, Next, Resolution, Terms};
use signalbox_core::engine::{MatchAgent, MatchTask};
use signalbox_core::event::NewEvent;
use signalbox_core::snapshot::Loaded;
use signalbox_core::{Decision, Need, Rejected, Write};
use signalbox_wire::time::Timestamp;

use crate::calls::{Call, ToolReply};
use crate::line::InLine;
use crate::store::{Conflict, Store};
use crate::world::{Event, Plane, Seat, World};

/// Conflicts of one operation, at most: over it nobody would believe in chance.
const CONFLICTS_MAX: u32 = 300;
/// Reads of one operation between two conflicts, at most.
const READS_MAX: u32 = 500;

/// Operations under way that are decided as one, often a single one.
pub(crate) struct Running {
    seat: Seat,
    line: Vec<InLine>,
    has_begun: bool,
    attempt: Attempt,
    stage: Stage,
    conflicts: u32,
    reads: u32,
}

impl Running {
    fn call(&self) -> &Call {
        self.line[0].call()
    }
}

enum Stage {
    Deciding,
    Decided(Box<Decision>),
    Over,
}

/// Who asked, and so who is told.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A program, which asks again when it hears nothing.
    Program { index: usize, life: u32, tries: u32 },
    /// A client, which asks again when it hears nothing.
    Client { tries: u32 },
    /// An operator, who does not.
    Operator,
    /// The plane itself.
    Plane,
}

impl World {
    /// Somebody calls one of the planes.
    pub(crate) fn call(&mut self, call: Call, caller: Caller) {
        let plane = self.dice.below(self.planes.len());
        if self.planes[plane].is_up {
            self.start(plane, call, caller);
        } else {
            self.unheard(call, caller);
        }
    }

    /// A plane begins an operation.
    pub(crate) fn start(&mut self, plane: usize, call: Call, caller: Caller) {
        let seat = Seat { plane, life: self.planes[plane].life };
        self.say(|_| format!("{seat:?} begins {call:?}"));
        let next = InLine::new(call, caller);
        if self.dice.chance(self.weather.folds) {
            let mut running = self.running.values_mut();
            if let Some(before) = running.find(|running| running.seat == seat && !running.has_begun) {
                return before.line.push(next);
            }
        }
        self.run_together(seat, vec![next]);
    }

    fn run_together(&mut self, seat: Seat, line: Vec<InLine>) {
        let running = Running {
            seat,
            line,
            has_begun: false,
            attempt: Attempt::new(self.time_at(seat.plane), self.dice.bits()),
            stage: Stage::Deciding,
            conflicts: 0,
            reads: 0,
        };
        if self.dice.chance(self.weather.folds) {
            let wait = self.dice.millis(0, 100);
            self.step_after(wait, running);
        } else {
            self.suspend(running);
        }
    }

    /// What a plane's clock says.
    pub(crate) fn time_at(&self, plane: usize) -> Timestamp {
        Timestamp::from_micros(self.now.as_micros() + self.planes[plane].skew)
    }

    /// A plane that is up.
    pub(crate) fn seat(&mut self) -> Option<Seat> {
        let up: Vec<usize> = (0..self.planes.len()).filter(|plane| self.planes[*plane].is_up).collect();
        let plane = *self.dice.pick(&up)?;
        Some(Seat { plane, life: self.planes[plane].life })
    }

    /// Whether that life of a plane goes on.
    pub(crate) fn lives(&self, seat: Seat) -> bool {
        let plane = &self.planes[seat.plane];
        plane.is_up && plane.life == seat.life
    }

    /// An operation takes its steps until others come in between.
    pub(crate) fn step(&mut self, id: u64) {
        let Some(mut running) = self.running.remove(&id) else { return };
        loop {
            running = match self.advance(running) {
                Some(running) => running,
                None => return,
            };
            if self.dice.chance(self.weather.interleave) {
                return self.suspend(running);
            }
        }
    }

    /// A plane follows a hint, if it still lives.
    pub(crate) fn follow(&mut self, seat: Seat, hint: MatchHint) {
        if self.lives(seat) {
            let call: Call = match hint {
                MatchHint::Agent(agent) => MatchAgent { agent }.into(),
                MatchHint::Task(session, task) => MatchTask { session, task }.into(),
                // A plane looks for what is due.
                MatchHint::Connected(_) => return self.poll(seat.plane, false),
                MatchHint::Ended(_) => return,
            };
            self.start(seat.plane, call, Caller::Plane);
        }
    }

    /// A plane dies: what it had in memory is gone, what it had committed is not.
    pub(crate) fn crash(&mut self, plane: usize) {
        if !self.weather.crashes || !self.planes[plane].is_up {
            return;
        }
        self.figures.crashes += 1;
        self.say(|_| format!("plane {plane} crashes"));
        self.planes[plane].is_up = false;
        self.planes[plane].cache.clear();
        self.connections_break(Seat { plane, life: self.planes[plane].life });
        let lost: Vec<u64> = self
            .running
            .iter()
            .filter(|(_, running)| running.seat.plane == plane)
            .map(|(id, _)| *id)
            .collect();
        for id in lost {
            for lost in self.running.remove(&id).into_iter().flat_map(|running| running.line) {
                let (call, caller) = lost.into_parts();
                self.unheard(call, caller);
            }
        }
        let wait = self.dice.millis(50, 8_000);
        self.after(wait, Event::Restart(plane));
    }

    /// A plane is started again.
    pub(crate) fn restart(&mut self, plane: usize) {
        let Plane { is_up, life, .. } = &mut self.planes[plane];
        if !*is_up {
            *is_up = true;
            *life += 1;
            self.soon(Event::Poll { plane, is_chain: false });
        }
    }

    fn suspend(&mut self, running: Running) {
        let wait = if self.dice.chance(self.weather.stall) {
            self.dice.millis(500, 30_000)
        } else {
            self.dice.millis(0, 8)
        };
        self.step_after(wait, running);
    }

    fn step_after(&mut self, wait: Duration, running: Running) {
        let id = self.number();
        self.running.insert(id, running);
        self.after(wait, Event::Step(id));
    }

    /// One step: a read, a decision, a commit or an answer. `None` when the operation is over.
    fn advance(&mut self, mut running: Running) -> Option<Running> {
        if !std::mem::replace(&mut running.has_begun, true) {
            running.attempt = Attempt::new(self.time_at(running.seat.plane), self.dice.bits());
        }
        match std::mem::replace(&mut running.stage, Stage::Deciding) {
            Stage::Deciding => {
                let terms = Terms { policy: &self.policy, inputs: None };
                match running.attempt.step(&mut running.line, terms) {
                    Next::Load(need) => {
                        running.reads += 1;
                        assert!(running.reads < READS_MAX, "{:?} reads {need:?} without end", running.call());
                        self.read(&mut running, &need);
                    }
                    Next::Long => running.attempt.allow_long(),
                    Next::Commit(decision) => running.stage = Stage::Decided(Box::new(decision)),
                    Next::Done => running.stage = Stage::Over,
                }
            }
            Stage::Decided(decision) => match self.commit(&running, &decision) {
                Ok(()) => running.stage = Stage::Over,
                Err(Conflict) => self.begin_again(&mut running),
            },
            Stage::Over => {
                self.answer(running);
                return None;
            }
        }
        Some(running)
    }

    /// Tells all who asked what came of it; what was put off begins anew.
    fn answer(&mut self, running: Running) {
        let seat = running.seat;
        let mut put_off = Vec::new();
        for (index, mut member) in running.line.into_iter().enumerate() {
            match member.take_resolution() {
                Some(Resolution::Made(answer)) => self.answered(seat, &member, answer),
                Some(Resolution::Rejected(rejected)) => self.refused(seat, &member, &rejected),
                Some(Resolution::Repeated(_)) => panic!("without a claim nothing is repeated"),
                None if index == 0 => panic!("the first is put off: {:?}", member.call()),
                None => {
                    // A clock behind that of another plane gives what is removed and created again a version that does not grow.
                    let may_be_unfit = self.weather.skew > 0;
                    assert!(
                        !member.was_unfit() || may_be_unfit,
                        "{:?} read what was there before",
                        member.call()
                    );
                    put_off.push(InLine::from(member.into_parts()));
                }
            }
        }
        if !put_off.is_empty() {
            self.run_together(seat, put_off);
        }
    }

    /// What was decided as one is what its members decided, one after the other; each is checked on what those before it left.
    fn check_apart(
        &mut self,
        running: &Running,
        decision: &Decision,
        mut apart: Store,
        leased_until: Option<Timestamp>,
    ) {
        let decided = || running.line.iter().filter_map(InLine::decided);
        let events: Vec<&NewEvent> = decided().flat_map(|decided| &decided.events).collect();
        assert_eq!(format!("{events:?}"), format!("{:?}", decision.events.iter().collect::<Vec<_>>()));
        let hints: Vec<&MatchHint> = decided().flat_map(|decided| &decided.hints).collect();
        assert!(hints.iter().all(|hint| decision.hints.contains(hint)), "{hints:?} in {:?}", decision.hints);
        assert!(decision.hints.iter().all(|hint| hints.contains(&hint)), "{:?} in {hints:?}", decision.hints);
        let closed: usize = decided().map(|decided| decided.disconnected.len()).sum();
        assert_eq!(closed, decision.disconnected.len(), "connections");
        assert_eq!(decision.may_wait, decided().all(|decided| decided.may_wait), "may wait");
        for member in &running.line {
            let Some(decision) = member.decided() else { continue };
            let removed = apart.commit(decision, None);
            let Ok(removed) = removed else { panic!("{:?} does not fit those before it", member.call()) };
            self.checker.after_commit(&apart, member.call(), decision, &removed);
            member.check_kept(&apart);
        }
        self.store.check_same(&apart, decision, leased_until);
    }

    /// Shows an operation what it needs: from the plane's cache, which may be behind, or from the store.
    fn read(&mut self, running: &mut Running, need: &Need) {
        match need {
            Need::Row(key) => self.read_row(running, key),
            Need::Rows(keys) => keys.iter().for_each(|key| self.read_row(running, key)),
            _ => self.store.load(need, running.attempt.snapshot()),
        }
    }

    fn read_row(&mut self, running: &mut Running, key: &Key) {
        let cache = &mut self.planes[running.seat.plane].cache;
        if let Some(row) = cache.get(key).filter(|_| !running.attempt.is_fresh()) {
            running.attempt.snapshot().show(key.clone(), Some(row.clone()));
            return running.attempt.loaded(true);
        }
        let row = self.store.loaded(key);
        if self.weather.caches {
            remember(cache, key, row.clone());
        }
        running.attempt.snapshot().show(key.clone(), row);
    }

    fn begin_again(&mut self, running: &mut Running) {
        self.figures.conflicts += 1;
        running.line.iter_mut().for_each(InLine::begin_again);
        running.conflicts += 1;
        running.reads = 0;
        assert!(running.conflicts < CONFLICTS_MAX, "{:?} conflicts without end", running.call());
        running.attempt.conflicted(self.time_at(running.seat.plane), self.dice.bits());
    }

    fn commit(&mut self, running: &Running, decision: &Decision) -> Result<(), Conflict> {
        let now = running.attempt.now();
        let lease = self.dice.chance(self.weather.born_leased).then(|| (now, now + self.policy.lease));
        let born: Vec<_> = decision.due.iter().filter(|due| due.at <= now && lease.is_some()).collect();
        let before = (running.line.len() > 1).then(|| self.store.clone());
        let removed = self.store.commit(decision, lease)?;
        if self.weather.caches {
            let keys = decision.writes.iter().map(Write::key);
            keys.for_each(|key| {
                remember(&mut self.planes[running.seat.plane].cache, &key, self.store.loaded(&key))
            });
        }
        self.figures.commits += 1;
        self.figures.dispatches +=
            decision.events.iter().filter(|event| event.kind == "task.dispatched").count() as u64;
        self.digest(self.now.as_micros().unsigned_abs() ^ decision.events.len() as u64);
        self.say(|_| {
            let told: Vec<String> = decision.events.iter().map(told).collect();
            let calls: Vec<&str> = running.line.iter().map(|member| member.call().name()).collect();
            format!("{:?} commits {}: {}", running.seat, calls.join(" and "), told.join("; "))
        });
        for member in &running.line {
            if let (Call::Discard(discard), Some(_)) = (member.call(), member.decided()) {
                self.promises.discarded.insert(discard.message.clone());
            }
        }
        if let Some(before) = before {
            self.figures.folds += 1;
            self.check_apart(running, decision, before, lease.map(|(_, until)| until));
        } else {
            self.checker.after_commit(&self.store, running.call(), decision, &removed);
            running.line[0].check_kept(&self.store);
        }
        for event in &decision.events {
            if let (Some(agent), "agent.registered" | "agent.replaced" | "agent.announced") =
                (&event.agent, event.kind.as_str())
            {
                self.registered.insert(agent.clone(), self.now);
            }
        }
        self.close(&decision.disconnected);
        for hint in &decision.hints {
            if !self.dice.chance(self.weather.hints_lost) {
                self.soon(Event::MatchHint(running.seat, hint.clone()));
            }
        }
        for due in born {
            self.do_due(running.seat.plane, due.work.clone());
        }
        if !decision.due.is_empty() && !self.dice.chance(self.weather.wakes_lost) {
            self.soon(Event::Poll { plane: running.seat.plane, is_chain: false });
        }
        Ok(())
    }

    fn answered(&mut self, seat: Seat, member: &InLine, answer: ToolReply) {
        match (member.call(), &answer, member.caller()) {
            (Call::MatchAgent(offer), ToolReply::Yes(true), Caller::Plane) => {
                let hint = MatchHint::Agent(offer.agent.clone());
                self.follow(seat, hint);
            }
            (Call::Connect(connect), _, Caller::Program { index, life, .. }) => {
                self.connected(*index, *life, connect, seat);
            }
            (_, _, Caller::Program { index, life, .. }) => {
                self.program_hears(*index, *life, member.call(), &answer)
            }
            (_, _, Caller::Client { .. } | Caller::Operator) => self.person_hears(&answer),
            _ => {}
        }
    }

    fn refused(&mut self, seat: Seat, member: &InLine, rejected: &Rejected) {
        let (call, caller) = (member.call(), member.caller());
        self.say(|_| format!("{seat:?} refuses {}: {rejected}", call.name()));
        assert!(!matches!(rejected, Rejected::InvalidTransition(_)), "{call:?}: {rejected}");
        assert!(!matches!(caller, Caller::Plane), "a plane's own {call:?} is refused: {rejected}");
        let is_known = !matches!(rejected, Rejected::UnknownAgent(_));
        assert!(is_known || !matches!(call, Call::Register(_) | Call::Announce(_)), "{call:?}: {rejected}");
        if let Caller::Program { index, life, .. } = *caller {
            self.program_is_refused(index, life, call, rejected);
        }
    }

    /// Whoever called gets no answer, and may call again.
    fn unheard(&mut self, call: Call, caller: Caller) {
        let wait = self.dice.millis(100, 3_000);
        match caller {
            Caller::Program { index, life, tries } if tries < 30 => {
                self.after(
                    wait + Duration::from_millis(200) * tries,
                    Event::Call(call, Caller::Program { index, life, tries: tries + 1 }),
                );
            }
            Caller::Client { tries } if tries < 30 => {
                self.after(wait, Event::Call(call, Caller::Client { tries: tries + 1 }));
            }
            _ => {}
        }
    }
}

/// Holds what a row is now, where there is one.
fn remember(cache: &mut HashMap<Key, Loaded>, key: &Key, row: Option<Loaded>) {
    match row {
        Some(row) => drop(cache.insert(key.clone(), row)),
        None => drop(cache.remove(key)),
    }
}

fn told(event: &NewEvent) -> String {
    format!("{} {}", event.kind, event.data)
}
