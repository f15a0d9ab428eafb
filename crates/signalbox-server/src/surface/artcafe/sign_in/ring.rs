//! The keys that tokens are signed with, made where there are none or the newest is worn.

use std::sync::Arc;

use signalbox_core::engine::RotateTokenKeys;
use signalbox_core::token_keys::Seed;
use signalbox_wire::id::TenantId;

use crate::auth::{Authenticator, Ring};
use crate::clock;
use crate::engine::Drive;
use crate::http::problem::Refusal;
use crate::surface::state::SignInTerms;

/// The keys as they are to be used now.
pub(super) async fn ring(
    drive: &Drive,
    authenticator: &Authenticator,
    terms: &SignInTerms,
) -> Result<Arc<Ring>, Refusal> {
    let ring = authenticator.tokens().ring();
    if let Some(current) = ring.current(clock::now(), terms.token_key_rotation) {
        return Ok(current);
    }
    let _making = ring.making.lock().await;
    let now = clock::now();
    if let Some(current) = ring.current(now, terms.token_key_rotation) {
        return Ok(current);
    }
    let operation = RotateTokenKeys {
        challenge: Seed::new(clock::secret_bytes()),
        signing: Seed::new(clock::secret_bytes()),
        rotation: terms.token_key_rotation,
    };
    let keys = drive.run(&TenantId::default_tenant(), &operation).await?;
    ring.take_in(&keys, now).ok_or_else(|| Refusal::failed("the keys of tokens cannot be used"))
}
