-- Digests of commits: host/store/src/commit_digest.rs says of what.

-- BLAKE3, on the first event of a commit; NULL of a commit without a digest.
ALTER TABLE events ADD COLUMN commit_digest BLOB;

-- In `meta`, `unproved` (8 bytes, big-endian) is the position up to which commits may have no
-- digest, and `proved` the position up to which digests were added later. Absent: 0.
INSERT INTO meta (name, value)
SELECT 'unproved', unhex(printf('%016X', position))
FROM (SELECT max(position) AS position FROM events) WHERE position IS NOT NULL;

DROP VIEW batch;

-- The one statement that writes events. A batch is one row:
--   base     position of the first event; the others follow it without a hole
--   streams  JSON array of new streams: [[stream_id, name], ...]
--   types    JSON array of new types: [[type_id, category, name, schema_version, content_type], ...]
--   owners   JSON array of the stream ids of all events, in order
--   numbers  for each event 21 decimal numbers of 16 digits, 336 bytes: version, type_id, recorded_at, commit_offset, event_id's place in payload,
--            event_id_given, then place and length of data, metadata, tags, command_id, command,
--            then commit_size, plan + 1, module_id, fuel + 1, the place of commit_digest; 0 for what is not there
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
        data, metadata, tags, command_id, command, commit_size, plan, module_id, fuel,
        commit_digest
    )
    SELECT
        NEW.base + key,
        value,
        CAST(substr(NEW.numbers, key * 336 + 1, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 336 + 17, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 336 + 33, 16) AS INTEGER),
        CAST(substr(NEW.numbers, key * 336 + 49, 16) AS INTEGER),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 336 + 65, 16) AS INTEGER), 16),
        nullif(CAST(substr(NEW.numbers, key * 336 + 81, 16) AS INTEGER), 0),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 336 + 97, 16) AS INTEGER), CAST(substr(NEW.numbers, key * 336 + 113, 16) AS INTEGER)),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 336 + 129, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 336 + 145, 16) AS INTEGER), 0)),
        CAST(substr(NEW.payload, CAST(substr(NEW.numbers, key * 336 + 161, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 336 + 177, 16) AS INTEGER), 0)) AS TEXT),
        CAST(substr(NEW.payload, CAST(substr(NEW.numbers, key * 336 + 193, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 336 + 209, 16) AS INTEGER), 0)) AS TEXT),
        substr(NEW.payload, CAST(substr(NEW.numbers, key * 336 + 225, 16) AS INTEGER), nullif(CAST(substr(NEW.numbers, key * 336 + 241, 16) AS INTEGER), 0)),
        nullif(CAST(substr(NEW.numbers, key * 336 + 257, 16) AS INTEGER), 0),
        nullif(CAST(substr(NEW.numbers, key * 336 + 273, 16) AS INTEGER), 0) - 1,
        nullif(CAST(substr(NEW.numbers, key * 336 + 289, 16) AS INTEGER), 0),
        nullif(CAST(substr(NEW.numbers, key * 336 + 305, 16) AS INTEGER), 0) - 1,
        substr(NEW.payload, nullif(CAST(substr(NEW.numbers, key * 336 + 321, 16) AS INTEGER), 0), 32)
    FROM json_each(NEW.owners);
END;
