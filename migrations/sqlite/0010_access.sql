-- Tokens of callers. They belong to the store: an export does not hold them.
CREATE TABLE tokens (
    -- The public part, which finds the token.
    id TEXT NOT NULL CONSTRAINT token PRIMARY KEY,
    -- Whom it was made for.
    name TEXT NOT NULL,
    -- SHA-256 of the secret.
    hash BLOB NOT NULL,
    -- What it allows, as JSON.
    granted TEXT NOT NULL,
    -- Times are microseconds since 1970 UTC.
    created_at INTEGER NOT NULL,
    created_by TEXT,
    expires_at INTEGER,
    revoked_at INTEGER,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

-- What was done to the store and who did it. Records are only ever added. They belong to the
-- store: an export does not hold them.
CREATE TABLE audit (
    -- Without gaps.
    number INTEGER NOT NULL CONSTRAINT audit_record PRIMARY KEY,
    -- Microseconds since 1970 UTC.
    at INTEGER NOT NULL,
    -- NULL for a caller without a name.
    principal TEXT,
    -- The caller's address.
    origin TEXT,
    -- The id of the operation in the description of the interface.
    operation TEXT NOT NULL,
    -- The path of the request.
    object TEXT NOT NULL,
    -- done, or the code of a problem.
    result TEXT NOT NULL,
    reason TEXT,
    -- SHA-256 over the digest of the record before it and this record.
    digest BLOB NOT NULL
) STRICT;
