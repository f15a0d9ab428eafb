//! The Ops-Core surface: agents report their state, workflows run as sessions, everything is in the log.

mod compare;
mod control;
mod convert;
mod definitions;
mod drain;
mod entries;
mod hook_receive;
mod hooks;
mod inputs;
mod logs;
mod lookup;
mod many;
mod names;
mod notification;
mod notify;
mod payloads;
mod purge;
mod read_logs;
mod reports;
mod rerun;
mod retention;
mod schedule_control;
mod schedule_convert;
mod schedule_runs;
mod schedules;
mod session_events;
mod session_filter;
mod sessions;
mod signed;
mod state;
mod timeline;
mod trigger;
mod versions;
mod workflows;

pub(crate) use self::state::{report, state};

use axum::Extension;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::inputs::Inputs;
use crate::app::App;

/// What every path of this surface begins with.
const PATH: &str = "/v1/opscore";

/// Every route of this surface.
pub(crate) fn router() -> OpenApiRouter<App> {
    // Those that hold an input against its workflow's schema.
    let starts = OpenApiRouter::new()
        .routes(routes!(trigger::trigger_agent_workflow))
        .routes(routes!(trigger::trigger_workflow))
        .routes(routes!(hook_receive::receive_webhook))
        .routes(routes!(schedules::apply_schedule, schedules::list_schedules))
        .routes(routes!(schedules::get_schedule, schedules::change_schedule, schedules::delete_schedule))
        .layer(Extension(Inputs::default()));
    OpenApiRouter::new()
        .routes(routes!(notify::notify_agent))
        .routes(routes!(state::report_state, state::agent_state))
        .routes(routes!(state::agent_history))
        .routes(routes!(drain::drain_agent))
        .routes(routes!(drain::undrain_agent))
        .merge(starts)
        .routes(routes!(workflows::apply_workflow, workflows::list_workflows))
        .routes(routes!(workflows::get_workflow, workflows::delete_workflow))
        .routes(routes!(versions::list_versions))
        .routes(routes!(versions::get_version, versions::delete_version))
        .routes(routes!(versions::compare_versions))
        .routes(routes!(versions::roll_back))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::get_session, purge::delete_session))
        .routes(routes!(control::pause_session))
        .routes(routes!(control::resume_session))
        .routes(routes!(control::cancel_session))
        .routes(routes!(control::retry_session))
        .routes(routes!(control::signal_session))
        .routes(routes!(control::approve_task))
        .routes(routes!(control::refuse_task))
        .routes(routes!(rerun::rerun_session))
        .routes(routes!(many::pause_sessions))
        .routes(routes!(many::resume_sessions))
        .routes(routes!(many::cancel_sessions))
        .routes(routes!(many::retry_sessions))
        .routes(routes!(many::rerun_sessions))
        .routes(routes!(many::signal_sessions))
        .routes(routes!(many::approve_sessions))
        .routes(routes!(many::refuse_sessions))
        .routes(routes!(many::purge_sessions))
        .routes(routes!(session_events::session_events))
        .routes(routes!(timeline::session_timeline))
        .routes(routes!(payloads::get_payload))
        .routes(routes!(retention::get_retention, retention::put_retention))
        .routes(routes!(hooks::create_hook, hooks::list_hooks))
        .routes(routes!(hooks::get_hook, hooks::delete_hook))
        .routes(routes!(hooks::rotate_hook))
        .routes(routes!(schedule_control::pause_schedule))
        .routes(routes!(schedule_control::resume_schedule))
        .routes(routes!(schedule_control::trigger_schedule))
        .routes(routes!(schedule_control::backfill_schedule))
        .routes(routes!(schedule_runs::list_runs))
        .routes(routes!(logs::append_logs))
        .routes(routes!(read_logs::read_logs))
}
