-- Sessions that share a key and may not all run at once.
CREATE TABLE concurrency_groups (
    tenant TEXT COLLATE "C" NOT NULL, key TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (tenant, key)
);
