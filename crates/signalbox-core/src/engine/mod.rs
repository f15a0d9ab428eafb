//! The engine: one [`Operation`] for each thing that can happen, each a pure function.
//!
//! [`attempt`] is the loop that whoever drives an operation runs, over a database or in a simulation.

mod agents;
mod announce;
mod approvals;
pub mod attempt;
mod calls;
mod channels;
mod children;
mod commands;
mod concurrency;
mod connections;
mod definitions;
mod deliveries;
mod dispatch;
mod dispatched;
mod ending;
mod figures;
mod guards;
mod hooks;
mod keys;
mod known_payloads;
mod logs;
mod machine;
mod matching;
mod messages;
mod notifications;
mod operation;
mod payloads;
mod purge;
mod records;
mod reports;
mod rerun;
mod schedules;
mod seeing;
mod sessions;
mod ssh_keys;
mod start;
mod tasks;
mod tenants;
mod timers;
mod token_keys;
mod triggers;
mod unit_of_work;
mod waits;

pub use agents::{Deregister, Drain, PatchAgent, Register, Registered};
pub use announce::{Announce, AnnounceListed, Announced};
pub use approvals::Approve;
pub use calls::SettleCall;
pub use channels::{
    ChangeChannel, CreateChannel, DeleteChannel, NewChannelMessage, PublishToChannel, Published,
    PublishedMessage,
};
pub use commands::{
    AcknowledgeCommand, AnswerCommand, CancelCommand, CommandAnswered, CreateCommand, ProgressCommand,
    SettleCommand,
};
pub use connections::{Connect, Disconnect, DisconnectMany};
pub use definitions::{ApplyDefinition, DeleteDefinition, DeleteRevision, RollBack};
pub use deliveries::{DeliveredReport, Discard, ExpireDelivery, Redrive, SettleDelivery};
pub use dispatched::{ExpireDispatch, SettleDispatch};
pub use figures::{Heartbeat, KeepFigures};
pub use hooks::{CreateHook, DeleteHook, ReceiveWebhook, RotateHook};
pub use keys::{CreateKey, NoteKeyUses, RevokeKey, RotateKey};
pub use logs::{AppendLogs, LogEntry};
pub use matching::{MatchAgent, MatchTask};
pub use messages::Accept;
pub use notifications::{Notification, NotifiedEvent};
pub use operation::Operation;
pub use purge::PurgeSession;
pub use records::{CreateTool, DeleteTool, SeeSignature, SetRetention};
pub use reports::ReportState;
pub use rerun::Rerun;
pub use schedules::{
    ApplySchedule, ChangeSchedule, ControlSchedule, DeleteSchedule, Filled, PlanChange, ScheduleCommand,
    ScheduleControlled,
};
pub use sessions::{Cancel, Pause, Resume, RetrySession};
pub use ssh_keys::{CreateSshKey, DeleteSshKey, RevokeSshKey, SignIn, UseChallenge};
pub use tenants::{AddUsage, ChangeTenant, CreateTenant};
pub use timers::TimerFired;
pub use token_keys::RotateTokenKeys;
pub use triggers::{Trigger, Triggered, WorkflowSource};
pub use waits::Signal;
