//! Keys as they are kept and as they are shown.

use signalbox_core::decision::{ApiKey, Scope};
use signalbox_wire::duration::Period;
use signalbox_wire::fault::Fault;
use signalbox_wire::process::{KeyScope, KeyView};
use signalbox_wire::time::Timestamp;

use crate::clock;

pub(super) fn view(key: &ApiKey) -> KeyView {
    KeyView {
        key_id: key.id.clone(),
        name: key.name.clone(),
        scope: scope_out(key.scope),
        created_at: key.created_at,
        expires_at: key.expires_at,
        rotated_at: key.rotated_at,
        earlier_until: key
            .previous
            .as_ref()
            .map(|previous| previous.until)
            .filter(|until| clock::now() < *until),
        last_used_at: key.last_used_at,
        key: None,
    }
}

pub(super) fn scope_in(scope: KeyScope) -> Scope {
    match scope {
        KeyScope::Read => Scope::Read,
        KeyScope::Agent => Scope::Agent,
        KeyScope::Admin => Scope::Admin,
    }
}

fn scope_out(scope: Scope) -> KeyScope {
    match scope {
        Scope::Read => KeyScope::Read,
        Scope::Agent => KeyScope::Agent,
        Scope::Admin => KeyScope::Admin,
    }
}

/// When a key is to end: at a moment, after a time, or not at all.
pub(super) fn expiry(
    at: Option<Timestamp>,
    after: Option<Period>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Vec<Fault>> {
    if at.is_some_and(|at| at <= now) {
        let message = "is over already; give a moment that is to come, or leave it out";
        return Err(vec![Fault::new("/expiresAt", message)]);
    }
    Ok(at.or_else(|| after.map(|period| now + period.into())))
}
