//! Tenants: made, changed, and what they took each day.

use std::sync::Arc;

use serde_json::json;
use signalbox_wire::id::TenantId;

use super::operation::Operation;
use super::records::logged;
use crate::decision::{ApiKey, Key, Row, Tenant};
use crate::quota::{LimitChanges, TenantLimits, UsageDay};
use crate::{Decision, DecisionContext, Halt, Rejected, Snapshot};

/// A tenant is made, with its first key.
#[derive(Debug, Clone)]
pub struct CreateTenant {
    /// The tenant.
    pub tenant: Tenant,
    /// Its first key, of scope admin.
    pub key: ApiKey,
}

impl Operation for CreateTenant {
    type Output = ();

    fn decide(&self, _: &Snapshot, context: &mut DecisionContext<'_>) -> Result<(Decision, ()), Halt> {
        let mut decision = logged(context, "tenant.created", &json!({"name": self.tenant.name}));
        let version = context.version_after(None);
        decision.create(Row::Tenant(self.tenant.clone()), version);
        decision.create(Row::ApiKey(Arc::new(self.key.clone())), version);
        Ok((decision, ()))
    }
}

/// A tenant gets another name or other limits; what is absent stays.
#[derive(Debug, Clone)]
pub struct ChangeTenant {
    /// Which; it is the one that the operation runs in.
    pub tenant: TenantId,
    /// Its new name.
    pub name: Option<String>,
    /// The limits that change.
    pub limits: LimitChanges,
}

impl Operation for ChangeTenant {
    type Output = Tenant;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Tenant(self.tenant.clone())]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, Tenant), Halt> {
        let read = snapshot.tenant(&self.tenant)?;
        let before = match &read {
            Some(read) => Tenant::clone(&read.value),
            // The one that is always there has no row before something is said of it.
            None if self.tenant == TenantId::default_tenant() => Tenant {
                id: self.tenant.clone(),
                name: self.tenant.to_string(),
                created_at: context.now,
                limits: TenantLimits::default(),
            },
            None => return Err(Rejected::UnknownTenant(self.tenant.clone()).into()),
        };
        let name = self.name.clone().unwrap_or_else(|| before.name.clone());
        let tenant = Tenant { name, limits: before.limits.changed(&self.limits), ..before.clone() };
        if read.is_some() && tenant == before {
            return Ok((Decision::default(), tenant));
        }
        let mut decision =
            logged(context, "tenant.changed", &json!({"name": tenant.name, "limits": tenant.limits}));
        let read = read.map(|read| read.version);
        decision.put(Row::Tenant(tenant.clone()), read, context.version_after(read));
        Ok((decision, tenant))
    }
}

/// What a node counted of a tenant's use is added to what is kept of the day. Several nodes add up.
#[derive(Debug, Clone)]
pub struct AddUsage {
    /// What was taken, and on which day.
    pub usage: UsageDay,
}

impl Operation for AddUsage {
    type Output = UsageDay;

    fn keys(&self) -> Vec<Key> {
        vec![Key::Usage(self.usage.day)]
    }

    fn decide(
        &self,
        snapshot: &Snapshot,
        context: &mut DecisionContext<'_>,
    ) -> Result<(Decision, UsageDay), Halt> {
        let read = snapshot.usage(self.usage.day)?;
        let before = read.as_ref().map_or_else(|| UsageDay::of(self.usage.day), |read| *read.value);
        let after = before.plus(&self.usage);
        let mut decision = Decision::default();
        if after != before {
            let version = read.as_ref().map(|read| read.version);
            decision.put(Row::Usage(after), version, context.version_after(version));
        }
        Ok((decision, after))
    }
}
