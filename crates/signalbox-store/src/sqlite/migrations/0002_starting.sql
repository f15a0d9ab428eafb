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
