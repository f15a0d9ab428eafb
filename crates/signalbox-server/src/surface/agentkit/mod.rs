//! The AgentKit surface: register agents, route messages, run tools, look after dead letters.

mod agents;
mod convert;
mod dead_letters;
mod messages;
mod pages;
mod tools;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::agents::run::run;
use self::agents::{change, read, register, run};
use self::dead_letters::{each, sweep};
use crate::app::App;

/// Every route of this surface.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register::register_agent))
        .routes(routes!(read::list_agents, register::create_agent))
        .routes(routes!(read::get_agent, change::patch_agent, change::deregister_agent))
        .routes(routes!(run::run_agent))
        .routes(routes!(messages::get_message))
        .routes(routes!(each::list_dead_letters, sweep::discard_dead_letters))
        .routes(routes!(sweep::redrive_dead_letters))
        .routes(routes!(each::get_dead_letter, each::discard_dead_letter))
        .routes(routes!(each::redrive_dead_letter))
        .routes(routes!(tools::list_tools, tools::create_tool))
        .routes(routes!(tools::get_tool, tools::delete_tool))
}
