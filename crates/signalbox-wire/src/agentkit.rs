//! Bodies of the AgentKit surface (`/v1`): agents, messages, tools, deliveries.
//!
//! Every answer but a problem is an envelope with `status`, `message` and `data`; clients read all three.

mod agent;
mod delivery;
mod run;
mod tool;

pub use agent::{AgentView, PatchAgentBody, RegisterBody, Registered};
pub use delivery::{DeadLetterView, DeliveryStatus, MessageView, RedriveAnswer};
pub use run::{
    MessageBody, RunAccepted, RunBody, RunMessage, Scheduled, TOOL_INVOCATION, TaskBody, ToolCall,
};
pub use tool::{ToolAnswer, ToolBody, ToolReply, ToolStatus, ToolView};

pub use crate::capability::CapabilityBody;
pub use crate::envelope::{Success, SuccessList, SuccessWord};
