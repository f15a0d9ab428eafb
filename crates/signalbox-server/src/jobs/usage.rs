//! Adds what tenants took to the store, and writes down when keys were last used, in batches.

use std::collections::HashMap;
use std::time::Duration;

use signalbox_core::engine::{AddUsage, NoteKeyUses};
use signalbox_store::StoreError;
use signalbox_wire::id::{KeyId, TenantId};
use signalbox_wire::time::Timestamp;
use tokio::task::JoinSet;

use super::context::Jobs;
use crate::clock::{self, Stopwatch};
use crate::engine::DriveError;
use crate::quota::Untold;

/// Time between two additions of what was taken: a node that dies takes so much with it.
const EVERY: Duration = Duration::from_secs(5);
/// Time between two notes of when keys were used.
const KEYS_EVERY: Duration = Duration::from_secs(60);
/// Tenants that are written at once, so that they share commits.
const AT_ONCE: usize = 64;
/// Keys of one tenant that are noted in one commit.
const KEYS_AT_ONCE: usize = 100;

/// Runs until the server drains; then what is in memory is added as it is.
pub(super) async fn run(app: Jobs) {
    let mut keys_noted = Stopwatch::start();
    loop {
        let is_last = app.draining.is_cancelled();
        add(&app).await;
        if is_last || keys_noted.elapsed() >= KEYS_EVERY {
            keys_noted = Stopwatch::start();
            note_keys(&app).await;
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = app.draining.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn add(app: &Jobs) {
    let mut adding = JoinSet::new();
    for untold in app.quotas.untold(clock::now()) {
        if adding.len() >= AT_ONCE {
            adding.join_next().await;
        }
        let app = app.clone();
        adding.spawn(async move { add_one(&app, &untold).await });
    }
    while adding.join_next().await.is_some() {}
}

async fn add_one(app: &Jobs, untold: &Untold) {
    let operation = AddUsage { usage: untold.usage };
    match app.quotas.tell(untold, clock::now(), app.drive.run(&untold.tenant, &operation)).await {
        Ok(()) => {}
        // Nobody asks any more what it took.
        Err(DriveError::Store(StoreError::Removed)) => app.quotas.drop_account(&untold.tenant),
        // It stays in memory and is told with what follows. Where the store took it after all, it counts twice.
        Err(error) => {
            tracing::warn!(%error, tenant = %untold.tenant, "what a tenant took could not be added; it is tried again");
        }
    }
}

async fn note_keys(app: &Jobs) {
    let mut by_tenant: HashMap<TenantId, Vec<(KeyId, Timestamp)>> = HashMap::new();
    for (tenant, key, at) in app.authenticator.take_key_uses() {
        by_tenant.entry(tenant).or_default().push((key, at));
    }
    for (tenant, uses) in by_tenant {
        for uses in uses.chunks(KEYS_AT_ONCE) {
            let operation = NoteKeyUses { uses: uses.to_vec() };
            if let Err(error) = app.drive.run(&tenant, &operation).await {
                tracing::warn!(%error, %tenant, "when keys were last used could not be written; the next use is");
            }
        }
    }
}
