//! The periodic comparison with another AgentKit service, in case one of its announcements was lost.
//!
//! Agents that are there and not here are announced, those that differ are updated, those that are gone
//! there are removed. An agent that is the same is left alone, so running twice changes nothing.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde::Deserialize;
use signalbox_core::engine::{Announce, Deregister};
use signalbox_store::{AgentFilter, Page};
use signalbox_wire::agentkit::AgentView;
use signalbox_wire::id::{AgentId, TenantId};

use crate::app::App;
use crate::clock;
use crate::drive::DriveError;

/// The most that one page of the other service's list may weigh.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// One page of the other service's list.
#[derive(Debug, Deserialize)]
struct Listing {
    data: Vec<AgentView>,
    next_cursor: Option<String>,
}

/// Compares now and then until the server drains.
pub(super) async fn run(app: App) {
    loop {
        if let Err(error) = compare(&app).await {
            tracing::warn!(%error, "the agents of the AgentKit service could not be compared; the next round tries again");
        }
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = tokio::time::sleep(app.config.agent_sync_interval) => {}
        }
    }
}

/// Why a comparison came to nothing.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{0}")]
    Call(#[from] crate::egress::EgressError),
    #[error("the service answered {0}")]
    Status(http::StatusCode),
    #[error("the service's list is not one: {0}")]
    Listing(#[from] serde_json::Error),
    #[error("the address cannot be called: {0}")]
    Address(#[from] http::Error),
    #[error("{0}")]
    Drive(#[from] DriveError),
}

async fn compare(app: &App) -> Result<(), SyncError> {
    let tenant = TenantId::default_tenant();
    let began = clock::now();
    let mut there = HashSet::new();
    let mut cursor = None;
    loop {
        let listing = page(app, cursor.as_deref()).await?;
        for agent in listing.data {
            there.insert(agent.agent_id.clone());
            app.drive.run(&tenant, &announcement(agent)).await?;
        }
        cursor = listing.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    for agent in here(app, &tenant).await? {
        // One that came while the list was read may be missing from it.
        if !there.contains(&agent.0) && agent.1 < began {
            app.drive.run(&tenant, &Deregister { agent: agent.0, trace: None }).await?;
        }
    }
    Ok(())
}

async fn here(
    app: &App,
    tenant: &TenantId,
) -> Result<Vec<(AgentId, signalbox_wire::time::Timestamp)>, SyncError> {
    let mut found = Vec::new();
    let mut page = Page { limit: 1_000, after: None };
    loop {
        let listed =
            app.store.agents(tenant, &AgentFilter::default(), &page).await.map_err(DriveError::from)?;
        found.extend(listed.items.into_iter().map(|(agent, status)| {
            let seen = status.map_or(agent.registered_at, |status| status.last_seen);
            (agent.id.clone(), seen.max(agent.registered_at))
        }));
        page.after = listed.next;
        if page.after.is_none() {
            return Ok(found);
        }
    }
}

async fn page(app: &App, cursor: Option<&str>) -> Result<Listing, SyncError> {
    let service = app.config.dispatches_through().unwrap_or_default().trim_end_matches('/');
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    let mut request = Request::get(format!("{service}/v1/agents?limit=1000{cursor}"));
    if let Some(key) = &app.config.agentkit_api_key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.expose()));
    }
    let request = request.body(Full::new(Bytes::new()))?;
    let (status, _, body) = app.services.send(request, app.config.delivery_timeout, PAGE_BYTES_MAX).await?;
    if !status.is_success() {
        return Err(SyncError::Status(status));
    }
    Ok(serde_json::from_slice(&body)?)
}

fn announcement(agent: AgentView) -> Announce {
    Announce {
        id: agent.agent_id,
        name: agent.agent_name,
        version: agent.version,
        endpoint: agent.contact_endpoint,
        capabilities: agent
            .capabilities
            .iter()
            .filter_map(|given| serde_json::to_value(given).ok())
            .collect(),
        metadata: agent.metadata,
        registered_at: Some(agent.registration_time),
        generation: None,
    }
}
