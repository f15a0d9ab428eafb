//! The AgentKit surface: register agents, route messages, run tools, look after dead letters.

mod agents;
mod convert;
mod dead_letters;
mod messages;
mod pages;
mod tools;

use self::agents::{change, read, register, run};
use self::dead_letters::{discard, redrive};
use crate::config;
use crate::http::fast_path::FastRoute;
use crate::surface::api_router::{ApiRouter, routes};
use crate::surface::description::Description;
use crate::surface::state::AppState;

/// This surface.
pub(crate) const SURFACE: Description = Description {
    name: Some(config::Surface::Agentkit),
    prefixes: &["/v1/agents", "/v1/tools", "/v1/messages", "/v1/dead-letters"],
    is_keyless: true,
    routes: router,
    fast_routes,
};

/// Every route of this surface.
fn router() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(register::register_agent))
        .routes(routes!(read::list_agents, register::create_agent))
        .routes(routes!(read::get_agent, change::patch_agent, change::deregister_agent))
        .routes(routes!(run::run_agent))
        .routes(routes!(messages::get_message))
        .routes(routes!(dead_letters::list::list_dead_letters, discard::discard_dead_letters))
        .routes(routes!(redrive::redrive_dead_letters))
        .routes(routes!(dead_letters::get::get_dead_letter, discard::discard_dead_letter))
        .routes(routes!(redrive::redrive_dead_letter))
        .routes(routes!(tools::list::list_tools, tools::create::create_tool))
        .routes(routes!(tools::get::get_tool, tools::delete::delete_tool))
}

fn fast_routes(state: &AppState) -> Vec<FastRoute> {
    vec![run::fast_route(state)]
}
