//! What an agent is to the commands: where the API has agents, the columns of their table.

use super::resource::{Column, Resource};

/// Agents.
pub(crate) const AGENTS: Resource = Resource {
    noun: "agent",
    lister: "signalbox agents list",
    path: &["v1", "agents"],
    items: "data",
    enveloped: true,
    columns: &[
        Column::text("NAME", "/agentName"),
        Column::id("ID", "/agentId"),
        Column::standing("STATUS"),
        Column::report("LAST REPORT"),
        Column::age("FAILED", "/deliveryFailure/at").rare(),
        Column::text("CAPABILITIES", "/capabilities"),
        Column::age("LAST SEEN", "/lastSeen").wide(),
        Column::status("PRESENCE", "/presence").wide(),
        Column::text("VERSION", "/version").wide(),
        Column::text("ENDPOINT", "/contactEndpoint").wide(),
        Column::age("REGISTERED", "/registrationTime").wide(),
        Column::text("LAST FAILURE", "/deliveryFailure/error").wide(),
    ],
};
