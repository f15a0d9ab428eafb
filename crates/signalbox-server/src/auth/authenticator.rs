//! The [`Authenticator`]: which key belongs to whom, and what an unsigned call on loopback may do.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use quick_cache::sync::Cache;
use signalbox_core::decision::Scope;
use signalbox_wire::id::TenantId;
use signalbox_wire::keys::{self, Secret};
use signalbox_wire::problem::Problem;
use signalbox_wire::time::Timestamp;
use subtle::ConstantTimeEq;

use super::anonymous::{self, AnonymousAccess};
use crate::app::App;
use crate::clock;
use crate::egress::MARK;
use crate::http::problem::Refusal;

/// How long a looked-up key is believed; a key revoked on another node may open things for so long.
const BELIEVED_FOR: Duration = Duration::from_secs(5);
/// Keys remembered at once.
const REMEMBERED_MAX: usize = 10_000;

/// The paths of the AgentKit surface.
const OPEN: [&str; 4] = ["/v1/agents", "/v1/tools", "/v1/messages", "/v1/dead-letters"];

/// Who calls, in which tenant, and what that allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    /// Whether the platform key was used: it alone makes tenants.
    pub(crate) is_platform: bool,
}

/// Tells callers apart.
pub(crate) struct Authenticator {
    platform: [u8; 32],
    admin: Option<[u8; 32]>,
    anonymous: AnonymousAccess,
    mark: HeaderValue,
    fingerprints: [RandomState; 2],
    remembered: Cache<Fingerprint, (Timestamp, Caller)>,
}

/// A key under a keyed hash of 128 bits that nobody outside this process can compute: found again without the
/// cost of SHA-256, and worth nothing to whoever reads it.
type Fingerprint = [u64; 2];

impl Authenticator {
    pub(crate) fn new(
        platform: &Secret,
        admin: Option<&Secret>,
        anonymous: AnonymousAccess,
        mark: HeaderValue,
    ) -> Self {
        Self {
            platform: keys::hash(platform.expose()),
            admin: admin.map(|key| keys::hash(key.expose())),
            anonymous,
            mark,
            fingerprints: [RandomState::new(), RandomState::new()],
            remembered: Cache::new(REMEMBERED_MAX),
        }
    }

    /// Whether only programs of this machine are expected to call.
    pub(crate) fn is_for_this_machine(&self) -> bool {
        matches!(self.anonymous, AnonymousAccess::Local { .. })
    }

    /// Whether a call without a key, and without anything else that it could be believed by, is taken.
    pub(crate) fn admit_keyless(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if headers.get(MARK).is_some_and(|mark| *mark == self.mark) {
            let detail = "This server called itself without a key; an endpoint or a tool leads back to it.";
            return Err(Problem::forbidden(detail));
        }
        self.anonymous.admit(headers)
    }

    /// The caller of a request with these headers to `path`.
    pub(crate) async fn caller(&self, app: &App, headers: &HeaderMap, path: &str) -> Result<Caller, Refusal> {
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return self.anonymous(headers, path);
        };
        let key = authorization.to_str().ok().and_then(bearer).ok_or_else(|| {
            Problem::unauthorized(
                "The Authorization header is not a bearer key; send 'Authorization: Bearer <key>'.",
            )
        })?;
        let now = clock::now();
        let fingerprint = self.fingerprints.each_ref().map(|state| state.hash_one(key));
        if let Some((until, caller)) = self.remembered.get(&fingerprint)
            && now < until
        {
            return Ok(caller);
        }
        let hash = keys::hash(key);
        if self.is_key(&hash, Some(&self.platform)) {
            // Not remembered: its tenant is named anew by each request.
            return platform_caller(app, headers).await;
        }
        let caller = if self.is_key(&hash, self.admin.as_ref()) {
            Caller { tenant: TenantId::default_tenant(), scope: Scope::Admin, is_platform: false }
        } else {
            looked_up(app, &hash).await?
        };
        self.remembered.insert(fingerprint, (now + BELIEVED_FOR, caller.clone()));
        Ok(caller)
    }

    /// Forgets a key at once, when it is revoked here.
    pub(crate) fn forget_all(&self) {
        self.remembered.clear();
    }

    fn anonymous(&self, headers: &HeaderMap, path: &str) -> Result<Caller, Refusal> {
        if !is_open_path(path) {
            return Err(anonymous::no_key().into());
        }
        self.admit_keyless(headers)?;
        Ok(Caller { tenant: TenantId::default_tenant(), scope: Scope::Admin, is_platform: false })
    }

    fn is_key(&self, hash: &[u8; 32], known: Option<&[u8; 32]>) -> bool {
        known.is_some_and(|known| bool::from(known.ct_eq(hash)))
    }
}

async fn looked_up(app: &App, hash: &[u8; 32]) -> Result<Caller, Refusal> {
    match app.store.key_by_hash(&keys::hex(hash)).await? {
        Some((tenant, key)) => Ok(Caller { tenant, scope: key.scope, is_platform: false }),
        None => {
            let detail = "This key is not known here, or was revoked; ask an admin of the tenant for one.";
            Err(Problem::unauthorized(detail).into())
        }
    }
}

/// The platform key acts in the tenant that `x-tenant-id` names, else in `default`.
async fn platform_caller(app: &App, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let tenant = match headers.get("x-tenant-id") {
        None => TenantId::default_tenant(),
        Some(named) => {
            let named = named.to_str().ok().and_then(|text| TenantId::parse(text).ok());
            let known = match named {
                Some(id) if id == TenantId::default_tenant() => Some(id),
                Some(id) => app.store.tenant(&id).await?.map(|tenant| tenant.id),
                None => None,
            };
            known.ok_or_else(|| {
                let detail =
                    "The tenant named in x-tenant-id does not exist; GET /api/v1/tenants lists them.";
                Problem::not_found("unknown-tenant", detail)
            })?
        }
    };
    Ok(Caller { tenant, scope: Scope::Admin, is_platform: true })
}

/// Whether this is the AgentKit surface, which alone takes calls without a key. A path that is not listed is
/// closed, so that a new route cannot be left open by mistake.
fn is_open_path(path: &str) -> bool {
    OPEN.iter()
        .any(|open| path.strip_prefix(open).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{bearer, is_open_path};

    #[test]
    fn only_the_agentkit_surface_is_open() {
        for path in ["/v1/agents", "/v1/agents/a/run", "/v1/tools/x", "/v1/messages/m", "/v1/dead-letters"] {
            assert!(is_open_path(path), "{path}");
        }
        for path in ["/", "/v1", "/v1/keys", "/v1/agentsx", "/v1/opscore/logs", "/api/v1/agents", "/v1/new"] {
            assert!(!is_open_path(path), "{path}");
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
