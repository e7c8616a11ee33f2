-- Commands that somebody proposed and somebody else approves or denies. They belong to the store:
-- an export does not hold them.
CREATE TABLE proposals (
    number bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT proposal PRIMARY KEY,
    category text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    command_id text COLLATE "C" NOT NULL,
    -- As that of an event; its principal is who proposed it, its time when.
    command bytea NOT NULL,
    -- The expected version of the stream; -1: no stream, -2: the stream exists, NULL: any.
    expected bigint,
    -- The plan, the module and the version of the stream with which the effect was decided.
    plan bigint NOT NULL,
    module bytea NOT NULL,
    version bigint NOT NULL,
    -- The events that were decided, as JSON.
    effect bytea NOT NULL,
    note text,
    -- Times are microseconds since 1970 UTC.
    expires_at bigint NOT NULL,
    -- NULL while nobody has decided, approved or denied.
    decision text,
    decided_at bigint,
    decided_by text,
    reason text,
    -- After an approval: the version of the stream after the command, or why it was not executed.
    executed_version bigint,
    failed_code text,
    failed_text text
);

CREATE INDEX proposal_category ON proposals (category, number);
CREATE INDEX proposal_command ON proposals (stream, command_id);
