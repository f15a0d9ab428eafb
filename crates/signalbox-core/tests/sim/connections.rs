//! Agents that are reached over connections: they connect to a plane, lose their connection without either side knowing at
//! once, connect again, and answer late. What is sent over a connection that is lost is sent again over the next.

use std::time::Duration;

use signalbox_core::connection::Disconnected;
use signalbox_core::engine::{Connect, Disconnect, DisconnectMany};
use signalbox_wire::id::{AgentId, ConnectionId, NodeId};
use signalbox_wire::time::Timestamp;

use crate::agents::Act;
use crate::driver::Caller;
use crate::world::{Event, Seat, World};

/// A connection that a program holds with a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) seat: Seat,
}

/// How long a plane may be silent before the others take it for gone.
const SILENT_MAX: Duration = Duration::from_secs(15);

fn node(seat: Seat) -> NodeId {
    NodeId::parse(&format!("nod_{}_{}", seat.plane, seat.life)).expect("valid")
}

impl World {
    /// A program without a connection connects to some plane, and looks after a while whether that went well.
    pub(crate) fn connect(&mut self, index: usize) {
        let program = &self.programs[index];
        let Some(agent) = program.id.clone().filter(|_| program.is_up && program.connects) else { return };
        if program.link.is_some() {
            return;
        }
        let life = program.life;
        let again = self.dice.millis(2_000, 6_000);
        self.plan_act(index, again, Act::Connect);
        let Some(seat) = self.seat() else { return };
        let connection = ConnectionId::parse(&format!("con_{}", self.number())).expect("valid");
        let connect = Connect { agent, connection, node: node(seat), key: None, is_resumed: false };
        self.start(seat.plane, connect.into(), Caller::Program { index, life, tries: u32::MAX });
        if self.dice.chance(self.weather.network) {
            let wait = self.dice.millis(100, 30_000);
            self.plan_act(index, wait, Act::LoseConnection);
        }
    }

    /// A program's connection has come about, as far as its plane knows.
    pub(crate) fn connected(&mut self, index: usize, life: u32, connect: &Connect, seat: Seat) {
        let program = &self.programs[index];
        let is_there = program.life == life && program.is_up && program.id.as_ref() == Some(&connect.agent);
        let status = self.store.status(&connect.agent);
        let is_held = status
            .and_then(|status| status.connection.as_ref())
            .is_some_and(|held| held.id == connect.connection);
        if is_there && is_held && program.link.is_none() {
            self.programs[index].link = Some(Link { id: connect.connection.clone(), seat });
        } else {
            // The program has gone meanwhile, or has another: the plane finds its end closed.
            self.connection_ends(seat, connect.agent.clone(), connect.connection.clone());
        }
    }

    /// A program's connection breaks; its plane learns so after a while, and the program connects again.
    pub(crate) fn lose_connection(&mut self, index: usize) {
        let program = &mut self.programs[index];
        let Some(link) = program.link.take() else { return };
        let Some(agent) = program.id.clone() else { return };
        self.connection_ends(link.seat, agent, link.id);
        let wait = self.dice.millis(10, if self.is_calm { 100 } else { 20_000 });
        self.plan_act(index, wait, Act::Connect);
    }

    /// The program at the other end has died.
    pub(crate) fn plane_finds_closed(&mut self, link: Link, agent: AgentId) {
        self.connection_ends(link.seat, agent, link.id);
    }

    fn connection_ends(&mut self, seat: Seat, agent: AgentId, connection: ConnectionId) {
        let most = if self.dice.chance(self.weather.stall * 3) { 20_000 } else { 200 };
        let wait = self.dice.millis(0, most);
        let end = Disconnect { agent, connection, reason: "it was closed".to_owned() };
        self.after(wait, Event::Ended(seat, end));
    }

    /// A plane has learnt that a connection that it held is over.
    pub(crate) fn plane_learns_of_end(&mut self, seat: Seat, end: Disconnect) {
        if self.lives(seat) {
            self.start(seat.plane, end.into(), Caller::Plane);
        }
    }

    /// A commit has ended connections: those who hold them are told.
    pub(crate) fn close(&mut self, disconnected: &[Disconnected]) {
        for Disconnected { connection, .. } in disconnected {
            let is_its = |link: &Link| link.id == connection.id;
            let held = self.programs.iter().position(|program| program.link.as_ref().is_some_and(is_its));
            if let Some(index) = held {
                self.programs[index].link = None;
                let wait = self.dice.millis(10, 2_000);
                self.plan_act(index, wait, Act::Connect);
            }
        }
    }

    /// A plane has died: its connections break, and others take it for gone after a while.
    pub(crate) fn connections_break(&mut self, seat: Seat) {
        for index in 0..self.programs.len() {
            if self.programs[index].link.as_ref().is_some_and(|link| link.seat == seat) {
                self.programs[index].link = None;
                let wait = self.dice.millis(10, 5_000);
                self.plan_act(index, wait, Act::Connect);
            }
        }
        self.after(SILENT_MAX, Event::Lost(seat));
    }

    /// A plane that is up sweeps what one that is gone held; again, until nothing is left.
    pub(crate) fn sweep_connections(&mut self, lost: Seat) {
        let node = node(lost);
        let agents: Vec<AgentId> = self.store.agents.keys().cloned().collect();
        let connections: Vec<_> = agents
            .into_iter()
            .filter_map(|agent| {
                let held = self.store.status(&agent)?.connection.as_ref()?;
                (held.node == node).then(|| (agent, held.id.clone()))
            })
            .collect();
        if connections.is_empty() {
            return;
        }
        if let Some(seat) = self.seat() {
            self.start(
                seat.plane,
                DisconnectMany { connections, reason: format!("node {node} is gone") }.into(),
                Caller::Plane,
            );
        }
        self.after(Duration::from_secs(5), Event::Lost(lost));
    }

    /// The address of the connection that an agent holds by its status.
    pub(crate) fn connection_of(&self, agent: &AgentId) -> Option<String> {
        let held = self.store.status(agent)?.connection.as_ref()?;
        Some(address(&held.id))
    }

    /// Since when an agent that is reached over connections holds none.
    pub(crate) fn away_since(&self, agent: &AgentId) -> Option<Timestamp> {
        let registered = self.store.agents.get(agent).filter(|agent| agent.endpoint.is_none())?;
        let status = self.store.status(agent)?;
        match status.connection {
            Some(_) => None,
            None => Some(status.disconnected_at.unwrap_or(registered.registered_at)),
        }
    }
}

/// What a delivery over a connection is addressed to.
pub(crate) fn address(connection: &ConnectionId) -> String {
    format!("connection {connection}")
}
