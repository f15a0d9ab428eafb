//! `POST /v1/opscore/sessions/{pause|resume|cancel|retry|rerun|signal|approve|refuse|purge}`: the same for all sessions
//! that a filter matches, each a decision of its own.

use axum::extract::State;
use signalbox_core::engine;
use signalbox_core::limits::bounded;
use signalbox_store::Store;
use signalbox_wire::id::{SessionId, TenantId};
use signalbox_wire::opscore::{
    ApproveBody, ApproveManyBody, ManyAnswer, ManyBody, RefuseBody, RefuseManyBody, Refused, SignalManyBody,
    Which,
};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;
use tokio::task::JoinSet;

use super::filter::SessionsQuery;
use super::purge;
use super::read::LIST;
use crate::engine::{Drive, DriveError, Driven};
use crate::http::context::{Administers, Context, Input};
use crate::http::params::Reader;
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup::Gathering;

macro_rules! many {
    ($(#[$doc:meta])* $name:ident($type:ty), $path:literal, |$session:ident, $body:ident, $caller:ident| $operation:expr) => {
        $(#[$doc])*
        ///
        /// Newest first, at most 1,000 in one request, each on its own: one that is refused holds up no other. Where
        /// `more` is true, `next_cursor` goes on where this request ended.
        #[utoipa::path(post, path = $path, tag = "Ops-Core", request_body = $type,
            responses(
                (status = 200, description = "What became of them", body = ManyAnswer),
                (status = 422, description = "The body does not fit", body = Problem)))]
        pub(crate) async fn $name(
            State(store): State<Store>, State(drive): State<Drive>,
            context: Context<Administers>,
            input: Input,
        ) -> Result<Reply, Refusal> {
            let $body: $type = input.parse()?;
            let $caller = &context;
            let done = sweep(&store, &drive, context.tenant(), &$body.which, |$session| $operation).await?;
            Ok(Reply::ok(&done))
        }
    };
}

many! {
    /// Pause all sessions that match
    pause_sessions(ManyBody), "/v1/opscore/sessions/pause", |session, _body, _caller| engine::Pause { session }
}

many! {
    /// Resume all sessions that match
    resume_sessions(ManyBody), "/v1/opscore/sessions/resume", |session, _body, _caller| engine::Resume { session }
}

many! {
    /// Cancel all sessions that match
    cancel_sessions(ManyBody), "/v1/opscore/sessions/cancel",
    |session, body, _caller| engine::Cancel { session, reason: body.reason.clone() }
}

many! {
    /// Let all failed sessions that match go on from the tasks that failed
    retry_sessions(ManyBody), "/v1/opscore/sessions/retry", |session, _body, _caller| engine::RetrySession { session }
}

many! {
    /// Run all sessions that match again, each as a new one
    ///
    /// The new sessions match the filter too, where it does not say `until`: go on with `next_cursor`.
    rerun_sessions(ManyBody), "/v1/opscore/sessions/rerun", |session, _body, caller| engine::Rerun { session, trace: caller.trace.clone() }
}

many! {
    /// Tell all sessions that match of something that tasks wait for
    ///
    /// One that waits for no such signal, and will not, is refused.
    signal_sessions(SignalManyBody), "/v1/opscore/sessions/signal",
    |session, body, _caller| engine::Signal { session, name: body.signal.clone(), payload: body.payload.clone() }
}

many! {
    /// Agree to what a task asks approval for, in all sessions that match
    ///
    /// Only tasks are approved that ask for just what was seen, which is what the `digest` says; one that asks for
    /// something else is refused.
    approve_sessions(ApproveManyBody), "/v1/opscore/sessions/approve", |session, body, caller| {
        let ApproveBody { digest, comment } = body.approval.clone();
        let (task, by) = (body.task_id.clone(), caller.caller.name.to_string());
        engine::Approve { session, task, is_approved: true, by, comment, digest: Some(digest) }
    }
}

