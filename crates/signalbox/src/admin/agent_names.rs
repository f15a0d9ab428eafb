//! Agents by their names, which people know them by.

use std::collections::BTreeMap;

use signalbox_client::ListQuery;

use super::context::Context;

/// How many are asked for; others go by their ids.
const NAMES_MAX: u32 = 1_000;

/// Agents' names by their ids.
pub(crate) async fn all(context: &Context) -> anyhow::Result<BTreeMap<String, String>> {
    let page = context.client.agents(&ListQuery::new().limit(NAMES_MAX)).await?;
    Ok(page.data.into_iter().map(|agent| (agent.agent_id.to_string(), agent.agent_name)).collect())
}
