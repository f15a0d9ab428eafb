//! The Ops-Core surface: agents report their state, workflows run as sessions, everything is in the log.

mod agents;
mod convert;
mod hooks;
mod logs;
mod lookup;
mod paths;
mod payloads;
mod retention;
mod schedules;
mod sessions;
mod workflows;

pub use self::workflows::compare::differences;
pub(crate) use self::workflows::definitions::faults as workflow_faults;

use crate::config;
use crate::http::fast_path::FastRoute;
use crate::surface::api_router::{ApiRouter, routes};
use crate::surface::description::Description;
use crate::surface::state::AppState;

/// This surface.
pub(crate) const SURFACE: Description = Description {
    name: Some(config::Surface::Opscore),
    prefixes: &[paths::PATH],
    is_keyless: false,
    routes: router,
    fast_routes,
};

/// Every route of this surface.
fn router() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(agents::notify::notify_agent))
        .routes(routes!(agents::state::report_state, agents::state::agent_state))
        .routes(routes!(agents::state::agent_history))
        .routes(routes!(agents::drain::drain_agent))
        .routes(routes!(agents::drain::undrain_agent))
        .routes(routes!(workflows::trigger::trigger_agent_workflow))
        .routes(routes!(workflows::trigger::trigger_workflow))
        .routes(routes!(hooks::receive::receive_webhook))
        .routes(routes!(schedules::apply::apply_schedule, schedules::apply::list_schedules))
        .routes(routes!(
            schedules::apply::get_schedule,
            schedules::apply::change_schedule,
            schedules::apply::delete_schedule
        ))
        .routes(routes!(workflows::apply::apply_workflow, workflows::apply::list_workflows))
        .routes(routes!(workflows::apply::get_workflow, workflows::apply::delete_workflow))
        .routes(routes!(workflows::versions::list_versions))
        .routes(routes!(workflows::versions::get_version, workflows::versions::delete_version))
        .routes(routes!(workflows::versions::compare_versions))
        .routes(routes!(workflows::versions::roll_back))
        .routes(routes!(sessions::read::list_sessions))
        .routes(routes!(sessions::read::get_session, sessions::purge::delete_session))
        .routes(routes!(sessions::pause::pause_session))
        .routes(routes!(sessions::resume::resume_session))
        .routes(routes!(sessions::cancel::cancel_session))
        .routes(routes!(sessions::retry::retry_session))
        .routes(routes!(sessions::signal::signal_session))
        .routes(routes!(sessions::approve::approve_task))
        .routes(routes!(sessions::approve::refuse_task))
        .routes(routes!(sessions::rerun::rerun_session))
        .routes(routes!(sessions::pause::pause_sessions))
        .routes(routes!(sessions::resume::resume_sessions))
        .routes(routes!(sessions::cancel::cancel_sessions))
        .routes(routes!(sessions::retry::retry_sessions))
        .routes(routes!(sessions::rerun::rerun_sessions))
        .routes(routes!(sessions::signal::signal_sessions))
        .routes(routes!(sessions::approve::approve_sessions))
        .routes(routes!(sessions::approve::refuse_sessions))
        .routes(routes!(sessions::purge::purge_sessions))
        .routes(routes!(sessions::events::session_events))
        .routes(routes!(sessions::timeline::session_timeline))
        .routes(routes!(payloads::get_payload))
        .routes(routes!(retention::get_retention, retention::put_retention))
        .routes(routes!(hooks::manage::create_hook, hooks::manage::list_hooks))
        .routes(routes!(hooks::manage::get_hook, hooks::manage::delete_hook))
        .routes(routes!(hooks::manage::rotate_hook))
        .routes(routes!(schedules::control::pause_schedule))
        .routes(routes!(schedules::control::resume_schedule))
        .routes(routes!(schedules::control::trigger_schedule))
        .routes(routes!(schedules::control::backfill_schedule))
        .routes(routes!(schedules::runs::list_runs))
        .routes(routes!(agents::logs::append_logs))
        .routes(routes!(logs::read::read_logs))
}

fn fast_routes(state: &AppState) -> Vec<FastRoute> {
    agents::state::fast_routes(state)
}
