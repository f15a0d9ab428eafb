//! `Idempotency-Key` on any POST: the same key with the same body gets the first answer again.
//!
//! An operation's answer is kept in the commit that makes it true (see [`crate::engine`]; that of a new tenant among its
//! own rows); every other one that
//! rests on the request alone (2xx and 422) is kept after it was made. What depends on how things stand, such as
//! an unknown agent, is found out anew. Two requests at once under one key: the second is told to wait.
//!
//! A kept answer is only for the credentials that it was given to: others have not shown that they may see it.
//! An answer that shows a secret is kept as its stand-in, see [`Reply::shown_once`].

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use signalbox_core::decision::{IdempotencyRecord, Key, Row};
use signalbox_core::limits::Policy;
use signalbox_core::{Decision, DecisionContext, Halt, Need, Snapshot};
use signalbox_store::Store;
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::keys;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;

use crate::clock::{self, Stopwatch};
use crate::http::body::{self, BodyLimits, Collected, IsCounted};
use crate::http::problem::Refusal;
use crate::http::reply::{Reply, StandIn};
use crate::telemetry::metrics::Metrics;

/// How long an answer is kept.
const ANSWER_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// The longest key, in characters.
const KEY_LENGTH_MAX: usize = 255;
/// Answers over this many bytes are not kept.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// That the answer to a request will be kept, and under what.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyClaim {
    /// The tenant's name for the request: path, credentials and key.
    pub(crate) key: String,
    /// SHA-256 of the body, in hex.
    pub(crate) request: String,
    is_kept: Arc<AtomicBool>,
}

impl IdempotencyClaim {
    /// An idempotency claim under a key of our own; `request` tells apart what may not come twice under it.
    pub(crate) fn of(key: String, request: String) -> Self {
        Self { key, request, is_kept: Arc::default() }
    }

    /// Says that the answer has been kept.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// The record of an answer that is given at `now`.
    pub(crate) fn record(&self, reply: &Reply, now: Timestamp) -> IdempotencyRecord {
        let kept = reply.to_keep();
        self.answered(kept.status, &kept.body, now)
    }

    /// The row that keeps an answer which is given at `now`.
    pub(crate) fn answered(&self, status: StatusCode, body: &[u8], now: Timestamp) -> IdempotencyRecord {
        IdempotencyRecord {
            key: self.key.clone(),
            request: self.request.clone(),
            status: status.as_u16(),
            body: String::from_utf8_lossy(body).into_owned(),
            expires_at: now + ANSWER_KEPT,
        }
    }
}

/// Answers under keys; cheap to clone.
#[derive(Clone)]
pub(crate) struct Idempotency {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) limits: BodyLimits,
    pub(crate) in_flight: InFlight,
}

/// What is kept of an earlier request under the same key.
pub(crate) enum Kept {
    /// Its answer.
    Answer(IdempotencyRecord),
    /// Nothing that counts; a row that has expired may still be there, at this version.
    Nothing { expired: Option<i64> },
}

/// The keys whose first request is still being answered.
#[derive(Debug, Default, Clone)]
pub(crate) struct InFlight(Arc<Mutex<HashSet<(TenantId, String)>>>);

/// Takes a key out again when its request is over, however that ends.
struct Entered {
    in_flight: InFlight,
    key: (TenantId, String),
}

impl InFlight {
    fn enter(&self, tenant: &TenantId, key: &str) -> Option<Entered> {
        let key = (tenant.clone(), key.to_owned());
        self.0.lock().insert(key.clone()).then(|| Entered { in_flight: self.clone(), key })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.in_flight.0.lock().remove(&self.key);
    }
}

