//! Bodies of the Ops-Core surface (`/v1/opscore`): notifications, states, workflows, sessions, events, logs.

mod event;
mod log;
mod notify;
mod schedule;
mod schedule_view;
mod session;
mod state;
mod trigger;
mod workflow;

pub use event::{EventView, LogLevel};
pub use log::{LogBody, LogEntry, LogView, LogsAccepted};
pub use notify::{AgentDetails, DEREGISTER, NotifyBody, REGISTER};
pub use schedule::{BackfillBody, Overlap, PatchScheduleBody, ScheduleBody, StartScheduleBody};
pub use schedule_view::{BackfillAnswer, FireCause, FireOutcome, FireView, ScheduleStatus, ScheduleView};
pub use session::{
    ApprovalView, ApproveBody, CancelBody, SessionStatus, SessionView, SignalBody, TaskStatus, TaskView,
};
pub use state::{HistoryEntry, StateBody, StateView};
pub use trigger::{StartBody, TriggerAnswer, TriggerBody};
pub use workflow::{
    ApproveRule, CompensateBody, ConcurrencyBody, MAX_RETRIES_DEFAULT, NotifyRule, OnBusy, OnFailure,
    RetryBody, TASKS_MAX, WaitRule, WorkflowBody, WorkflowTask, WorkflowView,
};

pub use crate::capability::CapabilityBody;
pub use crate::envelope::Done;
pub use crate::paging::Page;
