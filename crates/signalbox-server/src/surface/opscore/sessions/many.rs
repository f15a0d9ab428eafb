//! The same for all sessions that a filter matches, each a decision of its own.

use signalbox_core::limits::bounded;
use signalbox_store::Store;
use signalbox_wire::id::{SessionId, TenantId};
use signalbox_wire::opscore::{ManyAnswer, Refused, Which};
use signalbox_wire::paging::PageQuery;
use tokio::task::JoinSet;

use super::filter::SessionsQuery;
use super::read::LIST;
use crate::engine::{Drive, DriveError, Driven};
use crate::http::params::Reader;
use crate::http::problem::Refusal;
use crate::surface::opscore::lookup::Gathering;

/// The operation that does it to all: its texts, its name with its body, its path, and what it does to each.
macro_rules! many {
    ($(#[$doc:meta])* $name:ident($type:ty), $path:literal, |$session:ident, $body:ident, $caller:ident| $operation:expr) => {
        $(#[$doc])*
        ///
        /// Newest first, at most 1,000 in one request, each on its own: one that is refused holds up no other. Where
        /// `more` is true, `next_cursor` goes on where this request ended.
        #[utoipa::path(post, path = $path, tag = "Sessions", request_body = $type,
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
pub(super) use many;

pub(super) async fn sweep<O>(
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
pub(super) struct Many {
    filter: signalbox_store::SessionFilter,
    gathering: Gathering,
}

impl Many {
    pub(super) fn read(which: &Which) -> Result<Self, Refusal> {
        let mut reader = Reader::default();
        let filter = SessionsQuery::of(&which.filter).read(&mut reader, "filter/");
        let limit = Some(which.limit.unwrap_or(MANY_MAX).to_string());
        let page = reader.page(LIST, &PageQuery { limit, cursor: which.cursor.clone() });
        reader.finish()?;
        Ok(Self { filter, gathering: Gathering::new(page) })
    }

    /// Does it to each, a few side by side so that they share commits.
    pub(super) async fn go<F>(
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
