-- Tokens of callers. They belong to the store: an export does not hold them.
CREATE TABLE tokens (
    -- The public part, which finds the token.
    id text COLLATE "C" CONSTRAINT token PRIMARY KEY,
    -- Whom it was made for.
    name text COLLATE "C" NOT NULL,
    -- SHA-256 of the secret.
    hash bytea NOT NULL,
    -- What it allows, as JSON.
    granted text NOT NULL,
    -- Times are microseconds since 1970 UTC.
    created_at bigint NOT NULL,
    created_by text,
    expires_at bigint,
    revoked_at bigint,
    used_at bigint
);

-- What was done to the store and who did it. Records are only ever added. They belong to the
-- store: an export does not hold them.
CREATE TABLE audit (
    -- Without gaps.
    number bigint CONSTRAINT audit_record PRIMARY KEY,
    -- Microseconds since 1970 UTC.
    at bigint NOT NULL,
    -- NULL for a caller without a name.
    principal text,
    -- The caller's address.
    origin text,
    -- The id of the operation in the description of the interface.
    operation text NOT NULL,
    -- The path of the request.
    object text NOT NULL,
    -- done, or the code of a problem.
    result text NOT NULL,
    reason text,
    -- SHA-256 over the digest of the record before it and this record.
    digest bytea NOT NULL
);
