-- Projections: their builds, documents, and the events that were set aside.

-- What the plan says of projections, as JSON; NULL for one that was made before this was
-- kept.
ALTER TABLE deployments ADD COLUMN projections text;

-- What an operator asks of a projection.
CREATE TABLE projections (
    name text COLLATE "C" CONSTRAINT projection_name PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    held boolean NOT NULL DEFAULT false,
    -- How often parked events were asked to be tried again.
    retries bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Copies of documents. A dropped one stays until nothing is left of what it holds; its
-- number never comes again.
CREATE TABLE builds (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT build_id PRIMARY KEY,
    projection text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL
        CONSTRAINT build_role_known CHECK (role IN ('active', 'next', 'previous', 'dropped')),
    version bigint NOT NULL,
    -- Digest of the module.
    module bytea NOT NULL,
    -- The checkpoint.
    position bigint NOT NULL DEFAULT 0,
    -- The greatest change of a document.
    changes bigint NOT NULL DEFAULT 0,
    -- Rises with each claim.
    token bigint NOT NULL DEFAULT 0,
    -- By the server's clock; NULL when nobody owns it.
    held_until timestamptz,
    is_inline boolean NOT NULL DEFAULT false,
    -- Microseconds since 1970 UTC.
    started_at bigint NOT NULL,
    trouble text,
    comparison text
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX build_role ON builds (projection, role) WHERE role <> 'dropped';

-- JSON by key, its bytes as they came. A document that was deleted stays as a tombstone,
-- so that changes can be followed. Rows are replaced often.
CREATE TABLE documents (
    build bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    -- NULL of one that was deleted.
    document text,
    change bigint NOT NULL,
    CONSTRAINT document PRIMARY KEY (build, key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
-- By the negative build: without statistics the planner takes this for as good an index
-- to find a key as the primary key's.
CREATE INDEX document_change ON documents ((-build), change);
-- Living documents are counted as all of them without these.
CREATE INDEX tombstone ON documents ((-build)) WHERE document IS NULL;

-- By which values documents are found, encoded so that the order of the bytes is that of
-- the values: host/src/model/index.rs.
CREATE TABLE document_entries (
    build bigint NOT NULL,
    -- Place of the index in the definition.
    number int NOT NULL,
    value bytea NOT NULL,
    key text COLLATE "C" NOT NULL,
    CONSTRAINT document_entry PRIMARY KEY (build, number, value, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- Events that wait: for a document, by its key, or in a stream.
CREATE TABLE parked_events (
    build bigint NOT NULL,
    is_stream boolean NOT NULL,
    subject text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    -- Microseconds since 1970 UTC.
    at bigint NOT NULL,
    -- NULL of one that waits behind another.
    error text,
    attempts bigint NOT NULL,
    CONSTRAINT parked_event PRIMARY KEY (build, is_stream, subject, position)
);

-- Events that were left out for good.
CREATE TABLE skipped_events (
    build bigint NOT NULL,
    position bigint NOT NULL,
    is_stream boolean NOT NULL,
    subject text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    error text,
    attempts bigint NOT NULL,
    reason text,
    CONSTRAINT skipped_event PRIMARY KEY (build, position, is_stream, subject)
);

-- Locks documents of inline builds in the order in which they are given, which is that of
-- build and key, so that no two writers wait for each other. Those that are not there yet
-- are made first, at change 0, which still means that there is no such document.
CREATE FUNCTION lock_documents(builds bigint[], keys text[])
RETURNS TABLE (place bigint, document text, change bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO documents AS d (build, key, change)
    SELECT u.build, u.key, 0 FROM unnest(builds, keys) WITH ORDINALITY AS u (build, key, place)
    ORDER BY u.place
    ON CONFLICT ON CONSTRAINT document DO NOTHING;
    RETURN QUERY
    SELECT u.place, d.document, d.change
    FROM unnest(builds, keys) WITH ORDINALITY AS u (build, key, place)
    JOIN documents AS d ON d.build = u.build AND d.key = u.key
    ORDER BY u.place FOR UPDATE OF d;
END
$$;

-- Draws positions behind the fence, as `append_batch` does, for a batch that is folded
-- before it is written.
CREATE FUNCTION draw_positions(namespace bigint, wanted bigint) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(fence(namespace, last_position()));
    RETURN ARRAY(SELECT nextval('positions') FROM generate_series(1, wanted));
END
$$;

-- Beside these, each projection has a view "view_NAME" of the living documents of its
-- active build, which is made when its first build begins.
