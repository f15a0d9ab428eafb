-- Rows: tenant, key, what listings filter and order by, version, and the whole row as JSON.
-- Keys are compared byte by byte (COLLATE "C"), so that lists have the same order everywhere.
-- What is written often leaves room in its pages, so that a new version finds place beside the old one.

-- One row for each tenant that was ever written for. A commit holds its tenant's row from its start to its end: that
-- makes the commits of a tenant serial over all nodes. The row is written only when another process becomes the one
-- that may rely on what it remembers of the tenant (`writer`; nobody where it is null), and when the tenant is removed:
-- a row that every commit wrote would leave a dead version for each while a long snapshot, such as a backup, is open.
-- `last` is how many entries the log had that are gone with the tenant.
CREATE TABLE tenant_locks (
    tenant TEXT COLLATE "C" PRIMARY KEY, last BIGINT NOT NULL, writer BIGINT, is_removed BOOLEAN NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE agents (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX agents_by_name ON agents (tenant, name);

CREATE TABLE agent_names (
    tenant TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);

-- What agents offer, repeated from their bodies.
CREATE TABLE agent_capabilities (
    tenant TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL, capability TEXT COLLATE "C" NOT NULL
);
CREATE INDEX agent_capabilities_by_capability ON agent_capabilities (tenant, capability, agent);

CREATE TABLE agent_statuses (
    tenant TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL, state TEXT COLLATE "C",
    node TEXT COLLATE "C",
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 50);
-- Who is connected to a node: what it held is swept up when it is gone.
CREATE INDEX agent_statuses_by_node ON agent_statuses (node, tenant, agent) WHERE node IS NOT NULL;
CREATE INDEX agent_statuses_connected ON agent_statuses (tenant, agent) WHERE node IS NOT NULL;

CREATE TABLE available (
    tenant TEXT COLLATE "C" NOT NULL, route TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL,
    last_used BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX available_by_use ON available (tenant, route, last_used, agent);

CREATE TABLE sessions (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, workflow TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL, ended_at BIGINT, revision BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX sessions_by_age ON sessions (tenant, created_at, id);
-- A list of some statuses of a workflow's sessions reads a range of each.
CREATE INDEX sessions_by_workflow ON sessions (tenant, workflow, status, created_at, id);
CREATE INDEX sessions_by_status ON sessions (tenant, status, created_at, id);
-- Tenants keep what is over as long as they say: what may go is looked for tenant by tenant.
CREATE INDEX sessions_by_end ON sessions (tenant, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_open ON sessions (tenant, workflow, revision) WHERE ended_at IS NULL;

-- Which agents hold or held a task of a session, written with each dispatch.
CREATE TABLE session_agents (
    tenant TEXT COLLATE "C" NOT NULL, session TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX session_agents_by_agent ON session_agents (tenant, agent, created_at, session);

CREATE TABLE tasks (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, session TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL, priority BIGINT NOT NULL,
    wait_route TEXT COLLATE "C", queued_at BIGINT,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX tasks_by_session ON tasks (tenant, session, position);
-- Waiting tasks are served by priority, then by how long they wait.
CREATE INDEX tasks_waiting ON tasks (tenant, wait_route, priority DESC, queued_at, id)
    WHERE wait_route IS NOT NULL;

CREATE TABLE definitions (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, revision BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);

CREATE TABLE workflows (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, revision BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);

CREATE TABLE messages (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C",
    kind TEXT COLLATE "C" NOT NULL, status TEXT COLLATE "C" NOT NULL,
    settled_at BIGINT,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX messages_dead ON messages (tenant, settled_at, id) WHERE status = 'dead';
CREATE INDEX messages_settled ON messages (tenant, settled_at) WHERE status IN ('delivered', 'cancelled');

CREATE TABLE tools (
    tenant TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);

CREATE TABLE api_keys (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, hash TEXT COLLATE "C" NOT NULL,
    previous_hash TEXT COLLATE "C",
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);
-- The secret before, while it is good too.
CREATE INDEX api_keys_by_previous ON api_keys (previous_hash) WHERE previous_hash IS NOT NULL;

CREATE TABLE tenants (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX tenants_by_id ON tenants (id);

CREATE TABLE answered (
    tenant TEXT COLLATE "C" NOT NULL, key TEXT COLLATE "C" NOT NULL, expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX answered_by_expiry ON answered (expires_at);

CREATE TABLE signatures (
    tenant TEXT COLLATE "C" NOT NULL, signature TEXT COLLATE "C" NOT NULL, expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX signatures_by_expiry ON signatures (expires_at);

-- What starts sessions besides calls. A schedule is written at every fire time.
CREATE TABLE schedules (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 50);

CREATE TABLE hooks (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- What a tenant has set, by name.
CREATE TABLE settings (
    tenant TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE INDEX settings_by_name ON settings (name, tenant);

-- Sessions that share a key and may not all run at once.
CREATE TABLE concurrency_groups (
    tenant TEXT COLLATE "C" NOT NULL, key TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
);

-- Large values, each once under the hash of its bytes. `holds` lists the payloads that a payload refers to, as JSON.
CREATE TABLE payloads (
    tenant TEXT COLLATE "C" NOT NULL, sha256 TEXT COLLATE "C" NOT NULL, holds TEXT,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, sha256)
);

-- Which sessions refer to which payloads, also by way of others. A payload goes with the last of them.
CREATE TABLE payload_uses (
    tenant TEXT COLLATE "C" NOT NULL, session TEXT COLLATE "C" NOT NULL, payload TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, session, payload)
);
CREATE INDEX payload_uses_by_payload ON payload_uses (tenant, payload);

-- Named subjects. `max_age` is in microseconds, and messages before `first_kept` may go. A channel's row is written
-- with each batch of what is published to it.
CREATE TABLE channels (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
    first_kept BIGINT NOT NULL, max_age BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 50);

CREATE TABLE channel_names (
    tenant TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, channel TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- Public keys that sign agents in. `active_agent` is the agent of a key of one agent that is not revoked.
CREATE TABLE ssh_keys (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, active_agent TEXT COLLATE "C",
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX ssh_keys_by_agent ON ssh_keys (tenant, active_agent, id) WHERE active_agent IS NOT NULL;

CREATE TABLE ssh_fingerprints (
    tenant TEXT COLLATE "C" NOT NULL, fingerprint TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, fingerprint)
);

-- What tokens are signed with and challenges are made of: one row.
CREATE TABLE token_keys (
    tenant TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- Their histories. A message is found again by its publisher and his own id for it, and read by its sequence.
CREATE TABLE channel_messages (
    tenant TEXT COLLATE "C" NOT NULL, channel TEXT COLLATE "C" NOT NULL, sender TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL, sequence BIGINT NOT NULL, at BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX channel_messages_by_sequence ON channel_messages (tenant, channel, sequence, at);

-- Requests to agents over their connections.
CREATE TABLE commands (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL, ended_at BIGINT,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX commands_by_agent ON commands (tenant, agent, id);
CREATE INDEX commands_open ON commands (tenant, agent) WHERE ended_at IS NULL;
CREATE INDEX commands_ended ON commands (tenant, ended_at) WHERE ended_at IS NOT NULL;

-- What agents tell of themselves with their heartbeats.
CREATE TABLE agent_figures (
    tenant TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL, last_seen BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 50);

-- What a tenant took, by day: how many whole days after the first of 1970.
CREATE TABLE usage_days (
    tenant TEXT COLLATE "C" NOT NULL, day BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, day)
) WITH (fillfactor = 50);

-- What must still happen, of all tenants.
CREATE TABLE due (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, kind TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL, due_at BIGINT NOT NULL,
    visible_at BIGINT NOT NULL, leased_by TEXT COLLATE "C", ends_at BIGINT, body TEXT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX due_ends ON due (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX due_deliveries ON due (visible_at, tenant, lane) WHERE kind = 'deliver';
CREATE INDEX due_calls ON due (visible_at, tenant, lane) WHERE kind = 'call';
CREATE INDEX due_timers ON due (visible_at) WHERE kind = 'timer';
-- While more is due than can be taken, tenants are served in turn, and so are the lanes of what is sent.
CREATE INDEX due_deliveries_by_lane ON due (tenant, lane, visible_at) WHERE kind = 'deliver';
CREATE INDEX due_calls_by_lane ON due (tenant, lane, visible_at) WHERE kind = 'call';
CREATE INDEX due_timers_by_tenant ON due (tenant, visible_at) WHERE kind = 'timer';

-- The log: per tenant in strict sequence. The body keeps the letters of every language: its collation is the
-- database's own.
CREATE TABLE events (
    tenant TEXT COLLATE "C" NOT NULL, sequence BIGINT NOT NULL, at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    level BIGINT NOT NULL, session TEXT COLLATE "C", session_sequence BIGINT, agent TEXT COLLATE "C",
    task TEXT COLLATE "C",
    data TEXT NOT NULL
);
CREATE INDEX events_by_agent ON events (tenant, agent, sequence) WHERE agent IS NOT NULL;
CREATE INDEX events_by_session ON events (tenant, session, sequence) WHERE session IS NOT NULL;

-- The nodes over this database, and when each last said that it is there.
CREATE TABLE nodes (
    id TEXT COLLATE "C" NOT NULL, seen_at BIGINT NOT NULL
);

-- The keys come last: where two indexes look equally good, as they do while a table is empty, PostgreSQL takes
-- the newest, and a plan made then may live for a while.
ALTER TABLE agents ADD PRIMARY KEY (tenant, id);
ALTER TABLE agent_names ADD PRIMARY KEY (tenant, name);
ALTER TABLE agent_capabilities ADD PRIMARY KEY (tenant, agent, capability);
ALTER TABLE agent_statuses ADD PRIMARY KEY (tenant, agent);
ALTER TABLE available ADD PRIMARY KEY (tenant, route, agent);
ALTER TABLE session_agents ADD PRIMARY KEY (tenant, session, agent);
ALTER TABLE sessions ADD PRIMARY KEY (tenant, id);
ALTER TABLE tasks ADD PRIMARY KEY (tenant, id);
ALTER TABLE definitions ADD PRIMARY KEY (tenant, id, revision);
ALTER TABLE workflows ADD PRIMARY KEY (tenant, id);
ALTER TABLE messages ADD PRIMARY KEY (tenant, id);
ALTER TABLE tools ADD PRIMARY KEY (tenant, name);
ALTER TABLE api_keys ADD PRIMARY KEY (tenant, id);
ALTER TABLE tenants ADD PRIMARY KEY (tenant, id);
ALTER TABLE answered ADD PRIMARY KEY (tenant, key);
ALTER TABLE signatures ADD PRIMARY KEY (tenant, signature);
ALTER TABLE commands ADD PRIMARY KEY (tenant, id);
ALTER TABLE agent_figures ADD PRIMARY KEY (tenant, agent);
ALTER TABLE due ADD PRIMARY KEY (tenant, id);
ALTER TABLE events ADD PRIMARY KEY (tenant, sequence);
ALTER TABLE channel_messages ADD PRIMARY KEY (tenant, channel, sender, id);
ALTER TABLE nodes ADD PRIMARY KEY (id);
