//! The AgentKit surface: register agents, route messages, run tools, look after dead letters.

mod agents;
mod change;
mod convert;
mod dead_letters;
mod messages;
mod pages;
mod register;
mod run;
mod sweep;
mod tools;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::run::run;
use crate::app::App;

/// Every route of this surface.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register::register_agent))
        .routes(routes!(agents::list_agents, register::create_agent))
        .routes(routes!(agents::get_agent, change::patch_agent, change::deregister_agent))
        .routes(routes!(run::run_agent))
        .routes(routes!(messages::get_message))
        .routes(routes!(dead_letters::list_dead_letters, sweep::discard_dead_letters))
        .routes(routes!(sweep::redrive_dead_letters))
        .routes(routes!(dead_letters::get_dead_letter, dead_letters::discard_dead_letter))
        .routes(routes!(dead_letters::redrive_dead_letter))
        .routes(routes!(tools::list_tools, tools::create_tool))
        .routes(routes!(tools::get_tool, tools::delete_tool))
}
