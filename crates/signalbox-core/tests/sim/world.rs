//! A world: planes that share a store, agents, clients and operators, in virtual time and from one seed.
//!
//! Everything that happens is an [`Event`] in one queue, in the order of its time. A storm of faults is
//! followed by a calm, at whose end everything that can be finished must be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use signalbox_core::decision::{Key, MatchHint};
use signalbox_core::definition::Definition;
use signalbox_core::delivery::Message;
use signalbox_core::engine::{DeliveredReport, Disconnect, SettleCall};
use signalbox_core::limits::Policy;
use signalbox_core::snapshot::Loaded;
use signalbox_wire::id::{AgentId, MessageId, SessionId};
use signalbox_wire::time::Timestamp;

use crate::agents::{Act, Program};
use crate::calls::Call;
use crate::check::Checker;
use crate::dice::Dice;
use crate::driver::{Caller, Running};
use crate::due::Settled;
use crate::store::Store;
use crate::weather::{self, Weather};

/// When a world begins.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// How long faults go on.
const STORM: Duration = Duration::from_secs(90);
/// How long the calm may take to finish everything.
const CALM_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Everything there is.
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) policy: Policy,
    pub(crate) now: Timestamp,
    pub(crate) store: Store,
    pub(crate) checker: Checker,
    pub(crate) planes: Vec<Plane>,
    pub(crate) running: BTreeMap<u64, Running>,
    pub(crate) programs: Vec<Program>,
    /// When each agent was registered last.
    pub(crate) registered: BTreeMap<AgentId, Timestamp>,
    pub(crate) definitions: BTreeMap<usize, Definition>,
    pub(crate) promises: Promises,
    /// What agents answer to the deliveries of their tasks, where that is their report.
    pub(crate) answers: BTreeMap<MessageId, DeliveredReport>,
    pub(crate) is_calm: bool,
    pub(crate) figures: Figures,
    is_traced: bool,
    ends_at: Timestamp,
    queue: BTreeMap<(Timestamp, u64), Event>,
    next: u64,
}

/// A process that serves.
#[derive(Debug)]
pub(crate) struct Plane {
    pub(crate) is_up: bool,
    /// Grows with every start: what an earlier life had in memory is gone.
    pub(crate) life: u32,
    /// How far its clock is off, in microseconds.
    pub(crate) skew: i64,
    /// Rows that it has seen, as it saw them.
    pub(crate) cache: HashMap<Key, Loaded>,
}

/// A life of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) plane: usize,
    pub(crate) life: u32,
}

/// What was acknowledged, and must be found for ever.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) sessions: BTreeSet<SessionId>,
    pub(crate) messages: BTreeSet<MessageId>,
    pub(crate) marks: BTreeSet<u64>,
    /// Messages that reached their endpoint.
    pub(crate) arrived: BTreeSet<MessageId>,
    /// Messages that an operator threw away.
    pub(crate) discarded: BTreeSet<MessageId>,
}

/// What happened in a world: tells whether it was a rich one, and whether two runs were the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) commits: u64,
    pub(crate) conflicts: u64,
    /// Commits of several operations at once.
    pub(crate) folds: u64,
    pub(crate) crashes: u64,
    pub(crate) sessions: u64,
    pub(crate) completed: u64,
    pub(crate) dispatches: u64,
    pub(crate) digest: u64,
}

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// An operation takes its next step.
    Step(u64),
    /// A plane follows a hint.
    MatchHint(Seat, MatchHint),
    /// A plane looks for due work; one of these in a chain keeps looking.
    Poll { plane: usize, is_chain: bool },
    /// A delivery reaches its endpoint.
    Arrive(Letter),
    /// A plane learns what came of an attempt to deliver.
    Outcome { seat: Seat, settled: Settled },
    /// A plane writes down that an agent has taken a task, if it still lives.
    Kept { seat: Seat, settled: Settled },
    /// A plane learns what came of calling a tool.
    Called(Seat, SettleCall),
    /// A program does something, if it is still in that life.
    Program { index: usize, life: u32, act: Act },
    /// A program says that it is ready, in whatever life it is.
    Say { index: usize },
    /// Somebody calls.
    Call(Call, Caller),
    /// A client wants something.
    Client,
    /// An operator interferes.
    Operator,
    /// A plane sweeps up what waits.
    Sweep,
    /// A plane learns that a connection that it held is over.
    Ended(Seat, Disconnect),
    /// A life of a plane is taken for gone.
    Lost(Seat),
    /// A plane dies.
    Crash(usize),
    /// It is started again.
    Restart(usize),
    /// The storm is over.
    Calm,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) message: Arc<Message>,
    pub(crate) endpoint: String,
}

