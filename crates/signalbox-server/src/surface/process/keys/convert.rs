//! Keys as they are kept and as they are shown.

use signalbox_core::decision::{ApiKey, Scope};
use signalbox_wire::process::{KeyScope, KeyView};

pub(super) fn view(key: &ApiKey) -> KeyView {
    KeyView {
        key_id: key.id.clone(),
        name: key.name.clone(),
        scope: scope_out(key.scope),
        created_at: key.created_at,
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
