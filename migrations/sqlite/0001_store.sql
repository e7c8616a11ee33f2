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

-- The one statement that writes events. A batch is one row:
--   base     position of the first event
--   streams  JSON array of new streams: [[stream_id, name], ...]
--   types    JSON array of new types: [[type_id, category, name, schema_version, content_type], ...]
--   owners   JSON array of the stream ids of all events, in order
--   numbers  for each event 19 decimal numbers of 16 digits, 304 bytes: version, type_id, recorded_at, commit_offset, event_id's place in payload,
--            then place and length of data, metadata, tags, command_id, command,
--            then commit_size, plan + 1, module_id, fuel + 1; 0 for what is not there
--   payload  every byte of the events
-- Numbers are cut out of a BLOB, which costs a fraction of reading them as JSON.
CREATE VIEW batch (base, streams, types, owners, numbers, payload) AS
SELECT 0, '', '', '', x'', x'' WHERE 0;

CREATE TRIGGER append_batch INSTEAD OF INSERT ON batch
BEGIN
    INSERT INTO streams (stream_id, name)
    SELECT value ->> 0, value ->> 1 FROM json_each(NEW.streams);

    INSERT INTO event_types (type_id, category, name, schema_version, content_type)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
    FROM json_each(NEW.types);

    INSERT INTO events (
        position, stream_id, version, type_id, recorded_at, commit_offset, event_id, data,
        metadata, tags, command_id, command, commit_size, plan, module_id, fuel
    )
    SELECT
        NEW.base + key,
        value,
        CAST(substr(NEW.numbers, key * 304 + 1, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 304 + 17, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 304 + 33, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 304 + 49, 16) AS INTEGER),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 304 + 65, 16) AS INTEGER), 16),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 304 + 81, 16) AS INTEGER), CAST(substr(NEW.numbers, key * 304 + 97, 16) AS INTEGER)),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 304 + 113, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 304 + 129, 16) AS INTEGER), 0)),
        CAST(substr(NEW.payload, CAST(substr(NEW.numbers, key * 304 + 145, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 304 + 161, 16) AS INTEGER), 0)) AS TEXT),
        CAST(substr(NEW.payload, CAST(substr(NEW.numbers, key * 304 + 177, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 304 + 193, 16) AS INTEGER), 0)) AS TEXT),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 304 + 209, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 304 + 225, 16) AS INTEGER), 0)),
        nullif(CAST(substr(NEW.numbers, key * 304 + 241, 16) AS INTEGER), 0),
        nullif(CAST(substr(NEW.numbers, key * 304 + 257, 16) AS INTEGER), 0) - 1,
        nullif(CAST(substr(NEW.numbers, key * 304 + 273, 16) AS INTEGER), 0),
        nullif(CAST(substr(NEW.numbers, key * 304 + 289, 16) AS INTEGER), 0) - 1
    FROM json_each(NEW.owners);
END;
