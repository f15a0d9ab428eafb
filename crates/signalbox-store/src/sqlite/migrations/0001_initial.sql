-- Rows: tenant, key, what listings filter and order by, version, and the whole row as JSON.
-- Small rows that are rarely written live in their primary key; the others beside it.

CREATE TABLE agents (
    tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE agent_names (
    tenant TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- What agents offer, repeated from their bodies.
CREATE TABLE agent_capabilities (
    tenant TEXT NOT NULL, agent TEXT NOT NULL, capability TEXT NOT NULL,
    PRIMARY KEY (tenant, agent, capability)
) WITHOUT ROWID;
CREATE INDEX agent_capabilities_by_capability ON agent_capabilities (tenant, capability, agent);

CREATE TABLE agent_statuses (
    tenant TEXT NOT NULL, agent TEXT NOT NULL, state TEXT, node TEXT,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, agent)
);
-- Who is connected to a node: what it held is swept up when it is gone.
CREATE INDEX agent_statuses_by_node ON agent_statuses (node, tenant, agent) WHERE node IS NOT NULL;
CREATE INDEX agent_statuses_connected ON agent_statuses (tenant, agent) WHERE node IS NOT NULL;

-- Who is listed as available. When each was used last is kept in memory, and here as of when it was listed.
CREATE TABLE available (
    tenant TEXT NOT NULL, route TEXT NOT NULL, agent TEXT NOT NULL, last_used INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, route, agent)
) WITHOUT ROWID;

CREATE TABLE sessions (
    tenant TEXT NOT NULL, id TEXT NOT NULL, workflow TEXT NOT NULL, status TEXT NOT NULL,
    created_at INTEGER NOT NULL, ended_at INTEGER, revision INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX sessions_by_age ON sessions (tenant, created_at, id);
-- Nothing in it changes while there is the session.
CREATE INDEX sessions_by_workflow ON sessions (tenant, workflow, created_at, id);
CREATE INDEX sessions_by_status ON sessions (tenant, status, created_at, id);
CREATE INDEX sessions_open ON sessions (tenant, workflow, revision) WHERE ended_at IS NULL;
-- Tenants keep what is over as long as they say: what may go is looked for tenant by tenant.
CREATE INDEX sessions_by_end ON sessions (tenant, ended_at) WHERE ended_at IS NOT NULL;

-- Which agents hold or held a task of a session, in the order of lists by agent. What is left of a session that is gone is
-- passed over, and looked for by and by.
CREATE TABLE session_agents (
    tenant TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent, created_at, session)
) WITHOUT ROWID;

CREATE TABLE tasks (
    tenant TEXT NOT NULL, id TEXT NOT NULL, session TEXT NOT NULL, position INTEGER NOT NULL,
    priority INTEGER NOT NULL, wait_route TEXT, queued_at INTEGER,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX tasks_by_session ON tasks (tenant, session, position);
-- Waiting tasks are served by priority, then by how long they wait.
CREATE INDEX tasks_waiting ON tasks (tenant, wait_route, priority DESC, queued_at, id)
    WHERE wait_route IS NOT NULL;

CREATE TABLE definitions (
    tenant TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id, revision)
);

