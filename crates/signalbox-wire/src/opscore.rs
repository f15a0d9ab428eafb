//! Bodies of the Ops-Core surface (`/v1/opscore`): notifications, states, workflows, sessions, events, logs.

mod event;
mod event_data;
mod hook;
mod log;
mod many;
mod notify;
mod retention;
mod schedule;
mod schedule_view;
mod session;
mod state;
mod timeline;
mod trigger;
mod version;
mod workflow;

pub use event::{EventView, GapView, LogLevel};
pub use event_data::{EventApproval, EventData, EventTask, LogData};
pub use hook::{HookBody, HookInput, HookView, RotateHookBody};
pub use log::{LogBody, LogEntry, LogView, LogsAccepted};
pub use many::{
    ApproveManyBody, ManyAnswer, ManyBody, RefuseManyBody, Refused, SessionFilterBody, SignalManyBody, Which,
};
pub use notify::{AgentDetails, DEREGISTER, NotifyBody, REGISTER};
pub use retention::{EffectiveRetention, RetentionBody, RetentionView};
pub use schedule::{BackfillBody, Overlap, PatchScheduleBody, ScheduleBody, StartScheduleBody};
pub use schedule_view::{BackfillAnswer, FireCause, FireOutcome, FireView, ScheduleStatus, ScheduleView};
pub use session::{
    ApprovalView, ApproveBody, CancelBody, DeliveryView, RefuseBody, SessionStatus, SessionView, SignalBody,
    TaskStatus, TaskView,
};
pub use state::{ACCEPTS_REPORT, HistoryEntry, StateBody, StateView, TaskAnswer};
pub use timeline::{SpanKind, SpanView, TaskTimeline, TimelineView};
pub use trigger::{StartBody, TriggerAnswer, TriggerBody};
pub use version::{Change, Comparison, Difference, WorkflowVersion};
pub use workflow::{
    ApproveRule, CompensateBody, ConcurrencyBody, MAX_RETRIES_DEFAULT, NotifyRule, OnBusy, OnFailure,
    RetryBody, TASKS_MAX, WaitRule, WorkflowBody, WorkflowTask, WorkflowView,
};

pub use crate::capability::CapabilityBody;
pub use crate::envelope::Done;
pub use crate::paging::Page;
