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