many! {
    /// Refuse what a task asks approval for, in all sessions that match
    ///
    /// The tasks fail, with the comment as their error. With a `digest`, only those are refused that ask for just that.
    refuse_sessions(RefuseManyBody), "/v1/opscore/sessions/refuse", |session, body, caller| {
        let RefuseBody { comment, digest } = body.refusal.clone();
        let (task, by) = (body.task_id.clone(), caller.caller.name.to_string());
        engine::Approve { session, task, is_approved: false, by, comment, digest }
    }
}

/// Remove all sessions that match and are over, with their history
///
/// Newest first, at most 1,000 in one request. One that is not over is refused. Where `more` is true, `next_cursor`
/// goes on where this request ended.
#[utoipa::path(post, path = "/v1/opscore/sessions/purge", tag = "Ops-Core", request_body = ManyBody,
    responses(
        (status = 200, description = "What became of them", body = ManyAnswer),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn purge_sessions(
    State(store): State<Store>,
    State(drive): State<Drive>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: ManyBody = input.parse()?;
    let many = Many::read(&body.which)?;
    let done = many.go(&store, context.tenant(), |tenant, session| {
        let (store, drive) = (store.clone(), drive.clone());
        async move { purge::purge(&store, &drive, &tenant, &session).await }
    });
    Ok(Reply::ok(&done.await?))
}

async fn sweep<O>(
    store: &Store,
    drive: &Drive,
    tenant: &TenantId,
    which: &Which,
    operation: impl Fn(SessionId) -> O,
) -> Result<ManyAnswer, Refusal>
where
    O: Driven,
    O::Output: Send,
{
    let many = Many::read(which)?;
    many.go(store, tenant, |tenant, session| {
        let (drive, operation) = (drive.clone(), operation(session));
        async move { drive.run(&tenant, &operation).await.map(drop) }
    })
    .await
}

/// Which sessions, and how far.
struct Many {
    filter: signalbox_store::SessionFilter,
    gathering: Gathering,
}

impl Many {
    fn read(which: &Which) -> Result<Self, Refusal> {
        let mut reader = Reader::default();
        let filter = SessionsQuery::of(&which.filter).read(&mut reader, "filter/");
        let limit = Some(which.limit.unwrap_or(MANY_MAX).to_string());
        let page = reader.page(LIST, &PageQuery { limit, cursor: which.cursor.clone() });
        reader.finish()?;
        Ok(Self { filter, gathering: Gathering::new(page) })
    }

    /// Does it to each, a few side by side so that they share commits.
    async fn go<F>(
        self,
        store: &Store,
        tenant: &TenantId,
        act: impl Fn(TenantId, SessionId) -> F,
    ) -> Result<ManyAnswer, Refusal>
    where
        F: Future<Output = Result<(), DriveError>> + Send + 'static,
    {
        let Self { filter, mut gathering } = self;
        let mut told = ManyAnswer::default();
        while let Some(go) = gathering.go() {
            let listed = store.sessions(tenant, &filter, &go).await?;
            let mut running = JoinSet::new();
            for session in &listed.items {
                let (id, done) = (session.id.clone(), act(tenant.clone(), session.id.clone()));
                running.spawn(async move { (id, done.await) });
            }
            gathering.took(listed.items.len(), 0, listed.next);
            while let Some(ended) = running.join_next().await {
                told.matched += 1;
                match ended.map_err(Refusal::failed)? {
                    (_, Ok(())) => told.done += 1,
                    (session_id, Err(DriveError::Rejected(rejected))) => {
                        told.refused.push(Refused { session_id, detail: bounded(&rejected.to_string()) });
                    }
                    (_, Err(DriveError::Store(error))) => return Err(error.into()),
                }
            }
        }
        told.refused.sort_by(|one, other| one.session_id.cmp(&other.session_id));
        told.next_cursor = gathering.next_cursor(LIST);
        told.more = told.next_cursor.is_some();
        Ok(told)
    }
}

/// Sessions that one request does it to, at most.
const MANY_MAX: u32 = 1_000;
