//! Schedules in the world: people who make, change and remove them, and what must hold of their fire times.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Map;
use signalbox_core::Decision;
use signalbox_core::cron::Rhythm;
use signalbox_core::decision::{Key, Row, Write};
use signalbox_core::due::DueJob;
use signalbox_core::engine::{ApplySchedule, ControlSchedule, DeleteSchedule, ScheduleCommand};
use signalbox_core::schedule::{Overlap, Plan};
use signalbox_core::session::SessionEvent;
use signalbox_core::snapshot::Loaded;
use signalbox_wire::id::{ScheduleId, SessionId, WorkflowId};
use signalbox_wire::time::Timestamp;

use crate::calls::Call;
use crate::driver::Caller;
use crate::store::Store;
use crate::world::{Event, World};

/// Schedules that people know. Of the first, no two sessions may be open at once.
const NAMES: [&str; 2] = ["strict", "any"];
/// Until when the last of them is gone, once all faults have stopped.
const GONE_AFTER: Duration = Duration::from_secs(30);

impl World {
    /// Somebody makes, changes or steers a schedule of a workflow.
    pub(crate) fn schedule(&mut self, workflow: WorkflowId) -> Call {
        let index = self.dice.below(NAMES.len());
        let schedule = id(index);
        let command = match self.dice.below(8) {
            0 => ScheduleCommand::Pause,
            1 | 2 => ScheduleCommand::Resume,
            3 => ScheduleCommand::Trigger { overlap: None },
            4 => {
                let to = self.time_at(0);
                let overlap = if index == 0 { Overlap::BufferAll } else { self.overlap(index) };
                ScheduleCommand::Backfill { from: to - self.dice.millis(0, 30_000), to, overlap }
            }
            5 if self.dice.chance(30) => return DeleteSchedule { schedule }.into(),
            _ => {
                let plan = Plan {
                    workflow,
                    agent: None,
                    input: Map::new(),
                    rhythm: Rhythm::Every(Duration::from_secs(1) + self.dice.millis(0, 9_000)),
                    time_zone: "UTC".to_owned(),
                    overlap: self.overlap(index),
                    catch_up: self.dice.millis(1, 20_000),
                    note: None,
                };
                let paused = self.dice.chance(30).then_some(self.dice.chance(20));
                return ApplySchedule { schedule, plan, paused }.into();
            }
        };
        ControlSchedule { schedule, command }.into()
    }

    /// No more of them: a world with a schedule never comes to rest.
    pub(crate) fn remove_schedules(&mut self) {
        for index in 0..NAMES.len() {
            let call: Call = DeleteSchedule { schedule: id(index) }.into();
            self.after(GONE_AFTER, Event::Call(call, Caller::Client { tries: 0 }));
        }
    }

    fn overlap(&mut self, index: usize) -> Overlap {
        use Overlap::{AllowAll, BufferAll, BufferOne, CancelOther, Skip};
        let known = [Skip, BufferOne, BufferAll, CancelOther, AllowAll];
        let count = if index == 0 { 4 } else { 5 };
        known[self.dice.below(count)]
    }
}

fn id(index: usize) -> ScheduleId {
    ScheduleId::parse(NAMES[index]).expect("valid")
}

/// What is remembered of schedules from one commit to the next.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    /// The lives of each schedule: one that is made again under its old id is another.
    lives: BTreeMap<ScheduleId, u32>,
    /// The fire times that have made a session.
    started: HashSet<(ScheduleId, u32, u64)>,
    /// The moments that schedules themselves have fired for.
    moments: HashSet<(ScheduleId, u32, Timestamp)>,
    /// The sessions of this life of the strict one.
    strict: BTreeSet<SessionId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    schedule_id: ScheduleId,
    #[serde(default)]
    scheduled_at: Timestamp,
    #[serde(default)]
    number: u64,
    #[serde(default)]
    cause: String,
    session_id: Option<SessionId>,
}

impl Fired {
    /// Checks what a commit says of schedules.
    pub(crate) fn after_commit(&mut self, store: &Store, decision: &Decision) {
        for event in decision.events.iter().filter(|event| event.kind.starts_with("schedule.")) {
            let told: Told = serde_json::from_str(&event.data).expect("an event that can be read");
            match event.kind.as_str() {
                "schedule.created" => {
                    *self.lives.entry(told.schedule_id.clone()).or_default() += 1;
                    if told.schedule_id == id(0) {
                        self.strict.clear();
                    }
                }
                "schedule.fired" => self.fired(told),
                _ => {}
            }
        }
        self.check_strict(store);
        for write in &decision.writes {
            if let Key::Schedule(schedule) = write.key() {
                check_row(store, &schedule, matches!(write, Write::Put { row: Row::Schedule(_), .. }));
            }
        }
    }

    fn fired(&mut self, told: Told) {
        let life = self.lives.get(&told.schedule_id).copied().unwrap_or_default();
        let schedule = told.schedule_id;
        let is_first = self.started.insert((schedule.clone(), life, told.number));
        assert!(is_first, "fire time {} of {schedule} makes two sessions", told.number);
        if told.cause == "schedule" {
            let is_first = self.moments.insert((schedule.clone(), life, told.scheduled_at));
            assert!(is_first, "{schedule} fires twice for {}", told.scheduled_at);
        }
        if schedule == id(0) {
            self.strict.extend(told.session_id);
        }
    }

    /// Two sessions of the strict one are never open at once, but for those that somebody tried again.
    fn check_strict(&mut self, store: &Store) {
        self.strict.retain(|session| {
            let is_open = store.session(session).is_some_and(|read| !read.value.session.status.is_over());
            let is_retried = |(_, event): &(Timestamp, SessionEvent)| *event == SessionEvent::Retried;
            is_open && !store.histories[session].iter().any(is_retried)
        });
        assert!(self.strict.len() <= 1, "open at once: {:?}", self.strict);
    }
}

/// No lost wake-up: a schedule that has something to do has due work, and one that is gone has none.
fn check_row(store: &Store, id: &ScheduleId, is_there: bool) {
    let due = store.due.get(&DueJob::Fire { schedule: id.clone() }.id());
    let Some(Loaded::Schedule(read)) = store.loaded(&Key::Schedule(id.clone())) else {
        assert!(!is_there && due.is_none(), "{id} is gone and still due");
        return;
    };
    let schedule = &read.value;
    let next = schedule.next_at.is_some() || !schedule.waiting.is_empty();
    assert!(due.is_some() || !next, "nothing will ever wake {id} up: {schedule:#?}");
}
