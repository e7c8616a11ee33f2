-- Proof: what preflights said, who signed modules, and the last rejections.

-- What the preflight before an activation said, as JSON; NULL without one.
ALTER TABLE deployments ADD COLUMN preflight TEXT;

-- Detached ed25519 signatures of the bytes of components.
CREATE TABLE module_signatures (
    module_id INTEGER NOT NULL REFERENCES modules (module_id),
    -- The public key, 32 bytes.
    key BLOB NOT NULL,
    -- 64 bytes.
    signature BLOB NOT NULL,
    CONSTRAINT module_signature PRIMARY KEY (module_id, key)
) STRICT, WITHOUT ROWID;

-- Commands that the domain said no to: the last ones of each category.
CREATE TABLE rejections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    category TEXT NOT NULL,
    stream TEXT NOT NULL,
    -- The version of the stream on whose state it was decided.
    version INTEGER NOT NULL,
    plan INTEGER NOT NULL,
    -- Digest of the module that decided.
    module BLOB NOT NULL,
    -- When the command was accepted, in microseconds since 1970 UTC.
    accepted_at INTEGER NOT NULL,
    -- As that of an event.
    command BLOB NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;

CREATE INDEX rejection_category ON rejections (category, id);
