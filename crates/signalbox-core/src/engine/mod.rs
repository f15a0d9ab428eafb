//! The engine: one [`Operation`] for each thing that can happen, each a pure function.
//!
//! [`attempt`] is the loop that whoever drives an operation runs, over a database or in a simulation.

mod agents;
mod announce;
mod approvals;
pub mod attempt;
mod calls;
mod children;
mod concurrency;
mod definitions;
mod deliveries;
mod dispatch;
mod dispatched;
mod ending;
mod flow;
mod hooks;
mod logs;
mod matching;
mod messages;
mod notifications;
mod payloads;
mod purge;
mod records;
mod reports;
mod rerun;
mod schedules;
mod sessions;
mod timers;
mod triggers;
mod unit_of_work;
mod waits;

pub use agents::{Deregister, Drain, PatchAgent, Register, Registered};
pub use announce::{Announce, AnnounceListed, Announced};
pub use approvals::Approve;
pub use calls::SettleCall;
pub use definitions::{ApplyDefinition, DeleteDefinition, DeleteRevision, RollBack};
pub use deliveries::{DeliveredReport, Discard, ExpireDelivery, Redrive, SettleDelivery};
pub use dispatched::{ExpireDispatch, SettleDispatch};
pub use hooks::{CreateHook, DeleteHook, ReceiveWebhook, RotateHook};
pub use logs::{AppendLogs, LogEntry};
pub use matching::{MatchAgent, MatchTask};
pub use messages::Accept;
pub use notifications::{Notification, NotifiedEvent};
pub use purge::PurgeSession;
pub use records::{CreateKey, CreateTenant, CreateTool, DeleteTool, RevokeKey, SeeSignature, SetRetention};
pub use reports::ReportState;
pub use rerun::Rerun;
pub use schedules::{
    ApplySchedule, ChangeSchedule, ControlSchedule, DeleteSchedule, Filled, PlanChange, ScheduleCommand,
    ScheduleControlled,
};
pub use sessions::{Cancel, Pause, Resume, RetrySession};
pub use timers::TimerFired;
pub use triggers::{Trigger, Triggered, WorkflowSource};
pub use waits::Signal;

use crate::decision::Key;
use crate::{Decision, DecisionContext, Halt, Snapshot};

/// Something that happens: what it changes follows from the stored state and the context alone.
pub trait Operation {
    /// What whoever asked is told.
    type Output;

    /// Rows that it asks for in any case. Whoever drives it may show them from the start, which saves running
    /// it once for each; it decides the same without.
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }

    /// Decides what changes.
    ///
    /// # Errors
    /// [`Halt::Need`] when it must see more first; [`Halt::Rejected`] when it is refused.
    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt>;
}

impl<O: Operation + ?Sized> Operation for &O {
    type Output = O::Output;

    fn keys(&self) -> Vec<Key> {
        (**self).keys()
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Self::Output), Halt> {
        (**self).decide(snapshot, context)
    }
}
