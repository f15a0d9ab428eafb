//! Bodies of the AgentKit surface (`/v1`): agents, messages, tools, deliveries.
//!
//! Every answer but a problem is an envelope with `status`, `message` and `data`; clients read all three.

mod agent;
mod delivery;
mod run;
mod run_body;
mod tool;

pub use agent::{AgentView, DeliveryFailureView, HeldTaskView, PatchAgentBody, RegisterBody, Registered};
pub use delivery::{
    DeadLetterView, DeliveryStatus, DiscardManyAnswer, MessageView, RedriveAnswer, RedriveManyAnswer,
};
pub use run::{RunMessage, TOOL_INVOCATION, ToolCall};
pub use run_body::{MessageBody, RunAccepted, RunBody, Scheduled, TaskBody};
pub use tool::{ToolAnswer, ToolBody, ToolReply, ToolStatus, ToolView};

pub use crate::capability::CapabilityBody;
pub use crate::envelope::{Success, SuccessList, SuccessWord};
