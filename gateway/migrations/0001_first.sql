CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE orgs (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id         TEXT PRIMARY KEY,
    org        TEXT NOT NULL REFERENCES orgs (id),
    name       TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX users_by_org ON users (org);

-- The key itself is nowhere: hash is SHA-256 of the pepper (settings) and the key.
CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    org        TEXT NOT NULL REFERENCES orgs (id),
    user       TEXT NOT NULL REFERENCES users (id),
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    created_us INTEGER NOT NULL,
    expires_us INTEGER,
    revoked_us INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE sandboxes (
    id         TEXT PRIMARY KEY,
    org        TEXT NOT NULL REFERENCES orgs (id),
    created_by TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    name       TEXT NOT NULL,
    image      TEXT NOT NULL,
    settings   TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('creating', 'running', 'killed', 'error', 'deleting')),
    launch     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sandboxes_by_org ON sandboxes (org, created_us);
