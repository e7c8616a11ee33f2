-- Snapshots, truncated streams, what an activation changes, counts of event types.

-- Events before this version have left the stream's reads; NULL when none have.
ALTER TABLE streams ADD COLUMN truncated_before INTEGER;

CREATE INDEX truncated_stream ON streams (name) WHERE truncated_before IS NOT NULL;

-- A JSON array of the categories whose decider or upcasters an activation changed.
-- NULL for one that was made before this was kept: `name` alone.
ALTER TABLE deployments ADD COLUMN categories TEXT;

-- A JSON array of the folds, in hexadecimal digits, whose snapshots may be opened; NULL
-- for none.
ALTER TABLE deployments ADD COLUMN trusted TEXT;

-- States of streams: at most one that policy replaces, and an anchor if the stream is
-- truncated. Nothing here is believed before its checksum has been looked at.
CREATE TABLE snapshots (
    stream_id INTEGER NOT NULL REFERENCES streams (stream_id),
    -- 1 for the anchor.
    anchor INTEGER NOT NULL,
    -- That of the stream's name.
    category TEXT NOT NULL,
    version INTEGER NOT NULL,
    state_schema_version INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    -- The digest of what folded it.
    fold BLOB NOT NULL,
    -- Microseconds since 1970 UTC.
    taken_at INTEGER NOT NULL,
    -- BLAKE3: host/src/store/snapshot.rs says of what.
    checksum BLOB NOT NULL,
    data BLOB NOT NULL,
    CONSTRAINT snapshot PRIMARY KEY (stream_id, anchor),
    CONSTRAINT snapshot_anchor CHECK (anchor IN (0, 1))
) STRICT;

CREATE INDEX newest_snapshot ON snapshots (category, taken_at);

-- How many events there are of each type, as far as they are counted.
CREATE TABLE type_counts (
    type_id INTEGER PRIMARY KEY REFERENCES event_types (type_id),
    events INTEGER NOT NULL,
    -- Where the first and the last of them stand, and when they were recorded.
    first_position INTEGER NOT NULL,
    first_recorded_at INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    last_recorded_at INTEGER NOT NULL
) STRICT;

-- One row: the position up to which events are counted.
CREATE TABLE types_counted (
    only INTEGER PRIMARY KEY CONSTRAINT types_counted_once CHECK (only = 1),
    position INTEGER NOT NULL
) STRICT;

INSERT INTO types_counted (only, position) VALUES (1, 0);
