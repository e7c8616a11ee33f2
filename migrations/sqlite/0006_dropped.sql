-- Operators' decisions about events belong to the projection, not to one of its builds.

-- Events that an operator dropped: every build leaves them out, for a document (by its key)
-- or, before lifting, as a whole (by their stream).
CREATE TABLE dropped_events (
    projection TEXT NOT NULL,
    position INTEGER NOT NULL,
    is_stream INTEGER NOT NULL,
    subject TEXT NOT NULL,
    -- Microseconds since 1970 UTC.
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT dropped_event PRIMARY KEY (projection, position, is_stream, subject)
) STRICT, WITHOUT ROWID;

-- What was dropped so far; the policy `skip` records its own reason.
INSERT OR IGNORE INTO dropped_events (projection, position, is_stream, subject, at, reason)
SELECT b.projection, s.position, s.is_stream, s.subject, s.at, s.reason
FROM skipped_events AS s JOIN builds AS b ON b.id = s.build
WHERE b.role <> 'dropped' AND s.reason IS NOT NULL
    AND s.reason <> 'the policy skips what fails'
ORDER BY s.at;

-- Documents and streams whose parked events an operator asked to retry, until their build's
-- owner has done so.
CREATE TABLE parked_retries (
    build INTEGER NOT NULL,
    is_stream INTEGER NOT NULL,
    subject TEXT NOT NULL,
    -- What `retries` of the projection was raised to: a later request is another one.
    number INTEGER NOT NULL,
    CONSTRAINT parked_retry PRIMARY KEY (build, is_stream, subject)
) STRICT;

-- The first events that are parked for documents, and for streams.
CREATE INDEX parked_position ON parked_events (build, is_stream, position);

-- Whether an operator ordered this build to take over, whatever it lacks, and why it does not
-- take over by itself; NULL when nothing is in its way.
ALTER TABLE builds ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE builds ADD COLUMN waits TEXT;
