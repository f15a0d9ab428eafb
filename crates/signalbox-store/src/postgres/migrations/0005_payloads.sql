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
