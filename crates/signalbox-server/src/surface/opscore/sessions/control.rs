//! A change of one session, answered by the session as it is then.

use signalbox_core::session::SessionState;
use signalbox_store::Store;
use signalbox_wire::id::SessionId;

use crate::engine::{Drive, Driven};
use crate::http::context::{Administers, Context};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::convert::{self, Versions};

pub(super) async fn control<O>(
    store: &Store,
    drive: &Drive,
    context: &Context<Administers>,
    id: &SessionId,
    operation: &O,
) -> Result<Reply, Refusal>
where
    O: Driven<Output = SessionState>,
{
    // Looked up before: a session stays on the revision that it started with.
    let mut versions = Versions::default();
    if let Some(read) = store.session(context.tenant(), id).await? {
        versions.look_up(store, context.tenant(), &read.value.session).await?;
    }
    drive
        .answer(context.tenant(), context.claim.as_ref(), operation, move |state| {
            Reply::ok(&convert::session(&state.session, &versions, Some(&state.tasks)))
        })
        .await
}
