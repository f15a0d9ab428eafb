//! `GET /v1/opscore/sessions` and `…/{id}`: how far each run of a workflow is.

use axum::extract::State;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::session::SessionStatus;
use signalbox_store::SessionFilter;
use signalbox_wire::id::WorkflowId;
use signalbox_wire::opscore::{Page, SessionView};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;

use super::convert::{self, Versions};
use super::lookup::{self, Gathering};
use crate::answer::Answer;
use crate::app::App;
use crate::context::{Context, Reads};
use crate::params::{self, Path, Query, Reader};
use crate::problem::Refusal;

const LIST: &str = "sessions";

/// Which sessions to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// Those of this workflow.
    workflow: Option<String>,
    /// Those with this status: started, running, paused, completed, failed or cancelled.
    status: Option<String>,
}

/// List the sessions, newest first
#[utoipa::path(get, path = "/v1/opscore/sessions", tag = "Ops-Core", params(SessionsQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the sessions, without their tasks", body = Page<SessionView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(super) async fn list_sessions(
    State(app): State<App>,
    context: Context<Reads>,
    Query(query): Query<SessionsQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Answer, Refusal> {
    let mut reader = Reader::default();
    let filter = SessionFilter {
        workflow: reader.read("workflow", query.workflow.as_deref(), params::id(WorkflowId::parse)),
        status: reader.read("status", query.status.as_deref(), status),
    };
    let page = reader.page(LIST, &page);
    reader.finish()?;
    let (mut gathering, mut data, mut versions) = (Gathering::new(page), Vec::new(), Versions::default());
    while let Some(go) = gathering.go() {
        let before = data.len();
        let mut bytes = 0;
        let listed = app.store.sessions(context.tenant(), &filter, &go).await?;
        for session in &listed.items {
            versions.look_up(&app, context.tenant(), session).await?;
            let entry = lookup::written(&convert::session(session, &versions, None))?;
            bytes += entry.get().len();
            data.push(entry);
        }
        gathering.took(data.len() - before, bytes, listed.next);
    }
    Ok(Answer::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}

/// Show a session with its tasks
#[utoipa::path(get, path = "/v1/opscore/sessions/{id}", tag = "Ops-Core",
    params(("id" = String, Path, description = "Which session")),
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 404, description = "No such session", body = Problem)))]
pub(super) async fn get_session(
    State(app): State<App>,
    context: Context<Reads>,
    Path(session): Path,
) -> Result<Answer, Refusal> {
    let id = lookup::session(&session)?;
    let read = app.store.session(context.tenant(), &id).await?;
    let state = read.ok_or_else(|| Rejected::UnknownSession(id.to_string()))?.value;
    let mut versions = Versions::default();
    versions.look_up(&app, context.tenant(), &state.session).await?;
    Ok(Answer::ok(&convert::session(&state.session, &versions, Some(&state.tasks))))
}

fn status(text: &str) -> Result<SessionStatus, String> {
    use SessionStatus::{Cancelled, Completed, Failed, Paused, Running, Started};
    let all = [Started, Running, Paused, Completed, Failed, Cancelled];
    let found = all.into_iter().find(|status| status.name() == text);
    found.ok_or_else(|| "must be started, running, paused, completed, failed or cancelled".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_its_words() {
        assert_eq!(status("paused"), Ok(SessionStatus::Paused));
        assert!(status("done").is_err() && status("").is_err());
    }
}
