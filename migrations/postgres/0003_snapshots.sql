-- Snapshots of streams, marks of truncated ones, what an activation changed and what it
-- has compared, and how many events there are of each type.

-- Events before this version have left the stream's reads; 0: none have.
ALTER TABLE streams ADD COLUMN truncated_before bigint NOT NULL DEFAULT 0;
CREATE INDEX truncated_stream ON streams (name) WHERE truncated_before > 0;

-- As in 0001, and the mark.
DROP FUNCTION lock_streams(text[], text[]);
CREATE FUNCTION lock_streams(names text[], missing text[])
RETURNS TABLE (
    name text, stream_id bigint, version bigint, recorded_at bigint, archived_at bigint,
    truncated_before bigint
)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF cardinality(missing) > 0 THEN
        INSERT INTO streams (name)
        SELECT m.name FROM unnest(missing) AS m (name) ORDER BY m.name COLLATE "C"
        ON CONFLICT ON CONSTRAINT stream_name DO NOTHING;
    END IF;
    RETURN QUERY
    SELECT s.name, s.stream_id, s.version, s.recorded_at, s.archived_at, s.truncated_before
    FROM streams AS s WHERE s.name = ANY (names)
    ORDER BY s.name FOR UPDATE;
END
$$;

ALTER TABLE deployments
    -- Categories whose decider or upcasters it changed. NULL, from before this was kept:
    -- its name alone.
    ADD COLUMN categories text[],
    -- Folds whose snapshots the new ones may open.
    ADD COLUMN trusted bytea[];

-- At most two of a stream: the last one that was taken, and the anchor that stands for
-- the events before a truncated stream's mark.
CREATE TABLE snapshots (
    stream_id bigint NOT NULL,
    anchor boolean NOT NULL,
    category text NOT NULL,
    version bigint NOT NULL,
    state_schema_version bigint NOT NULL,
    content_type text NOT NULL,
    data bytea NOT NULL,
    -- A digest over what folded it.
    fold bytea NOT NULL,
    taken_at bigint NOT NULL,
    -- BLAKE3 of the stream's name and the columns from `version` to `taken_at`.
    checksum bytea NOT NULL,
    CONSTRAINT snapshot PRIMARY KEY (stream_id, anchor)
);
CREATE INDEX newest_snapshot ON snapshots (category, taken_at);

-- Events of each type up to the position in `types_counted`.
CREATE TABLE type_counts (
    type_id bigint CONSTRAINT type_count PRIMARY KEY,
    events bigint NOT NULL,
    first_position bigint NOT NULL,
    first_recorded_at bigint NOT NULL,
    last_position bigint NOT NULL,
    last_recorded_at bigint NOT NULL
) WITH (fillfactor = 50);

-- One row. Who counts moves it from where the count began, in the transaction that adds
-- to the counts: of two who began at one place, one has counted.
CREATE TABLE types_counted (
    is_only boolean DEFAULT true CONSTRAINT types_counted_once PRIMARY KEY CHECK (is_only),
    position bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO types_counted (position) VALUES (0);
