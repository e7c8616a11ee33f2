-- Projections: their builds, documents, and the events that were set aside.

-- What the plan says of projections, as JSON; NULL for one that was made before this was
-- kept.
ALTER TABLE deployments ADD COLUMN projections TEXT;

-- What an operator asks of a projection. Flags are 0 or 1.
CREATE TABLE projections (
    name TEXT NOT NULL CONSTRAINT projection_name PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    -- How often parked events were asked to be tried again.
    retries INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Copies of documents. A dropped one stays until nothing is left of what it holds; its
-- number never comes again.
CREATE TABLE builds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    projection TEXT NOT NULL,
    role TEXT NOT NULL,
    version INTEGER NOT NULL,
    -- Digest of the module.
    module BLOB NOT NULL,
    -- The checkpoint.
    position INTEGER NOT NULL DEFAULT 0,
    -- The greatest change of a document.
    changes INTEGER NOT NULL DEFAULT 0,
    -- Rises with each claim.
    token INTEGER NOT NULL DEFAULT 0,
    -- Milliseconds since 1970 UTC; NULL when nobody owns it.
    held_until INTEGER,
    is_inline INTEGER NOT NULL DEFAULT 0,
    -- Microseconds since 1970 UTC.
    started_at INTEGER NOT NULL,
    trouble TEXT,
    comparison TEXT,
    CONSTRAINT build_role_known CHECK (role IN ('active', 'next', 'previous', 'dropped'))
) STRICT;

CREATE UNIQUE INDEX build_role ON builds (projection, role) WHERE role <> 'dropped';

-- JSON by key. A document that was deleted stays as a tombstone, so that changes can be
-- followed.
CREATE TABLE documents (
    build INTEGER NOT NULL,
    key TEXT NOT NULL,
    -- NULL of one that was deleted.
    document TEXT,
    change INTEGER NOT NULL,
    CONSTRAINT document PRIMARY KEY (build, key)
) STRICT;

CREATE INDEX document_change ON documents (build, change);
-- Living documents are counted as all of them without these.
CREATE INDEX tombstone ON documents (build) WHERE document IS NULL;

-- By which values documents are found, encoded so that the order of the bytes is that of
-- the values: host/src/model/index.rs.
CREATE TABLE document_entries (
    build INTEGER NOT NULL,
    -- Place of the index in the definition.
    number INTEGER NOT NULL,
    value BLOB NOT NULL,
    key TEXT NOT NULL,
    CONSTRAINT document_entry PRIMARY KEY (build, number, value, key)
) STRICT, WITHOUT ROWID;

-- Removes entries: one row for each. A DELETE with a list would look at all entries of an
-- index for each of them.
CREATE VIEW removed_entries (build, number, value, key) AS
SELECT 0, 0, x'', '' WHERE 0;

CREATE TRIGGER remove_entry INSTEAD OF INSERT ON removed_entries
BEGIN
    DELETE FROM document_entries
    WHERE build = NEW.build AND number = NEW.number AND value = NEW.value AND key = NEW.key;
END;

-- Events that wait: for a document, by its key, or in a stream.
CREATE TABLE parked_events (
    build INTEGER NOT NULL,
    is_stream INTEGER NOT NULL,
    subject TEXT NOT NULL,
    position INTEGER NOT NULL,
    -- Microseconds since 1970 UTC.
    at INTEGER NOT NULL,
    -- NULL of one that waits behind another.
    error TEXT,
    attempts INTEGER NOT NULL,
    CONSTRAINT parked_event PRIMARY KEY (build, is_stream, subject, position)
) STRICT;

-- Events that were left out for good.
CREATE TABLE skipped_events (
    build INTEGER NOT NULL,
    position INTEGER NOT NULL,
    is_stream INTEGER NOT NULL,
    subject TEXT NOT NULL,
    at INTEGER NOT NULL,
    error TEXT,
    attempts INTEGER NOT NULL,
    reason TEXT,
    CONSTRAINT skipped_event PRIMARY KEY (build, position, is_stream, subject)
) STRICT;

-- Beside these, each projection has a view "view_NAME" of the living documents of its
-- active build, which is made when its first build begins.
