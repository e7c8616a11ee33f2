-- Commands that somebody proposed and somebody else approves or denies. They belong to the store:
-- an export does not hold them.
CREATE TABLE proposals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    category TEXT NOT NULL,
    stream TEXT NOT NULL,
    command_id TEXT NOT NULL,
    -- As that of an event; its principal is who proposed it, its time when.
    command BLOB NOT NULL,
    -- The expected version of the stream; -1: no stream, -2: the stream exists, NULL: any.
    expected INTEGER,
    -- The plan, the module and the version of the stream with which the effect was decided.
    plan INTEGER NOT NULL,
    module BLOB NOT NULL,
    version INTEGER NOT NULL,
    -- The events that were decided, as JSON.
    effect BLOB NOT NULL,
    note TEXT,
    -- Times are microseconds since 1970 UTC.
    expires_at INTEGER NOT NULL,
    -- NULL while nobody has decided, approved or denied.
    decision TEXT,
    decided_at INTEGER,
    decided_by TEXT,
    reason TEXT,
    -- After an approval: the version of the stream after the command, or why it was not executed.
    executed_version INTEGER,
    failed_code TEXT,
    failed_text TEXT
) STRICT;

CREATE INDEX proposal_category ON proposals (category, number);
CREATE INDEX proposal_command ON proposals (stream, command_id);
