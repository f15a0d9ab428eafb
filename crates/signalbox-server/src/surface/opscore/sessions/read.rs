//! `GET /v1/opscore/sessions` and `…/{id}`: how far each run of a workflow is.

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_store::{Store, StoreError};
use signalbox_wire::opscore::{Page, SessionView};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use super::filter::SessionsQuery;
use super::waits::Waits;
use crate::engine::payloads;
use crate::http::context::{Context, Reads};
use crate::http::params::{Path, Query, Reader, flag};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::convert::{self, Versions};
use crate::surface::opscore::lookup::{self, Gathering};
use crate::surface::state::Limits;

pub(crate) const LIST: &str = "sessions";

/// What is told of the sessions of a list besides what is kept of each.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitsQuery {
    /// Whether each open session tells what it waits for (`waitingFor`), for which its tasks are read: true or false.
    #[param(value_type = Option<bool>)]
    waits: Option<String>,
    /// Whether only those are listed that go on once somebody does something: approves, signals or resumes, or brings an
    /// agent that is not there. With what each waits for.
    #[param(value_type = Option<bool>)]
    waiting: Option<String>,
}

/// List the sessions, newest first
///
/// A page that is filtered by `text` or `waiting`, or by two of `agent`, `workflow` and `status`, may be short, even empty,
/// and still have a `next_cursor`.
#[utoipa::path(get, path = "/v1/opscore/sessions", tag = "Sessions", params(SessionsQuery, WaitsQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the sessions, without their tasks", body = Page<SessionView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_sessions(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<SessionsQuery>,
    Query(wanted): Query<WaitsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let mut filter = query.read(&mut reader, "");
    let waiting = reader.read("waiting", wanted.waiting.as_deref(), flag).unwrap_or_default();
    let waits = reader.read("waits", wanted.waits.as_deref(), flag).unwrap_or_default() || waiting;
    let page = reader.page(LIST, &page);
    reader.finish()?;
    if waiting && filter.statuses.is_empty() {
        filter.statuses = super::filter::open().collect();
    }
    let (mut gathering, mut data, mut versions) = (Gathering::new(page), Vec::new(), Versions::default());
    let mut known = Waits::new(&store, context.tenant());
    while let Some(go) = gathering.go() {
        let before = data.len();
        let mut bytes = 0;
        let listed = store.sessions(context.tenant(), &filter, &go).await?;
        let open = listed.items.iter().filter(|session| waits && !session.status.is_over());
        let open: Vec<_> = open.map(|session| session.id.clone()).collect();
        let states = store.sessions_among(context.tenant(), &open).await?;
        for session in &listed.items {
            let state = states.iter().find(|state| state.session.id == session.id);
            let wait = match state {
                Some(state) => known.session(state).await?,
                None => None,
            };
            if waiting && !wait.as_ref().is_some_and(|wait| wait.needs_somebody) {
                continue;
            }
            versions.look_up(&store, context.tenant(), session).await?;
            let mut view = convert::session(session, &versions, None);
            wait.into_iter().for_each(|wait| wait.tell(&mut view));
            let entry = lookup::written(&view)?;
            bytes += entry.get().len();
            data.push(entry);
        }
        gathering.took(data.len() - before, bytes, listed.next);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}

/// How a session is shown.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionQuery {
    /// Whether payloads stand in their places themselves, not references to them: true or false.
    whole: Option<String>,
}

/// Show a session with its tasks
#[utoipa::path(get, path = "/v1/opscore/sessions/{id}", tag = "Sessions",
    params(("id" = String, Path, description = "Which session"), SessionQuery),
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 404, description = "No such session", body = Problem),
        (status = 409, description = "The whole is larger than payload_bytes_max", body = Problem),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn get_session(
    State(store): State<Store>,
    State(limits): State<Limits>,
    context: Context<Reads>,
    Path(session): Path,
    Query(query): Query<SessionQuery>,
) -> Result<Reply, Refusal> {
    let id = lookup::session(&session)?;
    let mut reader = Reader::default();
    let is_whole = reader.read("whole", query.whole.as_deref(), flag).unwrap_or_default();
    reader.finish()?;
    let read = store.session(context.tenant(), &id).await?;
    let state = read.ok_or_else(|| Rejected::UnknownSession(id.to_string()))?.value;
    let mut versions = Versions::default();
    versions.look_up(&store, context.tenant(), &state.session).await?;
    let mut view = convert::session(&state.session, &versions, Some(&state.tasks));
    let places = store.places_in_line(context.tenant(), &state.tasks).await?;
    for (task, place) in view.tasks.iter_mut().flatten().zip(places) {
        task.place_in_line = place.and_then(|place| u32::try_from(place).ok());
    }
    let mut known = Waits::new(&store, context.tenant());
    for (shown, task) in view.tasks.iter_mut().flatten().zip(&state.tasks) {
        known.tell(task, shown).await?;
    }
    known.session(&state).await?.into_iter().for_each(|wait| wait.tell(&mut view));
    if !is_whole {
        return Ok(Reply::ok(&view));
    }
    let stored = serde_json::to_value(&view).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let whole = payloads::inline(&store, context.tenant(), &stored, limits.payload_bytes_max).await?;
    match whole {
        Ok(whole) => Ok(Reply::ok(&whole)),
        Err(reason) => {
            let detail = format!(
                "The session cannot be shown whole: {reason}. Without whole=true it is shown with references; \
                 GET /v1/opscore/payloads/{{sha256}} answers what each refers to."
            );
            Err(Problem::new(ProblemKind::NotWhole, detail).into())
        }
    }
}
