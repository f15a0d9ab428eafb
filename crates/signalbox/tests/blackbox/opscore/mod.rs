//! The Ops-Core surface, `/v1/opscore`.

mod definitions;
mod events;
mod flows;
mod hooks;
mod logs;
mod long;
mod many;
mod notify;
mod payloads;
mod routing;
mod schedules;
mod sessions;
mod settling;
mod state;
mod taking;
mod triggers;
mod versions;
mod wide;
