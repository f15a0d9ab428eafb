//! The [`Authenticator`]: which key belongs to whom, and what an unsigned call on loopback may do.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use quick_cache::sync::Cache;
use signalbox_bus::{Ended, WakeUps};
use signalbox_core::decision::{ApiKey, Scope};
use signalbox_core::limits::bounded;
use signalbox_store::Store;
use signalbox_wire::id::{KeyId, TenantId};
use signalbox_wire::jwt;
use signalbox_wire::keys::{self, Secret};
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;
use subtle::ConstantTimeEq;

use super::anonymous::{self, AnonymousAccess};
use super::caller::{AuthError, Caller, UsedKey};
use super::ended::EndedQueue;
use super::key_uses::KeyUses;
use super::tokens::{self, Tokens};
use crate::clock;
use crate::egress::MARK;
use crate::quota::Quotas;

/// How long a looked-up key is believed; a key revoked on another node may open things for so long.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// The header by which the platform key names the tenant that it acts in.
const TENANT: &str = "x-tenant-id";
/// Keys remembered at once.
const REMEMBERED_MAX: usize = 10_000;

/// Tells callers apart; cheap to clone.
#[derive(Clone)]
pub(crate) struct Authenticator(Arc<Inner>);

struct Inner {
    store: Store,
    platform: [u8; 32],
    admin: Option<[u8; 32]>,
    anonymous: AnonymousAccess,
    /// What the paths of surfaces that may be called without a key begin with.
    keyless: Vec<&'static str>,
    mark: HeaderValue,
    fingerprints: [RandomState; 2],
    remembered: Remembered,
    uses: KeyUses,
    quotas: Quotas,
    tokens: Tokens,
    ended: EndedQueue,
}

/// Callers that were looked up a moment ago.
///
/// A look-up that began before a key was revoked may end after it. So what is remembered belongs to the generation in
/// which its look-up began, and counts for nothing once another has begun.
struct Remembered {
    callers: Cache<Fingerprint, Looked>,
    generation: AtomicU64,
}

/// A caller that was looked up.
#[derive(Clone)]
struct Looked {
    generation: Generation,
    until: Timestamp,
    caller: Caller,
}

/// Counts how often everything was forgotten.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Generation(u64);

/// A key under a keyed hash of 128 bits that nobody outside this process can compute: found again without the
/// cost of SHA-256, and worth nothing to whoever reads it.
type Fingerprint = [u64; 2];

impl Authenticator {
    pub(crate) fn new(
        store: Store,
        (platform, admin): (&Secret, Option<&Secret>),
        anonymous: AnonymousAccess,
        keyless: Vec<&'static str>,
        mark: HeaderValue,
        quotas: Quotas,
    ) -> Self {
        Self(Arc::new(Inner {
            tokens: Tokens::new(store.clone()),
            store,
            platform: keys::hash(platform.expose()),
            admin: admin.map(|key| keys::hash(key.expose())),
            anonymous,
            keyless,
            mark,
            fingerprints: [RandomState::new(), RandomState::new()],
            remembered: Remembered::new(),
            uses: KeyUses::default(),
            quotas,
            ended: EndedQueue::default(),
        }))
    }

    /// The tokens of agents that signed in.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Whether only programs of this machine are expected to call.
    pub(crate) fn is_for_this_machine(&self) -> bool {
        matches!(self.0.anonymous, AnonymousAccess::Local { .. })
    }

    /// Whether a call without a key, and without anything else that it could be believed by, is taken.
    pub(crate) fn admit_keyless(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if headers.get(MARK).is_some_and(|mark| *mark == self.0.mark) {
            let detail = "This server called itself without a key; an endpoint or a tool leads back to it.";
            return Err(Problem::forbidden(detail));
        }
        self.0.anonymous.admit(headers)
    }

    /// The caller of a request that is to be answered, where its tenant may send one more now. The platform key may
    /// always, so that its holder can help a tenant out.
    pub(crate) async fn admitted(&self, headers: &HeaderMap, path: &str) -> Result<Caller, AuthError> {
        let caller = self.caller(headers, path).await?;
        if !caller.is_platform {
            self.0.quotas.admit(&caller.tenant, clock::now()).await?;
        }
        Ok(caller)
    }

    /// Which keys were used, and when, since this was asked last.
    pub(crate) fn take_key_uses(&self) -> Vec<(TenantId, KeyId, Timestamp)> {
        self.0.uses.take()
    }

    /// The caller of a request with these headers to `path`.
    pub(crate) async fn caller(&self, headers: &HeaderMap, path: &str) -> Result<Caller, AuthError> {
        let caller = self.by_credentials(headers, path).await?;
        stays_in_its_tenant(&caller, headers)?;
        Ok(caller)
    }

