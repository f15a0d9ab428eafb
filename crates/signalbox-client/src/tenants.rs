//! Calls about tenants, for the operator of all of them.

use signalbox_wire::artcafe::{TenantBody, TenantCreated, TenantList, TenantPatch, TenantView, UsageMetrics};

use crate::client::{Client, ListQuery};
use crate::error::Error;

impl Client {
    /// A page of the tenants; `next_token` as the filter of that name goes on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tenants(&self, query: &ListQuery) -> Result<TenantList, Error> {
        self.get(&["api", "v1", "tenants"]).list(query).fetch().await
    }

    /// One tenant.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tenant(&self, tenant_id: &str) -> Result<TenantView, Error> {
        self.get(&["api", "v1", "tenants", tenant_id]).fetch().await
    }

    /// Makes a tenant; the answer alone has its key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_tenant(&self, body: &TenantBody) -> Result<TenantCreated, Error> {
        self.post(&["api", "v1", "tenants"]).json(body).fetch().await
    }

    /// Changes a tenant's limits; what is not given stays.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_tenant(&self, tenant_id: &str, body: &TenantPatch) -> Result<TenantView, Error> {
        self.patch(&["api", "v1", "tenants", tenant_id]).json(body).fetch().await
    }

    /// Removes a tenant with all that is in it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_tenant(&self, tenant_id: &str) -> Result<(), Error> {
        self.delete(&["api", "v1", "tenants", tenant_id]).send().await.map(drop)
    }

    /// What the tenant used, by day.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn usage_metrics(&self, query: &ListQuery) -> Result<UsageMetrics, Error> {
        self.get(&["api", "v1", "usage-metrics"]).list(query).fetch().await
    }
}
