-- What people look for among many sessions, and whose turn it is.

-- One index for each status of a workflow's sessions: a list of some statuses reads a range of each.
DROP INDEX sessions_by_workflow;
CREATE INDEX sessions_by_workflow ON sessions (tenant, workflow, status, created_at, id);

ALTER TABLE sessions ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
UPDATE sessions SET revision = json_extract(body, '$.revision');
DROP INDEX sessions_open;
CREATE INDEX sessions_open ON sessions (tenant, workflow, revision) WHERE ended_at IS NULL;

-- Which agents hold or held a task of a session, written with each dispatch.
CREATE TABLE session_agents (
    tenant TEXT NOT NULL, session TEXT NOT NULL, agent TEXT NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, session, agent)
) WITHOUT ROWID;
INSERT OR IGNORE INTO session_agents (tenant, session, agent, created_at)
    SELECT t.tenant, t.session, json_extract(t.body, '$.agent'), s.created_at
    FROM tasks t JOIN sessions s ON s.tenant = t.tenant AND s.id = t.session
    WHERE json_extract(t.body, '$.agent') IS NOT NULL;
CREATE INDEX session_agents_by_agent ON session_agents (tenant, agent, created_at, session);

-- Waiting tasks are served by priority, then by how long they wait.
ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (tenant, wait_route, priority DESC, queued_at, id)
    WHERE wait_route IS NOT NULL;

-- What must still happen, tenant by tenant: while more is due than can be taken, tenants take turns, and so do the
-- lanes of what is sent.
CREATE INDEX due_deliveries_by_lane ON due (tenant, lane, visible_at) WHERE kind = 'deliver';
CREATE INDEX due_calls_by_lane ON due (tenant, lane, visible_at) WHERE kind = 'call';
CREATE INDEX due_timers_by_tenant ON due (tenant, visible_at) WHERE kind = 'timer';

-- Tenants keep what is over as long as they say: what may go is looked for tenant by tenant.
DROP INDEX sessions_by_end;
CREATE INDEX sessions_by_end ON sessions (tenant, ended_at) WHERE ended_at IS NOT NULL;
DROP INDEX messages_settled;
CREATE INDEX messages_settled ON messages (tenant, settled_at) WHERE status IN ('delivered', 'cancelled');

-- What a tenant has set, by name.
CREATE TABLE settings (
    tenant TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
CREATE INDEX settings_by_name ON settings (name, tenant);
