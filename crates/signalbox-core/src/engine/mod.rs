//! The engine: one [`Operation`] for each thing that can happen, each a pure function.
//!
//! Whoever drives an operation runs this loop, over a database or in a simulation:
//!
//! ```text
//! view = empty, turn = (now, seed)
//! loop:
//!     decide(view, turn) ─ Need(n)     → load n into the view, run again with the same turn
//!                        ─ Rejected(r) → answer r
//!                        ─ Decision    → commit it ─ conflict → empty the view, load anew, run again
//!                                                  ─ done     → answer, follow the decision's hints
//! ```
//!
//! Rows may be old, from a cache or because they were read one after the other: a decision on such rows
//! conflicts. A refusal and an empty decision commit nothing, so where a cache can be old they are only to be
//! believed when they were made on rows from the store itself.

mod agents;
mod announce;
mod approvals;
mod calls;
mod children;
mod concurrency;
mod definitions;
mod deliveries;
mod dispatch;
mod ending;
mod flow;
mod hooks;
mod logs;
mod matching;
mod messages;
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
pub use announce::{Announce, Announced};
pub use approvals::Approve;
pub use calls::SettleCall;
pub use definitions::{ApplyDefinition, DeleteDefinition, DeleteRevision, RollBack};
pub use deliveries::{Discard, Redrive, SettleDelivery};
pub use hooks::{CreateHook, DeleteHook, ReceiveWebhook, RotateHook};
pub use logs::{AppendLogs, LogEntry};
pub use matching::{MatchAgent, MatchTask};
pub use messages::Accept;
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

/// Something that happens: what it changes follows from the stored state and the turn alone.
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