    async fn by_credentials(&self, headers: &HeaderMap, path: &str) -> Result<Caller, AuthError> {
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return self.anonymous(headers, path);
        };
        let key = authorization.to_str().ok().and_then(bearer).ok_or_else(|| no_bearer(authorization))?;
        let now = clock::now();
        let fingerprint = self.0.fingerprints.each_ref().map(|state| state.hash_one(key));
        if let Some(caller) = self.0.remembered.get(&fingerprint, now) {
            return Ok(caller);
        }
        let generation = self.0.remembered.generation();
        let hash = keys::hash(key);
        if is_key(&hash, Some(&self.0.platform)) {
            // Not remembered: its tenant is named anew by each request.
            return self.platform_caller(headers).await;
        }
        let (caller, until) = if is_key(&hash, self.0.admin.as_ref()) {
            (of_default("the admin key"), now + BELIEVED_FOR)
        } else if jwt::is_token(key) {
            let token = self.0.tokens.token(key).await?;
            (token.caller, token.expires_at.min(now + tokens::BELIEVED_FOR))
        } else {
            self.looked_up(&hash, now).await?
        };
        self.0.remembered.insert(fingerprint, generation, until, caller.clone());
        Ok(caller)
    }

    /// Takes in that credentials have ended, on whatever node: what is remembered of them is forgotten, and the connections
    /// that rest on them are looked at.
    pub(crate) fn take_in_ended(&self, ended: Ended) {
        self.0.remembered.forget_all();
        self.0.ended.push(ended);
    }

    /// The same for what has ended here, which the other nodes are told too.
    pub(crate) fn end(&self, wake_ups: &WakeUps, ended: Ended) {
        wake_ups.credential_ended(&ended);
        self.take_in_ended(ended);
    }

    /// What has ended, for whoever tends connections.
    pub(crate) fn ended(&self) -> &EndedQueue {
        &self.0.ended
    }

    fn anonymous(&self, headers: &HeaderMap, path: &str) -> Result<Caller, AuthError> {
        if !is_keyless(&self.0.keyless, path) {
            return Err(anonymous::no_key().into());
        }
        self.admit_keyless(headers)?;
        Ok(of_default("a caller without a key"))
    }

    /// The caller with the key of this hash, and until when that is believed.
    async fn looked_up(&self, hash: &[u8; 32], now: Timestamp) -> Result<(Caller, Timestamp), AuthError> {
        let hash = keys::hex(hash);
        let Some((tenant, key)) = self.0.store.key_by_hash(&hash).await? else {
            let detail = "This key is not known here, or was revoked; ask an admin of the tenant for one.";
            return Err(Problem::unauthorized(detail).into());
        };
        let ends_at = good_until(&key, &hash, now)?;
        self.0.uses.note(&tenant, &key.id, now);
        let name = Arc::from(format!("{} ({})", key.name, key.id));
        let until = ends_at.map_or(now + BELIEVED_FOR, |ends_at| ends_at.min(now + BELIEVED_FOR));
        let api_key = Some(UsedKey { id: key.id.clone(), secret: Arc::from(hash) });
        let caller = Caller {
            tenant,
            scope: key.scope,
            name,
            is_platform: false,
            agent: None,
            registered_at: None,
            key: None,
            api_key,
        };
        Ok((caller, until))
    }

    /// The platform key acts in the tenant that `x-tenant-id` names, else in `default`.
    async fn platform_caller(&self, headers: &HeaderMap) -> Result<Caller, AuthError> {
        let tenant = match headers.get(TENANT) {
            None => TenantId::default_tenant(),
            Some(named) => {
                let named = named.to_str().ok().and_then(|text| TenantId::parse(text).ok());
                let known = match named {
                    Some(id) if id == TenantId::default_tenant() => Some(id),
                    Some(id) => self.0.store.tenant(&id).await?.map(|tenant| tenant.id),
                    None => None,
                };
                known.ok_or_else(|| {
                    let detail =
                        "The tenant named in x-tenant-id does not exist; GET /api/v1/tenants lists them.";
                    Problem::new(ProblemKind::UnknownTenant, detail)
                })?
            }
        };
        Ok(Caller { tenant, is_platform: true, ..of_default("the platform key") })
    }
}

/// Whoever belongs to one tenant cannot act in another: what names one is refused, for it is not done there.
fn stays_in_its_tenant(caller: &Caller, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(named) = headers.get(TENANT).filter(|_| !caller.is_platform) else { return Ok(()) };
    if named.as_bytes() == caller.tenant.as_str().as_bytes() {
        return Ok(());
    }
    let named = bounded(&String::from_utf8_lossy(named.as_bytes()));
    let detail = format!(
        "This call is by {} of the tenant '{}', and x-tenant-id names '{named}'. Only the platform key acts in \
         other tenants; leave x-tenant-id away, or use a key of that tenant.",
        caller.name, caller.tenant,
    );
    Err(Problem::forbidden(detail))
}

