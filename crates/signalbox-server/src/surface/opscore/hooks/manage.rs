//! `/v1/opscore/hooks`: hooks are made, listed, shown, given another secret and removed. A secret is shown in the
//! answer that made it, and nowhere else.

use axum::extract::State;
use http::StatusCode;
use signalbox_core::Rejected;
use signalbox_core::engine::{CreateHook, DeleteHook, RotateHook};
use signalbox_core::hook::{HookSecret, WebhookTrigger};
use signalbox_store::Store;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::{HookId, TenantId};
use signalbox_wire::opscore::{Done, HookBody, HookView, Page, RotateHookBody};
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;

use crate::auth::bootstrap;
use crate::clock;
use crate::engine::Drive;
use crate::http::context::{Administers, Context, Input, Reads};
use crate::http::params::{Path, Query, Reader};
use crate::http::problem::Refusal;
use crate::http::reply::Reply;
use crate::surface::opscore::lookup::{self, Gathering};
use crate::surface::opscore::paths::PATH;

const LIST: &str = "hooks";

/// Make a hook
///
/// Its secret is shown in this answer alone. Sent again under the same `Idempotency-Key`, the request is refused with
/// 409: rotate the hook where its first answer was lost.
#[utoipa::path(post, path = "/v1/opscore/hooks", tag = "Webhook triggers", request_body = HookBody,
    responses(
        (status = 201, description = "Made; the secret is shown only now", body = HookView),
        (status = 404, description = "No such workflow or agent", body = Problem),
        (status = 409, description = "There is one with this id, or it was made under this Idempotency-Key", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn create_hook(
    State(drive): State<Drive>,
    context: Context<Administers>,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: HookBody = input.parse()?;
    let id = HookId::parse(&body.id).map_err(|error| vec![Fault::new("/id", error.to_string())])?;
    let hook = WebhookTrigger {
        id,
        workflow: body.workflow_id,
        agent: body.agent_id,
        note: body.note,
        secret: new_secret(),
        earlier: None,
        created_at: clock::now(),
        rotated_at: None,
    };
    let hook = drive.run(context.tenant(), &CreateHook { hook }).await?;
    Ok(with_secret(StatusCode::CREATED, context.tenant(), &hook))
}

/// List the hooks
#[utoipa::path(get, path = "/v1/opscore/hooks", tag = "Webhook triggers", params(PageQuery),
    responses(
        (status = 200, description = "A page of the hooks, by id, without their secrets", body = Page<HookView>),
        (status = 422, description = "The query does not fit", body = Problem)))]
pub(crate) async fn list_hooks(
    State(store): State<Store>,
    context: Context<Reads>,
    Query(query): Query<PageQuery>,
) -> Result<Reply, Refusal> {
    let mut reader = Reader::default();
    let page = reader.page(LIST, &query);
    reader.finish()?;
    let (mut gathering, mut data) = (Gathering::new(page), Vec::new());
    while let Some(go) = gathering.go() {
        let listed = store.hooks(context.tenant(), &go).await?;
        let entries = listed.items.iter().map(|hook| lookup::written(&view(context.tenant(), hook)));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        gathering.took(entries.len(), entries.iter().map(|entry| entry.get().len()).sum(), listed.next);
        data.extend(entries);
    }
    Ok(Reply::ok(&Page { data, next_cursor: gathering.next_cursor(LIST) }))
}

/// Show a hook
#[utoipa::path(get, path = "/v1/opscore/hooks/{id}", tag = "Webhook triggers",
    params(("id" = String, Path, description = "Which hook")),
    responses(
        (status = 200, description = "The hook, without its secret", body = HookView),
        (status = 404, description = "No such hook", body = Problem)))]
pub(crate) async fn get_hook(
    State(store): State<Store>,
    context: Context<Reads>,
    Path(hook): Path,
) -> Result<Reply, Refusal> {
    let id = lookup::hook(&hook)?;
    let kept = store.hook(context.tenant(), &id).await?;
    let kept = kept.ok_or_else(|| Rejected::UnknownHook(id.to_string()))?;
    Ok(Reply::ok(&view(context.tenant(), &kept.value)))
}

/// Remove a hook
///
/// Its address takes nothing from now on; the sessions that it started go on.
#[utoipa::path(delete, path = "/v1/opscore/hooks/{id}", tag = "Webhook triggers",
    params(("id" = String, Path, description = "Which hook")),
    responses(
        (status = 200, description = "Removed", body = Done),
        (status = 404, description = "No such hook", body = Problem)))]
pub(crate) async fn delete_hook(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(hook): Path,
) -> Result<Reply, Refusal> {
    drive.run(context.tenant(), &DeleteHook { hook: lookup::hook(&hook)? }).await?;
    Ok(Reply::ok(&Done::new(format!("Hook {hook} deleted successfully."))))
}

/// Give a hook another secret
///
/// The secret is shown in this answer alone. The one before is good no more, unless `keepEarlierFor` says how long.
#[utoipa::path(post, path = "/v1/opscore/hooks/{id}/rotate", tag = "Webhook triggers", request_body = RotateHookBody,
    params(("id" = String, Path, description = "Which hook")),
    responses(
        (status = 200, description = "The hook; the secret is shown only now", body = HookView),
        (status = 404, description = "No such hook", body = Problem),
        (status = 409, description = "Done before, under the same Idempotency-Key", body = Problem),
        (status = 422, description = "The body does not fit", body = Problem)))]
pub(crate) async fn rotate_hook(
    State(drive): State<Drive>,
    context: Context<Administers>,
    Path(hook): Path,
    input: Input,
) -> Result<Reply, Refusal> {
    let body: RotateHookBody = input.parse_or_default()?;
    let earlier_until: Option<Timestamp> = body.keep_earlier_for.map(|period| clock::now() + period.into());
    let operation = RotateHook { hook: lookup::hook(&hook)?, secret: new_secret(), earlier_until };
    let hook = drive.run(context.tenant(), &operation).await?;
    Ok(with_secret(StatusCode::OK, context.tenant(), &hook))
}

fn new_secret() -> HookSecret {
    HookSecret::new(bootstrap::webhook_secret(&clock::secret_bytes()).expose())
}

fn with_secret(status: StatusCode, tenant: &TenantId, hook: &WebhookTrigger) -> Reply {
    let shown = HookView { secret: Some(hook.secret.expose().to_owned()), ..view(tenant, hook) };
    let detail = format!(
        "The secret of hook {} was made and shown in the first answer; if that is lost, rotate the hook under a new Idempotency-Key.",
        hook.id
    );
    Reply::json(status, &shown).shown_once(&Problem::new(ProblemKind::SecretShownBefore, detail))
}

fn view(tenant: &TenantId, hook: &WebhookTrigger) -> HookView {
    HookView {
        id: hook.id.clone(),
        workflow_id: hook.workflow.clone(),
        agent_id: hook.agent.clone(),
        note: hook.note.clone(),
        path: format!("{PATH}/hooks/{tenant}/{}/receive", hook.id),
        created_at: hook.created_at,
        rotated_at: hook.rotated_at,
        earlier_until: hook.earlier.as_ref().map(|(_, until)| *until).filter(|until| clock::now() < *until),
        secret: None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use signalbox_wire::signature;

    use super::*;

    #[test]
    fn a_secret_has_the_form_of_standard_webhooks_and_is_each_time_another() {
        let secret = new_secret();
        let encoded = secret.expose().strip_prefix(signature::SECRET_PREFIX).expect("its prefix");
        assert_eq!(STANDARD.decode(encoded).map(|key| key.len()), Ok(32));
        assert_ne!(secret, new_secret());
    }
}
