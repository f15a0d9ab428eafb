-- Sessions that share a key and may not all run at once.
CREATE TABLE concurrency_groups (
    tenant TEXT NOT NULL, key TEXT NOT NULL,
    version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