impl Idempotency {
    /// Answers a request that carries an `Idempotency-Key`, from what is kept or by `inner`.
    pub(crate) async fn answer<F>(
        &self,
        tenant: &TenantId,
        request: Request<Body>,
        inner: impl FnOnce(Request<Body>) -> F,
    ) -> Result<Response, Refusal>
    where
        F: Future<Output = Response>,
    {
        let Some(key) = request.headers().get("idempotency-key").filter(|_| request.method() == Method::POST)
        else {
            return Ok(inner(request).await);
        };
        let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_LENGTH_MAX);
        let Some(key) = key else {
            let message = format!("must be 1 to {KEY_LENGTH_MAX} visible ASCII characters");
            return Err(vec![Fault::new("/headers/Idempotency-Key", message)].into());
        };
        let key = format!("{} {} {key}", request.uri(), credentials(request.headers()));
        let (mut parts, body) = request.into_parts();
        let Collected { bytes: body, share: _share } =
            body::collect(&self.limits, &parts.headers, body).await?;
        parts.extensions.insert(IsCounted);
        let request = keys::hex(&Sha256::digest(&body));
        let Some(_entered) = self.in_flight.enter(tenant, &key) else {
            let detail = "The first request under this Idempotency-Key is still being answered; send it again in a moment.";
            return Err(Problem::new(ProblemKind::IdempotencyInProgress, detail).retry_after(1).into());
        };
        let claim = IdempotencyClaim { key, request, is_kept: Arc::default() };
        let expired = match kept(&self.store, tenant, &claim).await? {
            Kept::Answer(kept) => return Ok(Reply::kept(&kept).into_response()),
            Kept::Nothing { expired } => expired,
        };
        parts.extensions.insert(claim.clone());
        let response = inner(Request::from_parts(parts, Body::from(body))).await;
        self.keep_if_needed(tenant, &claim, expired, response).await
    }

    async fn keep_if_needed(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        expired: Option<i64>,
        response: Response,
    ) -> Result<Response, Refusal> {
        let status = response.status();
        let is_lasting = status.is_success() || status == StatusCode::UNPROCESSABLE_ENTITY;
        if claim.is_kept.load(Ordering::Relaxed) || !is_lasting {
            return Ok(response);
        }
        let (mut parts, body) = response.into_parts();
        if let Some(StandIn(stand_in)) = parts.extensions.remove::<StandIn>() {
            self.keep(tenant, claim, expired, stand_in.status, &stand_in.body).await;
            return Ok(Response::from_parts(parts, body));
        }
        let body: Bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Err(Problem::internal().into()),
        };
        self.keep(tenant, claim, expired, status, &body).await;
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    async fn keep(
        &self,
        tenant: &TenantId,
        claim: &IdempotencyClaim,
        expired: Option<i64>,
        status: StatusCode,
        body: &[u8],
    ) {
        if body.len() > ANSWER_BYTES_MAX {
            return;
        }
        let now = clock::now();
        // The policy decides nothing here.
        let policy = Policy::default();
        let context = DecisionContext::new(now, clock::seed(), &policy);
        let mut decision = Decision::default();
        let row = Row::IdempotencyRecord(claim.answered(status, body, now));
        decision.put(row, expired, context.version_after(expired));
        let watch = Stopwatch::start();
        let committed = self.store.commit(tenant, decision, now, None).await;
        self.metrics.decided(&committed, watch.elapsed());
        if let Err(error) = committed {
            tracing::warn!(%error, "an answer under an Idempotency-Key could not be kept");
        }
    }
}

/// What a tenant keeps under `claim`.
pub(crate) async fn kept(
    store: &Store,
    tenant: &TenantId,
    claim: &IdempotencyClaim,
) -> Result<Kept, Refusal> {
    let mut snapshot = Snapshot::new();
    let row = Need::Row(Key::IdempotencyRecord(claim.key.clone()));
    store.load(tenant, &row, &mut snapshot, false).await?;
    let kept = snapshot
        .answered_before(&claim.key, &claim.request, clock::now())
        .and_then(|kept| Ok((kept, snapshot.idempotency_record(&claim.key)?)));
    match kept {
        Ok((Some(kept), _)) => Ok(Kept::Answer(kept)),
        Ok((None, expired)) => Ok(Kept::Nothing { expired: expired.map(|row| row.version) }),
        Err(Halt::Rejected(rejected)) => Err(rejected.into()),
        Err(Halt::Need(_) | Halt::Long) => {
            Err(Refusal::failed("an idempotency record was asked for and not shown"))
        }
    }
}

/// Who a kept answer is for: the hash of what was sent to be let in, since the row must not hold that itself.
fn credentials(headers: &HeaderMap) -> String {
    match headers.get(header::AUTHORIZATION) {
        Some(authorization) => keys::hex(&Sha256::digest(authorization.as_bytes())),
        None => "anonymous".to_owned(),
    }
}
