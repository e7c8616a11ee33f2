-- Operations that have begun and whose record in the audit is still to come. What a host leaves here
-- when it dies is recorded by the next one. They belong to the store: an export does not hold them.
CREATE TABLE audit_begun (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- When it began, in microseconds since 1970 UTC.
    at INTEGER NOT NULL,
    principal TEXT,
    origin TEXT,
    operation TEXT NOT NULL,
    object TEXT NOT NULL,
    reason TEXT
) STRICT;
