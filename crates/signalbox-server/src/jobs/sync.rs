//! The periodic comparison with another AgentKit service, in case one of its announcements was lost.
//!
//! Agents that are there and not here are announced, those that differ are updated, those that are gone
//! there are removed. An agent that is the same is left alone, so running twice changes nothing; one that was
//! written here after its page was asked for is left to the next round.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use serde::Deserialize;
use signalbox_core::Rejected;
use signalbox_core::engine::{Announce, AnnounceListed, Deregister};
use signalbox_store::{AgentFilter, EventFilter, Page};
use signalbox_wire::agentkit::AgentView;
use signalbox_wire::id::{AgentId, TenantId};
use signalbox_wire::time::Timestamp;

use super::context::Jobs;
use crate::clock;
use crate::engine::DriveError;

/// The most that one page of the other service's list may weigh.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// Pages of the other service's list that are read in one round, of 1,000 agents each.
const PAGES_MAX: usize = 1_000;

/// One page of the other service's list.
#[derive(Debug, Deserialize)]
struct Listing {
    data: Vec<AgentView>,
    next_cursor: Option<String>,
}

/// Compares now and then until the server drains.
pub(super) async fn run(app: Jobs) {
    loop {
        let round = async {
            if let Err(error) = compare(&app).await {
                tracing::warn!(%error, "the agents of the AgentKit service could not be compared; the next round tries again");
            }
            tokio::time::sleep(app.config.agent_sync_interval).await;
        };
        tokio::select! {
            () = app.draining.cancelled() => return,
            () = round => {}
        }
    }
}

/// Why a comparison came to nothing.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{0}")]
    Call(#[from] crate::egress::EgressError),
    #[error("the list does not end after {PAGES_MAX} pages")]
    Endless,
    #[error("the service answered {0}")]
    Status(http::StatusCode),
    #[error("the service's list is not one: {0}")]
    Listing(#[from] serde_json::Error),
    #[error("the address cannot be called: {0}")]
    Address(#[from] http::Error),
    #[error("{0}")]
    Drive(#[from] DriveError),
}

async fn compare(app: &Jobs) -> Result<(), SyncError> {
    let tenant = TenantId::default_tenant();
    let began = clock::now();
    let mut there = HashSet::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let asked_at = clock::now();
        let listing = page(app, cursor.as_deref()).await?;
        for agent in listing.data {
            there.insert(agent.agent_id.clone());
            take_in(app, &tenant, agent, asked_at).await?;
        }
        cursor = listing.next_cursor;
        if cursor.is_none() {
            return remove_others(app, &tenant, &there, began).await;
        }
    }
    // Who is missing from a list without an end is not known to be gone.
    Err(SyncError::Endless)
}

async fn take_in(
    app: &Jobs,
    tenant: &TenantId,
    agent: AgentView,
    asked_at: Timestamp,
) -> Result<(), SyncError> {
    let is_known = app.store.agent(tenant, &agent.agent_id).await.map_err(DriveError::from)?.is_some();
    if !is_known && was_removed(app, tenant, &agent.agent_id, asked_at).await? {
        return Ok(());
    }
    app.drive.run(tenant, &AnnounceListed { announce: announcement(agent), asked_at }).await?;
    Ok(())
}

/// Whether an agent that is not here was removed since the page was asked for: then it is the page that is old.
async fn was_removed(
    app: &Jobs,
    tenant: &TenantId,
    agent: &AgentId,
    since: Timestamp,
) -> Result<bool, SyncError> {
    let filter = EventFilter {
        agent: Some(agent.clone()),
        kind: Some("agent.deregistered".to_owned()),
        since: Some(since),
        ..EventFilter::default()
    };
    let found = app.store.events(tenant, &filter, &Page { limit: 1, after: None }).await;
    Ok(!found.map_err(DriveError::from)?.items.is_empty())
}

async fn remove_others(
    app: &Jobs,
    tenant: &TenantId,
    there: &HashSet<AgentId>,
    began: Timestamp,
) -> Result<(), SyncError> {
    for (agent, since) in here(app, tenant).await? {
        // One that came while the list was read may be missing from it.
        if there.contains(&agent) || since >= began {
            continue;
        }
        match app.drive.run(tenant, &Deregister { agent, trace: None }).await {
            Ok(_) | Err(DriveError::Rejected(Rejected::UnknownAgent(_))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn here(app: &Jobs, tenant: &TenantId) -> Result<Vec<(AgentId, Timestamp)>, SyncError> {
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

async fn page(app: &Jobs, cursor: Option<&str>) -> Result<Listing, SyncError> {
    let service = app.config.dispatches_through().unwrap_or_default().trim_end_matches('/');
    let mut request = Request::get(format!("{service}/v1/agents?limit=1000{}", cursor_query(cursor)));
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

fn cursor_query(cursor: Option<&str>) -> String {
    let encoded = |cursor| percent_encoding::utf8_percent_encode(cursor, percent_encoding::NON_ALPHANUMERIC);
    cursor.map(|cursor| format!("&cursor={}", encoded(cursor))).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_quoted() {
        assert_eq!(cursor_query(None), "");
        assert_eq!(cursor_query(Some("a&b=c+d")), "&cursor=a%26b%3Dc%2Bd");
    }
}
