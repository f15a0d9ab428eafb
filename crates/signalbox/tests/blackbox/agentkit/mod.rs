//! The AgentKit surface, `/v1`.

mod agents;
mod dead_letters;
mod register;
mod retry;
mod run;
mod tools;
mod webhook;
