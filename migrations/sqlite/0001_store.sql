-- The event store: one log of events, grouped into streams.

-- Facts about the store itself: `secret` (32 bytes, from which seeds are derived).
CREATE TABLE meta (
    name TEXT NOT NULL CONSTRAINT meta_name PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A stream has a row from its first event on. Its version is not kept here: it
-- is the greatest one in `event_version`, so that an append dirties no row.
CREATE TABLE streams (
    stream_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL CONSTRAINT stream_name UNIQUE,
    archived_at INTEGER
) STRICT;

-- What an event's data are: its type within the category, in which form.
CREATE TABLE event_types (
    type_id INTEGER PRIMARY KEY,
    category TEXT NOT NULL,
    name TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    CONSTRAINT event_type UNIQUE (category, name, schema_version, content_type)
) STRICT;

-- Components, known by the SHA-256 digest of their bytes.
CREATE TABLE modules (
    module_id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL CONSTRAINT module_digest UNIQUE,
    bytes BLOB NOT NULL,
    uploaded_at INTEGER NOT NULL
) STRICT;

-- The history of the plan: each activation raises it by one.
CREATE TABLE deployments (
    plan INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    module_id INTEGER NOT NULL REFERENCES modules (module_id),
    activated_at INTEGER NOT NULL,
    activated_by TEXT
) STRICT;

-- The log. `position` is the rowid and gapless. The columns from `command_id` on
-- belong to the commit, and stand on its first event alone: that is the row with
-- version = version - commit_offset of the same stream.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams (stream_id),
    version INTEGER NOT NULL,
    type_id INTEGER NOT NULL REFERENCES event_types (type_id),
    event_id BLOB NOT NULL,
    -- 1 when the caller chose `event_id`.
    event_id_given INTEGER,
    -- Microseconds since 1970 UTC.
    recorded_at INTEGER NOT NULL,
    -- Place in the commit, from 0.
    commit_offset INTEGER NOT NULL,
    data BLOB NOT NULL,
    -- The event's own: as given for an appended one, annotations for a decided one.
    metadata BLOB,
    -- A JSON array of texts.
    tags TEXT,
    -- The caller's idempotency key; ids that the host made stand in `command` alone.
    command_id TEXT,
    -- Number of events in the commit.
    commit_size INTEGER,
    plan INTEGER,
    -- The module that decided; none for a raw append.
    module_id INTEGER REFERENCES modules (module_id),
    fuel INTEGER,
    -- The command as it was decided: host/src/store/record.rs has its encoding.
    command BLOB
) STRICT;

CREATE UNIQUE INDEX event_version ON events (stream_id, version);
CREATE UNIQUE INDEX command_id ON events (stream_id, command_id) WHERE command_id IS NOT NULL;
CREATE UNIQUE INDEX event_id ON events (stream_id, event_id) WHERE event_id_given = 1;

-- The one statement that writes events. A batch is one row: `streams` and `types`
-- are JSON arrays of new rows, `events` one of arrays whose last numbers are places
-- in `payload`, which holds all bytes; `base` is the position of the first event.
CREATE VIEW batch (base, streams, types, events, payload) AS
SELECT 0, '', '', '', x'' WHERE 0;

CREATE TRIGGER append_batch INSTEAD OF INSERT ON batch
BEGIN
    INSERT INTO streams (stream_id, name)
    SELECT value ->> 0, value ->> 1 FROM json_each(NEW.streams);

    INSERT INTO event_types (type_id, category, name, schema_version, content_type)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
    FROM json_each(NEW.types);

    INSERT INTO events (
        position, stream_id, version, type_id, recorded_at, commit_offset,
        event_id, data, metadata, command, event_id_given, commit_size, plan, module_id,
        fuel, command_id, tags
    )
    SELECT
        NEW.base + key,
        value ->> 0,
        value ->> 1,
        value ->> 2,
        value ->> 3,
        value ->> 4,
        substr(NEW.payload, value ->> 5, 16),
        substr(NEW.payload, (value ->> 5) + 16, value ->> 6),
        CASE WHEN value ->> 7 IS NOT NULL
            THEN substr(NEW.payload, (value ->> 5) + 16 + (value ->> 6), value ->> 7) END,
        CASE WHEN value ->> 8 IS NOT NULL
            THEN substr(NEW.payload, (value ->> 5) + 16 + (value ->> 6) + ifnull(value ->> 7, 0), value ->> 8) END,
        value ->> 9,
        value ->> 10,
        value ->> 11,
        value ->> 12,
        value ->> 13,
        value ->> 14,
        value ->> 15
    FROM json_each(NEW.events);
END;
