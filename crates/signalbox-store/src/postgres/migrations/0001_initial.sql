-- Rows: tenant, key, what listings filter and order by, version, and the whole row as JSON.
-- Keys are compared byte by byte (COLLATE "C"), so that lists have the same order everywhere.
-- What is written often leaves room in its pages, so that a new version finds place beside the old one.

-- How many entries each tenant's log has had, and how many commits. A commit holds its tenant's row from its
-- start to its end: that makes the commits of a tenant serial over all nodes.
CREATE TABLE tenant_sequences (
    tenant TEXT COLLATE "C" PRIMARY KEY,
    last BIGINT NOT NULL,
    commits BIGINT NOT NULL
) WITH (fillfactor = 20);

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
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE available (
    tenant TEXT COLLATE "C" NOT NULL, route TEXT COLLATE "C" NOT NULL, agent TEXT COLLATE "C" NOT NULL,
    last_used BIGINT NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX available_by_use ON available (tenant, route, last_used, agent);

CREATE TABLE sessions (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, workflow TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL, ended_at BIGINT,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX sessions_by_age ON sessions (tenant, created_at, id);
CREATE INDEX sessions_by_workflow ON sessions (tenant, workflow, created_at, id);
CREATE INDEX sessions_by_status ON sessions (tenant, status, created_at, id);
CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_open ON sessions (tenant, workflow) WHERE ended_at IS NULL;

CREATE TABLE tasks (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, session TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    wait_route TEXT COLLATE "C", queued_at BIGINT,
    version BIGINT NOT NULL, body TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX tasks_by_session ON tasks (tenant, session, position);
CREATE INDEX tasks_waiting ON tasks (tenant, wait_route, queued_at, id) WHERE wait_route IS NOT NULL;

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
CREATE INDEX messages_settled ON messages (settled_at) WHERE status IN ('delivered', 'cancelled');

CREATE TABLE tools (
    tenant TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);

CREATE TABLE api_keys (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, hash TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL
);
CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);

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

-- What must still happen, of all tenants.
CREATE TABLE due (
    tenant TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL, kind TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL, due_at BIGINT NOT NULL,
    visible_at BIGINT NOT NULL, leased_by TEXT COLLATE "C", body TEXT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX due_deliveries ON due (visible_at, tenant, lane) WHERE kind = 'deliver';
CREATE INDEX due_calls ON due (visible_at, tenant, lane) WHERE kind = 'call';
CREATE INDEX due_timers ON due (visible_at) WHERE kind = 'timer';

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

-- The keys come last: where two indexes look equally good, as they do while a table is empty, PostgreSQL takes
-- the newest, and a plan made then may live for a while.
ALTER TABLE agents ADD PRIMARY KEY (tenant, id);
ALTER TABLE agent_names ADD PRIMARY KEY (tenant, name);
ALTER TABLE agent_capabilities ADD PRIMARY KEY (tenant, agent, capability);
ALTER TABLE agent_statuses ADD PRIMARY KEY (tenant, agent);
ALTER TABLE available ADD PRIMARY KEY (tenant, route, agent);
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
ALTER TABLE due ADD PRIMARY KEY (tenant, id);
ALTER TABLE events ADD PRIMARY KEY (tenant, sequence);
