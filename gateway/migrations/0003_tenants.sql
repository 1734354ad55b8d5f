ALTER TABLE users ADD COLUMN email TEXT;

-- JSON; NULL is what the gateway's constants say.
ALTER TABLE orgs ADD COLUMN quota TEXT;

ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '*';
ALTER TABLE api_keys ADD COLUMN active INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1));
ALTER TABLE api_keys ADD COLUMN updated_us INTEGER;
ALTER TABLE api_keys ADD COLUMN used_us INTEGER;
-- The first key is the operator's.
UPDATE api_keys SET scopes = '* admin'
 WHERE id = (SELECT id FROM api_keys ORDER BY created_us LIMIT 1);
CREATE INDEX api_keys_by_org ON api_keys (org);

-- Answers of requests with an Idempotency-Key. scope is a hash of organisation, route, object and key; body is NULL
-- where the answer was too long or holds a secret.
CREATE TABLE answers (
    scope      TEXT PRIMARY KEY,
    org        TEXT NOT NULL REFERENCES orgs (id),
    digest     BLOB NOT NULL CHECK (length(digest) = 32),
    status     INTEGER NOT NULL,
    body       BLOB,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_org ON answers (org, created_us);
CREATE INDEX answers_by_age ON answers (created_us);

-- The first organisation has the whole host.
UPDATE orgs SET quota = '{}' WHERE id = (SELECT id FROM orgs ORDER BY created_us LIMIT 1);
