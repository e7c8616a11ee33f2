-- Event ids of callers, named readers of the log, lists of archived streams.

-- How far named readers of the log have come. `token` rises with each claim.
CREATE TABLE checkpoints (
    name TEXT NOT NULL CONSTRAINT checkpoint_name PRIMARY KEY,
    position INTEGER NOT NULL,
    token INTEGER NOT NULL,
    -- Milliseconds since 1970 UTC; NULL when nobody holds the name.
    held_until INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX archived_stream ON streams (name) WHERE archived_at IS NOT NULL;

-- In `meta`, `holes` (8 bytes, big-endian) is the position up to which an import
-- left holes in the log; without it the log is gapless.

DROP VIEW batch;

-- The one statement that writes events. A batch is one row:
--   base     position of the first event; the others follow it without a hole
--   streams  JSON array of new streams: [[stream_id, name], ...]
--   types    JSON array of new types: [[type_id, category, name, schema_version, content_type], ...]
--   owners   JSON array of the stream ids of all events, in order
--   numbers  for each event 20 decimal numbers of 16 digits, 320 bytes: version, type_id, recorded_at, commit_offset, event_id's place in payload,
--            event_id_given, then place and length of data, metadata, tags, command_id, command,
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
        position, stream_id, version, type_id, recorded_at, commit_offset, event_id, event_id_given,
        data, metadata, tags, command_id, command, commit_size, plan, module_id, fuel
    )
    SELECT
        NEW.base + key,
        value,
        CAST(substr(NEW.numbers, key * 320 + 1, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 320 + 17, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 320 + 33, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 320 + 49, 16) AS INTEGER),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 320 + 65, 16) AS INTEGER), 16),
        nullif(CAST(substr(NEW.numbers, key * 320 + 81, 16) AS INTEGER), 0),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 320 + 97, 16) AS INTEGER), CAST(substr(NEW.numbers, key * 320 + 113, 16) AS INTEGER)),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 320 + 129, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 320 + 145, 16) AS INTEGER), 0)),
        CAST(substr(NEW.payload, CAST(substr(NEW.numbers, key * 320 + 161, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 320 + 177, 16) AS INTEGER), 0)) AS TEXT),
        CAST(substr(NEW.payload, CAST(substr(NEW.numbers, key * 320 + 193, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 320 + 209, 16) AS INTEGER), 0)) AS TEXT),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 320 + 225, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 320 + 241, 16) AS INTEGER), 0)),
        nullif(CAST(substr(NEW.numbers, key * 320 + 257, 16) AS INTEGER), 0),
        nullif(CAST(substr(NEW.numbers, key * 320 + 273, 16) AS INTEGER), 0) - 1,
        nullif(CAST(substr(NEW.numbers, key * 320 + 289, 16) AS INTEGER), 0),
        nullif(CAST(substr(NEW.numbers, key * 320 + 305, 16) AS INTEGER), 0) - 1
    FROM json_each(NEW.owners);
END;
