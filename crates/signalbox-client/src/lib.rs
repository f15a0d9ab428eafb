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
//!
//! # What it logs
//!
//! The crate tells [`tracing`](https://docs.rs/tracing) what it does; where a program has a subscriber, that is its log. No
//! field holds a key, a token, a payload or a result. An `error` names the address that was called, which holds no credentials.
//!
//! | target | level | what | fields |
//! |---|---|---|---|
//! | `signalbox_client::agent` | span, info | `agent`: one for the agent's life | `agent` (its name), `agent_id` |
//! | | span, info | `work`: one for each piece of work, in the agent's; its handler runs in it, and its reports are sent in it | `kind`, `name`, `task_id`, `session_id`, `attempt`, `traceparent` |
//! | | info | registered | `agent_id`, `endpoint` |
//! | | info, warn | connected; not connected, and when it is tried again | `connection_id`; `reason`, `retry_in` |
//! | | debug | signed in with the SSH key | `agent_id` |
//! | | debug | work taken, work done, a repeat dropped | `kind`, `name`, `attempt`; `message_id` |
//! | | warn | a handler failed; the server refused something; messages are missing | `kind`, `name`, `code` |
//! | | error | a report is given up; the agent is over, such as when another process took its name | `state`, `reason` |
//! | `signalbox_client::request` | debug | a call was answered, or failed | `method`, `path`, `attempt`, `status`, `error` |
//! | | warn | a call failed and is made again | the same, `retry_in` |
//! | `signalbox_client::stream` | info | a stream broke off and is resumed | `stream`, `retry_in` |
//!
//! [`agent::Agent::observer`] tells a program of the same happenings as values. It stays beside `tracing` because it does what a
//! subscriber cannot: it belongs to one agent and not to the process, its values can be acted on (a test waits for one, the
//! command line prints them in its own form), and the Python package passes them on to Python's `logging`.

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