/// That an `Authorization` header holds no bearer key.
fn no_bearer(authorization: &HeaderValue) -> Problem {
    let text = authorization.to_str().map(str::trim_ascii).unwrap_or_default();
    Problem::unauthorized(if text.eq_ignore_ascii_case("bearer") {
        "The Authorization header has 'Bearer' and no key behind it; is the variable that holds the key empty? Send \
         'Authorization: Bearer <key>'."
    } else {
        "The Authorization header is not a bearer key; send 'Authorization: Bearer <key>'."
    })
}

/// Until when a key is good under the secret with this hash, where it ends at all.
///
/// # Errors
/// Why it is good no more.
pub(crate) fn good_until(key: &ApiKey, hash: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let previous = match &key.previous {
        _ if key.hash == hash => None,
        Some(previous) if previous.hash == hash => Some(previous.until),
        _ => {
            let detail = "This key was given another secret, and this one is good no more; use the new one.";
            return Err(Problem::unauthorized(detail));
        }
    };
    if let Some(until) = previous.filter(|until| *until <= now) {
        let detail = format!(
            "This key was given another secret, and this one is good no more since {until}; use the new one."
        );
        return Err(Problem::unauthorized(detail));
    }
    if let Some(expired_at) = key.expires_at.filter(|at| *at <= now) {
        let detail = format!(
            "This key expired at {expired_at}; ask an admin of the tenant for another, or have it rotated."
        );
        return Err(Problem::unauthorized(detail));
    }
    Ok(previous.into_iter().chain(key.expires_at).min())
}

impl Remembered {
    fn new() -> Self {
        Self { callers: Cache::new(REMEMBERED_MAX), generation: AtomicU64::new(0) }
    }

    /// The generation of a look-up that begins now.
    fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::SeqCst))
    }

    fn get(&self, fingerprint: &Fingerprint, now: Timestamp) -> Option<Caller> {
        let looked = self.callers.get(fingerprint)?;
        (looked.generation == self.generation() && now < looked.until).then_some(looked.caller)
    }

    /// Remembers what a look-up found that began in `generation`.
    fn insert(&self, fingerprint: Fingerprint, generation: Generation, until: Timestamp, caller: Caller) {
        self.callers.insert(fingerprint, Looked { generation, until, caller });
    }

    fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.callers.clear();
    }
}

/// A caller that may do everything in the tenant `default`.
fn of_default(name: &str) -> Caller {
    Caller {
        tenant: TenantId::default_tenant(),
        scope: Scope::Admin,
        name: Arc::from(name),
        is_platform: false,
        agent: None,
        registered_at: None,
        key: None,
        api_key: None,
    }
}

fn is_key(hash: &[u8; 32], known: Option<&[u8; 32]>) -> bool {
    known.is_some_and(|known| bool::from(known.ct_eq(hash)))
}

/// Whether `path` is one of those that may be called without a key. A path that is not listed is closed, so that a new
/// route cannot be left open by mistake.
fn is_keyless(keyless: &[&str], path: &str) -> bool {
    keyless
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_wire::time::Timestamp;

    use super::{Remembered, bearer, is_keyless, of_default};

    #[test]
    fn a_look_up_that_began_before_a_key_was_revoked_is_not_remembered_after_it() {
        let remembered = Remembered::new();
        let (now, until) = (Timestamp::from_seconds(10), Timestamp::from_seconds(15));
        let (key, caller) = ([1, 2], of_default("a key"));
        let begun = remembered.generation();
        // The store still had the key; it is revoked before what was found is remembered.
        remembered.forget_all();
        remembered.insert(key, begun, until, caller.clone());
        assert_eq!(remembered.get(&key, now), None);
        // One that begins afterwards finds what is true.
        remembered.insert(key, remembered.generation(), until, caller.clone());
        assert_eq!(remembered.get(&key, now), Some(caller));
        assert_eq!(remembered.get(&key, now + Duration::from_secs(5)), None, "for a moment only");
        remembered.forget_all();
        assert_eq!(remembered.get(&key, now), None);
    }

    #[test]
    fn only_what_is_listed_is_open() {
        let keyless = ["/v1/agents", "/v1/tools"];
        for path in ["/v1/agents", "/v1/agents/a/run", "/v1/tools/x"] {
            assert!(is_keyless(&keyless, path), "{path}");
        }
        for path in ["/", "/v1", "/v1/keys", "/v1/agentsx", "/v1/opscore/logs", "/api/v1/agents", "/v1/new"] {
            assert!(!is_keyless(&keyless, path), "{path}");
        }
    }

    #[test]
    fn only_a_bearer_key_is_one() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for other in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }
}