impl World {
    /// A world from `seed`, told as it goes when it is traced.
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let weather = Weather::storm(&mut dice);
        let policy = weather::policy(&mut dice);
        let skews: Vec<i64> =
            (0..weather.planes).map(|_| dice.between(-weather.skew, weather.skew)).collect();
        let planes = skews
            .into_iter()
            .map(|skew| Plane { is_up: true, life: 0, skew, cache: HashMap::new() })
            .collect();
        let mut world = Self {
            programs: Vec::new(),
            registered: BTreeMap::new(),
            definitions: BTreeMap::new(),
            store: Store::new(weather.looks),
            checker: Checker::new(policy.clone()),
            planes,
            running: BTreeMap::new(),
            promises: Promises::default(),
            answers: BTreeMap::new(),
            is_calm: false,
            figures: Figures::default(),
            is_traced,
            ends_at: BEGINNING + STORM + CALM_MAX,
            queue: BTreeMap::new(),
            next: 0,
            now: BEGINNING,
            dice,
            weather,
            policy,
        };
        world.say(|world| format!("{:#?}\n{:#?}", world.weather, world.policy));
        world.begin();
        world
    }

    /// Runs the world to its end and checks what is left.
    pub(crate) fn run(mut self) -> Figures {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            // No two turns share a moment: a real clock that is read twice has moved on.
            self.now = at.max(self.now + Duration::from_micros(1));
            if self.now >= self.ends_at {
                panic!("calm has not come after {} s: {:#?}", CALM_MAX.as_secs(), self.unfinished());
            }
            if self.is_calm && matches!(event, Event::Sweep) && self.unfinished().is_empty() {
                break;
            }
            self.happen(event);
        }
        self.judge();
        self.figures.sessions = self.store.sessions.len() as u64;
        self.figures
    }

    /// A number that nothing else in this world has.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets `event` happen after `wait`.
    pub(crate) fn after(&mut self, wait: Duration, event: Event) {
        let number = self.number();
        self.queue.insert((self.now + wait, number), event);
    }

    /// Lets `event` happen in a few milliseconds.
    pub(crate) fn soon(&mut self, event: Event) {
        let wait = self.dice.millis(0, 20);
        self.after(wait, event);
    }

    /// Tells what happens, where somebody listens.
    pub(crate) fn say(&self, what: impl FnOnce(&Self) -> String) {
        if self.is_traced {
            println!("{:>12.6} {}", self.now.since(BEGINNING).as_secs_f64(), what(self));
        }
    }

    /// Mixes `number` into the figure by which two runs are compared.
    pub(crate) fn digest(&mut self, number: u64) {
        self.figures.digest =
            (self.figures.digest.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn begin(&mut self) {
        self.people_agents();
        for plane in 0..self.planes.len() {
            self.after(Duration::from_millis(100), Event::Poll { plane, is_chain: true });
        }
        for _ in 0..self.dice.below(14) + 3 {
            let at = self.dice.millis(500, 75_000);
            self.after(at, Event::Client);
        }
        if self.weather.operators {
            for _ in 0..self.dice.below(25) {
                let at = self.dice.millis(2_000, 90_000);
                self.after(at, Event::Operator);
            }
        }
        if self.weather.crashes {
            for _ in 0..self.dice.below(5) + 1 {
                let (at, plane) = (self.dice.millis(0, 90_000), self.dice.below(self.planes.len()));
                self.after(at, Event::Crash(plane));
            }
        }
        self.after(Duration::from_secs(10), Event::Sweep);
        self.after(STORM, Event::Calm);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Step(id) => self.step(id),
            Event::MatchHint(seat, hint) => self.follow(seat, hint),
            Event::Poll { plane, is_chain } => self.poll(plane, is_chain),
            Event::Arrive(letter) => self.arrive(&letter),
            Event::Outcome { seat, settled } => self.learn(seat, settled),
            Event::Kept { seat, settled } if self.lives(seat) => {
                self.start(seat.plane, settled.into_call(), Caller::Plane);
            }
            Event::Kept { .. } => {}
            Event::Called(seat, call) if self.lives(seat) => {
                self.start(seat.plane, call.into(), Caller::Plane);
            }
            Event::Called(..) => {}
            Event::Program { index, life, act } => self.act(index, life, act),
            Event::Say { index } => self.act(index, self.programs[index].life, Act::Idle),
            Event::Call(call, caller) => self.call(call, caller),
            Event::Client => self.client(),
            Event::Operator => self.operator(),
            Event::Sweep => self.sweep(),
            Event::Ended(seat, end) => self.plane_learns_of_end(seat, end),
            Event::Lost(seat) => self.sweep_connections(seat),
            Event::Crash(plane) => self.crash(plane),
            Event::Restart(plane) => self.restart(plane),
            Event::Calm => self.calm(),
        }
    }
}