CREATE TABLE workflows (
    tenant TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE TABLE messages (
    tenant TEXT NOT NULL, id TEXT NOT NULL, agent TEXT, kind TEXT NOT NULL, status TEXT NOT NULL,
    settled_at INTEGER,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX messages_dead ON messages (tenant, settled_at, id) WHERE status = 'dead';
CREATE INDEX messages_settled ON messages (tenant, settled_at) WHERE status IN ('delivered', 'cancelled');

CREATE TABLE tools (
    tenant TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE api_keys (
    tenant TEXT NOT NULL, id TEXT NOT NULL, hash TEXT NOT NULL, previous_hash TEXT,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);
-- The secret before, while it is good too.
CREATE INDEX api_keys_by_previous ON api_keys (previous_hash) WHERE previous_hash IS NOT NULL;

CREATE TABLE tenants (
    tenant TEXT NOT NULL, id TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX tenants_by_id ON tenants (id);

CREATE TABLE answered (
    tenant TEXT NOT NULL, key TEXT NOT NULL, expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX answered_by_expiry ON answered (expires_at);

CREATE TABLE signatures (
    tenant TEXT NOT NULL, signature TEXT NOT NULL, expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, signature)
) WITHOUT ROWID;
CREATE INDEX signatures_by_expiry ON signatures (expires_at);

-- What starts sessions besides calls.
CREATE TABLE schedules (
    tenant TEXT NOT NULL, id TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE hooks (
    tenant TEXT NOT NULL, id TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- What a tenant has set, by name.
CREATE TABLE settings (
    tenant TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE INDEX settings_by_name ON settings (name, tenant);

-- Public keys that sign agents in. `active_agent` is the agent of a key of one agent that is not revoked.
CREATE TABLE ssh_keys (
    tenant TEXT NOT NULL, id TEXT NOT NULL, active_agent TEXT,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX ssh_keys_by_agent ON ssh_keys (tenant, active_agent, id) WHERE active_agent IS NOT NULL;

CREATE TABLE ssh_fingerprints (
    tenant TEXT NOT NULL, fingerprint TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, fingerprint)
) WITHOUT ROWID;

-- What tokens are signed with and challenges are made of: one row.
CREATE TABLE token_keys (
    tenant TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- Sessions that share a key and may not all run at once.
CREATE TABLE concurrency_groups (
    tenant TEXT NOT NULL, key TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;

-- Large values, each once under the hash of its bytes. `holds` lists the payloads that a payload refers to, as JSON.
CREATE TABLE payloads (
    tenant TEXT NOT NULL, sha256 TEXT NOT NULL, holds TEXT,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, sha256)
);

-- Which sessions refer to which payloads, also by way of others. A payload goes with the last of them.
CREATE TABLE payload_uses (
    tenant TEXT NOT NULL, session TEXT NOT NULL, payload TEXT NOT NULL,
    PRIMARY KEY (tenant, session, payload)
) WITHOUT ROWID;
CREATE INDEX payload_uses_by_payload ON payload_uses (tenant, payload);

-- Named subjects. `max_age` is in microseconds, and messages before `first_kept` may go.
CREATE TABLE channels (
    tenant TEXT NOT NULL, id TEXT NOT NULL, first_kept INTEGER NOT NULL, max_age INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE channel_names (
    tenant TEXT NOT NULL, name TEXT NOT NULL, channel TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- Their histories. A message is found again by its publisher and his own id for it, and read by its sequence.
CREATE TABLE channel_messages (
    tenant TEXT NOT NULL, channel TEXT NOT NULL, sender TEXT NOT NULL, id TEXT NOT NULL,
    sequence INTEGER NOT NULL, at INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, channel, sender, id)
);
CREATE INDEX channel_messages_by_sequence ON channel_messages (tenant, channel, sequence, at);
-- Requests to agents over their connections.
CREATE TABLE commands (
    tenant TEXT NOT NULL, id TEXT NOT NULL, agent TEXT NOT NULL, ended_at INTEGER,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX commands_by_agent ON commands (tenant, agent, id);
CREATE INDEX commands_open ON commands (tenant, agent) WHERE ended_at IS NULL;
CREATE INDEX commands_ended ON commands (tenant, ended_at) WHERE ended_at IS NOT NULL;

-- What agents tell of themselves with their heartbeats.
CREATE TABLE agent_figures (
    tenant TEXT NOT NULL, agent TEXT NOT NULL, last_seen INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, agent)
);

-- What a tenant took, by day: how many whole days after the first of 1970.
CREATE TABLE usage_days (
    tenant TEXT NOT NULL, day INTEGER NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, day)
) WITHOUT ROWID;

-- What must still happen, of all tenants. What is held is in no index: who holds what until when is known in memory. The indexes
-- name `leased_by`, which is nothing in each of their entries, so that a count or a look at lanes reads them alone.
CREATE TABLE due (
    tenant TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, lane TEXT NOT NULL, due_at INTEGER NOT NULL,
    visible_at INTEGER NOT NULL, leased_by TEXT, ends_at INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX due_ends ON due (ends_at) WHERE ends_at IS NOT NULL AND leased_by IS NULL;
CREATE INDEX due_deliveries ON due (visible_at, tenant, lane, leased_by) WHERE kind = 'deliver' AND leased_by IS NULL;
CREATE INDEX due_calls ON due (visible_at, tenant, lane, leased_by) WHERE kind = 'call' AND leased_by IS NULL;
CREATE INDEX due_timers ON due (visible_at, leased_by) WHERE kind = 'timer' AND leased_by IS NULL;
-- While more is due than can be taken, tenants are served in turn, and so are the lanes of what is sent.
CREATE INDEX due_deliveries_by_lane ON due (tenant, lane, visible_at, leased_by) WHERE kind = 'deliver' AND leased_by IS NULL;
CREATE INDEX due_calls_by_lane ON due (tenant, lane, visible_at, leased_by) WHERE kind = 'call' AND leased_by IS NULL;
CREATE INDEX due_timers_by_tenant ON due (tenant, visible_at, leased_by) WHERE kind = 'timer' AND leased_by IS NULL;

-- The log. Entries have places in their tenant's order, and those that are written together are a row: its id is the tenant's
-- number times 2^40 plus the place of its last entry, so that the log only ever grows at its end. `at` is the moment of its first.
CREATE TABLE tenant_numbers (
    number INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, entries BLOB NOT NULL
);

-- From which place to which a session has entries among those of others: a row for what is written together.
CREATE TABLE event_sessions (
    tenant INTEGER NOT NULL, session TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (tenant, session, first)
) WITHOUT ROWID;

-- Which entries are about an agent, written once for each full block of the log: an index that took every
-- entry at once would touch a page of its own for each.
CREATE TABLE event_agents (
    tenant INTEGER NOT NULL, block INTEGER NOT NULL, agent TEXT NOT NULL, offsets BLOB NOT NULL,
    PRIMARY KEY (tenant, block, agent)
) WITHOUT ROWID;

-- Up to which number records of the redo log are in the tables.
CREATE TABLE redo_position (
    id INTEGER PRIMARY KEY, applied INTEGER NOT NULL
);
INSERT INTO redo_position (id, applied) VALUES (1, 0);
