//! The server as its clients see it: the real binary, a plain socket, and a module for each surface and operation.
//!
//! Every scenario runs on SQLite, and on PostgreSQL too when `SIGNALBOX_TEST_POSTGRES` names one; those of several nodes
//! need a NATS in `SIGNALBOX_TEST_NATS` besides. Nothing here waits for a fixed time: a test
//! waits for what it expects, with a deadline.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, and say what was passed over"
)]

mod agentkit;
mod artcafe;
mod auth;
mod baddays;
mod badinput;
mod bounds;
mod cli;
mod common;
mod demo;
mod edges;
mod fast_path;
mod generated_client;
mod nodes;
mod opscore;
mod pages;
mod process;
mod rust_agent;
mod rust_examples;
mod sign_in;
mod split;
mod support;
