//! What the scenarios stand on: the server as a process, HTTP over a plain socket, agents that can misbehave.

mod agent;
mod api;
mod clock;
mod database;
mod http;
mod nats;
mod proxy;
mod response;
mod server;
mod sign;
mod sse;
mod ssh;
mod wait;
mod worker;

pub(crate) use agent::{Agent, AgentReply, Delivery};
pub(crate) use api::{Api, items, task_of};
pub(crate) use clock::{iso, iso_from_now, now, unix_seconds};
pub(crate) use database::{Database, on_each_database};
pub(crate) use http::{Connection, Request, header, read_head};
pub(crate) use nats::{Deployment, NatsServer, bus_warning, on_the_bus};
pub(crate) use proxy::Proxy;
pub(crate) use response::Response;
pub(crate) use server::{KEY, PLATFORM_KEY, Server, Setup};
pub(crate) use sign::{hmac_base64, hmac_hex};
pub(crate) use sse::SseEvent;
pub(crate) use ssh::SshKey;
pub(crate) use wait::{AFTER_A_CRASH, PATIENCE, eventually, within};
pub(crate) use worker::Worker;
