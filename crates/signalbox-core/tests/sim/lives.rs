//! How programs come, go, die and come back, and what they or their service say of themselves then.

use std::time::Duration;

use serde_json::{Map, Value, json};
use signalbox_core::engine::{Announce, Deregister, Register};

use crate::agents::{Act, Program};
use crate::driver::Caller;
use crate::world::{BEGINNING, Event, World};

impl World {
    pub(crate) fn register(&mut self, index: usize) {
        let replace = self.programs[index].id.is_some() || self.dice.chance(30);
        self.call_register(index, replace);
    }

    pub(crate) fn call_register(&mut self, index: usize, replace: bool) {
        let life = self.programs[index].life;
        let caller = Caller::Program { index, life, tries: 0 };
        if !self.programs[index].is_foreign {
            let call = self.programs[index].registration(replace);
            return self.soon(Event::Call(call.into(), caller));
        }
        if let Some(generation) = &mut self.programs[index].generation {
            *generation += 1;
        }
        let call = self.programs[index].announcement();
        // What announces it keeps trying; a copy may come much later.
        if self.dice.chance(self.weather.network) {
            let late = self.dice.millis(100, 20_000);
            self.after(late, Event::Call(call.clone().into(), Caller::Client { tries: 0 }));
        }
        self.soon(Event::Call(call.into(), caller));
    }

    pub(crate) fn deregister(&mut self, index: usize) {
        let program = &mut self.programs[index];
        if let Some(agent) = program.id.take() {
            let caller = Caller::Program { index, life: program.life, tries: 0 };
            self.soon(Event::Call(Deregister { agent, trace: None }.into(), caller));
        }
    }

    pub(crate) fn die(&mut self, index: usize) {
        let program = &mut self.programs[index];
        if !self.weather.deaths || !program.is_up {
            return;
        }
        program.is_up = false;
        program.life += 1;
        if let (Some(link), Some(agent)) = (program.link.take(), program.id.clone()) {
            self.plane_finds_closed(link, agent);
        }
        self.say(|world| format!("{} dies", world.programs[index].name));
        if !self.programs[index].is_mortal {
            let wait = self.dice.millis(500, 40_000);
            self.plan_act(index, wait, Act::Revive);
        }
    }

    /// A program comes back: it registers anew, or goes on as if nothing had been.
    pub(crate) fn revive(&mut self, index: usize) {
        let program = &mut self.programs[index];
        program.is_up = true;
        let act = if program.id.is_none() || self.dice.chance(60) { Act::Register } else { Act::Idle };
        self.plan_act(index, Duration::from_millis(1), act);
        self.plan_act(index, Duration::from_millis(2), Act::Connect);
    }
}

impl Program {
    pub(crate) fn endpoint(&self) -> String {
        format!("http://agent-{}", self.index)
    }

    fn registration(&self, replace: bool) -> Register {
        Register {
            id: self.own_id.clone(),
            name: self.name.clone(),
            version: self.life.to_string(),
            endpoint: (!self.connects).then(|| self.endpoint()),
            capabilities: self.capabilities.iter().map(|name| json!(name)).collect(),
            metadata: self.metadata(),
            replace,
            trace: None,
        }
    }

    /// What the service that this program is registered with says of it.
    pub(crate) fn announcement(&self) -> Announce {
        Announce {
            id: self.own_id.clone().expect("an announced agent brings its id"),
            name: self.name.clone(),
            version: self.life.to_string(),
            endpoint: Some(self.endpoint()),
            capabilities: self.capabilities.iter().map(|name| json!(name)).collect(),
            metadata: self.metadata(),
            registered_at: self.generation.map(|_| BEGINNING),
            generation: self.generation,
        }
    }

    fn metadata(&self) -> Map<String, Value> {
        Map::from_iter([("concurrency".to_owned(), json!(self.concurrency))])
    }
}
