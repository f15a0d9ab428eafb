//! The Rust client of Signalbox: typed calls over HTTP ([`Client`]), a session's events followed live
//! ([`EventStream`]), and a runtime for agents, reached over HTTP or over a WebSocket ([`agent::Agent`]).
//!
//! The invariant: a request is sent again only where a repeat cannot do the work twice. Knows nothing of
//! the server's inside: it shares the wire formats with it and no more.
//!
//! ```no_run
//! use serde_json::{Value, json};
//! use signalbox_client::{Client, WorkflowBody, WorkflowTask, agent::{Agent, Call}};
//!
//! # async fn example() -> Result<(), signalbox_client::Error> {
//! let client = Client::from_env()?;
//! let shout = |call: Call| async move {
//!     let text = call.payload["text"].as_str().ok_or("there is no text")?;
//!     Ok::<Value, &str>(json!({ "text": text.to_uppercase() }))
//! };
//! let agent = Agent::new(client.clone(), "shouter").capability("shout").task("shout", shout);
//! let running = agent.start().await?;
//!
//! let shout = WorkflowTask { task_id: "shout".into(), agent_capability: Some("shout".into()), ..Default::default() };
//! let workflow =
//!     WorkflowBody { id: "loud".into(), name: "Loud".into(), tasks: vec![shout], ..Default::default() };
//! let input = json!({ "text": "hello" });
//! let session = client.trigger_inline(running.agent_id(), workflow, &input).await?.session_id;
//! let mut events = client.follow_session(session.as_str(), 0);
//! while let Some(event) = events.next().await? {
//!     println!("{} {}", event.kind, event.message);
//! }
//! # Ok(())
//! # }
//! ```

pub mod agent;

mod agents;
mod answer;
mod channels;
mod client;
mod commands;
mod edge;
mod error;
mod feed;
mod follow;
mod hooks;
mod keys;
mod many;
mod messages;
mod pages;
mod retry;
mod retry_after;
mod schedules;
mod sessions;
mod sse;
mod ssh_key;
mod ssh_keys;
mod state_report;
mod tenants;
mod tools;
mod transport;
mod workflows;

#[cfg(test)]
mod test_server;

pub use answer::Answer;
pub use client::{Body, Client, ListQuery, URL_DEFAULT};
pub use error::{Error, Problem};
pub use feed::Feed;
pub use follow::EventStream;
pub use http::{HeaderMap, Method};
pub use pages::Pages;
pub use retry::RetryPolicy;
/// The bodies and answers of all calls.
pub use signalbox_wire as wire;
pub use signalbox_wire::agentkit::{
    AgentView, CapabilityBody, DeadLetterView, DeliveryStatus, MessageBody, MessageView, RedriveManyAnswer,
    RegisterBody, TaskBody,
};
pub use signalbox_wire::fault::Fault;
pub use signalbox_wire::opscore::{
    ApprovalView, EventData, EventTask, EventView, LogEntry, LogLevel, SessionStatus, SessionView, StateView,
    TaskStatus, TaskView, TriggerAnswer, WorkflowBody, WorkflowTask,
};
pub use signalbox_wire::paging::Page;
pub use signalbox_wire::problem_kind::{ProblemKind, ProblemType};
pub use signalbox_wire::time::Timestamp;
pub use state_report::StateReport;
