//! Tenants and limits as they are kept and as they are shown.

use signalbox_core::decision::Tenant;
use signalbox_core::quota::{Limit, LimitChanges, TenantLimits};
use signalbox_wire::artcafe::{self, TenantLimitsPatch, TenantView};
use signalbox_wire::id::TenantId;

pub(crate) fn limits_out(limits: TenantLimits) -> artcafe::TenantLimits {
    artcafe::TenantLimits {
        agents: limits.agents,
        connections: limits.connections,
        channels: limits.channels,
        ssh_keys: limits.ssh_keys,
        api_keys: limits.api_keys,
        messages_per_day: limits.messages_per_day,
        requests_per_second: limits.requests_per_second,
    }
}

pub(super) fn limits_in(limits: artcafe::TenantLimits) -> TenantLimits {
    TenantLimits {
        agents: limits.agents,
        connections: limits.connections,
        channels: limits.channels,
        ssh_keys: limits.ssh_keys,
        api_keys: limits.api_keys,
        messages_per_day: limits.messages_per_day,
        requests_per_second: limits.requests_per_second,
    }
}

pub(super) fn changes(patch: &TenantLimitsPatch) -> LimitChanges {
    let all = [
        (Limit::Agents, patch.agents),
        (Limit::Connections, patch.connections),
        (Limit::Channels, patch.channels),
        (Limit::SshKeys, patch.ssh_keys),
        (Limit::ApiKeys, patch.api_keys),
        (Limit::MessagesPerDay, patch.messages_per_day),
        (Limit::RequestsPerSecond, patch.requests_per_second),
    ];
    LimitChanges(all.into_iter().filter_map(|(limit, change)| Some((limit, change?))).collect())
}

pub(super) fn view(tenant: &Tenant, defaults: TenantLimits) -> TenantView {
    TenantView {
        tenant_id: tenant.id.clone(),
        name: tenant.name.clone(),
        created_at: (tenant.id != TenantId::default_tenant()).then_some(tenant.created_at),
        limits: limits_out(tenant.limits),
        effective_limits: limits_out(tenant.limits.or(defaults)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_the_same_name_everywhere() {
        let names: Vec<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names, artcafe::LIMITS);
    }
}
