-- More states, and sandboxes that were made ahead: those have no organisation yet. SQLite changes no CHECK in place.
CREATE TABLE sandboxes_2 (
    id         TEXT PRIMARY KEY,
    org        TEXT REFERENCES orgs (id),
    created_by TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    name       TEXT NOT NULL,
    image      TEXT NOT NULL,
    settings   TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN (
                   'creating', 'promised', 'running', 'sleeping', 'asleep', 'killed', 'error', 'deleting', 'pooled')),
    launch     INTEGER NOT NULL,
    CHECK (org IS NOT NULL OR status = 'pooled')
) STRICT, WITHOUT ROWID;
INSERT INTO sandboxes_2 SELECT id, org, created_by, created_us, name, image, settings, status, launch FROM sandboxes;
DROP TABLE sandboxes;
ALTER TABLE sandboxes_2 RENAME TO sandboxes;
CREATE INDEX sandboxes_by_org ON sandboxes (org, created_us);

-- Which sandbox a create with this Idempotency-Key made; the row outlives the sandbox. key is a hash of the client's.
CREATE TABLE create_keys (
    org        TEXT NOT NULL REFERENCES orgs (id),
    key        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    sandbox    TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    PRIMARY KEY (org, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX create_keys_by_sandbox ON create_keys (sandbox);
CREATE INDEX create_keys_by_age ON create_keys (created_us);

-- Rows that could not be understood, as they were: for an operator to look at, never for us to guess.
CREATE TABLE quarantine (
    source   TEXT NOT NULL,
    id       TEXT NOT NULL,
    content  TEXT NOT NULL,
    found_us INTEGER NOT NULL
) STRICT;
