-- Operators' decisions about events belong to the projection, not to one of its builds.

-- Events that an operator dropped: every build leaves them out, for a document (by its key)
-- or, before lifting, as a whole (by their stream).
CREATE TABLE dropped_events (
    projection text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    is_stream boolean NOT NULL,
    subject text COLLATE "C" NOT NULL,
    -- Microseconds since 1970 UTC.
    at bigint NOT NULL,
    reason text NOT NULL,
    CONSTRAINT dropped_event PRIMARY KEY (projection, position, is_stream, subject)
);

-- What was dropped so far; the policy `skip` records its own reason.
INSERT INTO dropped_events (projection, position, is_stream, subject, at, reason)
SELECT b.projection, s.position, s.is_stream, s.subject, s.at, s.reason
FROM skipped_events AS s JOIN builds AS b ON b.id = s.build
WHERE b.role <> 'dropped' AND s.reason IS NOT NULL
    AND s.reason <> 'the policy skips what fails'
ORDER BY s.at
ON CONFLICT ON CONSTRAINT dropped_event DO NOTHING;

-- Documents and streams whose parked events an operator asked to retry, until their build's
-- owner has done so.
CREATE TABLE parked_retries (
    build bigint NOT NULL,
    is_stream boolean NOT NULL,
    subject text COLLATE "C" NOT NULL,
    -- What `retries` of the projection was raised to: a later request is another one.
    number bigint NOT NULL,
    CONSTRAINT parked_retry PRIMARY KEY (build, is_stream, subject)
);

-- The first events that are parked for documents, and for streams.
CREATE INDEX parked_position ON parked_events (build, is_stream, position);

-- Whether an operator ordered this build to take over, whatever it lacks, and why it does not
-- take over by itself; NULL when nothing is in its way.
ALTER TABLE builds ADD COLUMN confirmed boolean NOT NULL DEFAULT false;
ALTER TABLE builds ADD COLUMN waits text;
