//! What a tenant is to the commands: where the API has tenants, the columns of their table, and how one is named.

use anyhow::{Context as _, bail};
use serde_json::Value;
use signalbox_client::{Client, ListQuery, Method};

use super::resource::{Column, Resource};

/// The tenant that is always there.
const DEFAULT: &str = "default";

/// Tenants.
pub(crate) const TENANTS: Resource = Resource {
    noun: "tenant",
    lister: "signalbox tenants list",
    path: &["api", "v1", "tenants"],
    items: "tenants",
    enveloped: false,
    columns: &[
        Column::text("NAME", "/name"),
        Column::id("ID", "/tenant_id"),
        Column::age("MADE", "/created_at"),
        Column::text("LIMITS", "/limits").wide(),
        Column::text("EFFECTIVE LIMITS", "/effective_limits").wide(),
    ],
};

/// The id of a tenant that is given by its id or its name. Only the platform key sees names.
pub(crate) async fn id_of(client: &Client, given: &str) -> anyhow::Result<String> {
    if given == DEFAULT || given.starts_with("tnt_") {
        return Ok(given.to_owned());
    }
    let mut query = ListQuery::new().limit(1_000);
    let mut named = Vec::new();
    loop {
        let answer = client.request(Method::GET, TENANTS.path, &query, None, None).await?;
        let page: Value = serde_json::from_slice(&answer.body).context("the answer is not JSON")?;
        for tenant in page["tenants"].as_array().into_iter().flatten() {
            let id = tenant["tenant_id"].as_str().unwrap_or_default();
            if id == given {
                return Ok(given.to_owned());
            }
            if tenant["name"] == given {
                named.push(id.to_owned());
            }
        }
        match page["next_token"].as_str() {
            Some(next) => query = ListQuery::new().limit(1_000).filter("next_token", next),
            None => break,
        }
    }
    match named.as_slice() {
        [id] => Ok(id.clone()),
        [] => bail!("there is no tenant '{given}'; '{}' shows what there is", TENANTS.lister),
        several => bail!("several tenants have the name '{given}'; give one's id: {}", several.join(", ")),
    }
}
