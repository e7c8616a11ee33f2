-- Digests of commits: host/store/src/commit_digest.rs says of what.

-- BLAKE3, on the first event of a commit; NULL of a commit without a digest.
ALTER TABLE events ADD COLUMN commit_digest bytea;
-- That of the stream's last commit.
ALTER TABLE streams ADD COLUMN digest bytea;

-- In `meta`, `unproved` (8 bytes, big-endian) is the position up to which commits may have no
-- digest, and `proved` the position up to which digests were added later. Absent: 0.
INSERT INTO meta (name, value)
SELECT 'unproved', int8send(max(position)) FROM events HAVING max(position) IS NOT NULL;

-- As in 0003, and the digest.
DROP FUNCTION lock_streams(text[], text[]);
CREATE FUNCTION lock_streams(names text[], missing text[])
RETURNS TABLE (
    name text, stream_id bigint, version bigint, recorded_at bigint, archived_at bigint,
    truncated_before bigint, digest bytea
)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF cardinality(missing) > 0 THEN
        INSERT INTO streams (name)
        SELECT m.name FROM unnest(missing) AS m (name) ORDER BY m.name COLLATE "C"
        ON CONFLICT ON CONSTRAINT stream_name DO NOTHING;
    END IF;
    RETURN QUERY
    SELECT s.name, s.stream_id, s.version, s.recorded_at, s.archived_at, s.truncated_before, s.digest
    FROM streams AS s WHERE s.name = ANY (names)
    ORDER BY s.name FOR UPDATE;
END
$$;

-- As in 0001, with digests.
DROP FUNCTION append_batch;
-- Commits a batch that the host has classified, if everything stands as the host
-- believes; otherwise writes nothing. `outcome` is 0 for written, 1 for another plan, 2 for a
-- stream that stands elsewhere, 3 for an id that is known.
CREATE FUNCTION append_batch(
    namespace bigint,
    believed_plan bigint,
    -- The streams to be locked, in order of name, and where they are believed to stand.
    names text[], believed_versions bigint[], believed_archived boolean[], believed_digests bytea[],
    -- Streams that are only looked at.
    seen_names text[], seen_versions bigint[], seen_archived boolean[],
    -- Ids that must be unknown.
    id_streams text[], ids text[],
    event_id_streams text[], given_event_ids uuid[],
    -- Streams whose mark changes.
    mark_names text[], marked_at bigint[],
    -- Positions as they are, from an import; none: they are drawn.
    given_positions bigint[],
    -- The events; `owners` counts in `names`, from 1.
    owners int[], versions bigint[], type_ids bigint[], event_ids uuid[], event_ids_given boolean[],
    times bigint[], commit_offsets bigint[], payloads bytea[], metadatas bytea[], tag_arrays text[],
    -- On the first event of a commit.
    command_ids text[], commit_sizes bigint[], plans bigint[], module_ids bigint[], fuels bigint[],
    commands bytea[], commit_digests bytea[],
    -- The digest of the last commit of each locked stream, after the batch.
    last_digests bytea[],
    OUT outcome int, OUT positions bigint[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    stream_ids bigint[];
    stands boolean;
    missing text[];
BEGIN
    outcome := 1;
    PERFORM pg_advisory_xact_lock_shared(namespace::int, 1);
    IF coalesce((SELECT max(d.plan) FROM deployments AS d), 0) <> believed_plan THEN
        RETURN;
    END IF;

    outcome := 2;
    SELECT array_agg(u.name) INTO missing
    FROM unnest(names, believed_versions) AS u (name, version) WHERE u.version = 0;
    SELECT array_agg(l.stream_id ORDER BY l.name COLLATE "C"),
        coalesce(array_agg(l.version ORDER BY l.name COLLATE "C") = believed_versions
            AND array_agg(l.archived_at IS NOT NULL ORDER BY l.name COLLATE "C") = believed_archived
            AND array_agg(l.digest ORDER BY l.name COLLATE "C") = believed_digests,
            cardinality(names) = 0)
    INTO stream_ids, stands
    FROM lock_streams(names, missing) AS l;
    IF NOT stands THEN
        RETURN;
    END IF;
    IF cardinality(seen_names) > 0 THEN
        PERFORM 1 FROM unnest(seen_names, seen_versions, seen_archived) AS u (name, version, archived)
        LEFT JOIN streams AS s ON s.name = u.name
        WHERE coalesce(s.version, 0) <> u.version OR (s.archived_at IS NOT NULL) <> u.archived;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    outcome := 3;
    IF cardinality(ids) > 0 THEN
        PERFORM 1 FROM unnest(id_streams, ids) AS u (name, id)
        JOIN streams AS s ON s.name = u.name
        CROSS JOIN LATERAL (
            SELECT 1 FROM events AS e
            WHERE -e.stream_id = -s.stream_id AND e.command_id = u.id LIMIT 1
        ) AS e;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF cardinality(given_event_ids) > 0 THEN
        PERFORM 1 FROM unnest(event_id_streams, given_event_ids) AS u (name, id)
        JOIN streams AS s ON s.name = u.name
        CROSS JOIN LATERAL (
            SELECT 1 FROM events AS e
            WHERE -e.stream_id = -s.stream_id AND e.event_id = u.id AND e.event_id_given LIMIT 1
        ) AS e;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    outcome := 0;
    IF cardinality(mark_names) > 0 THEN
        UPDATE streams AS s SET archived_at = u.at
        FROM unnest(mark_names, marked_at) AS u (name, at) WHERE s.name = u.name;
    END IF;
    IF cardinality(owners) = 0 THEN
        RETURN;
    END IF;

    IF cardinality(given_positions) > 0 THEN
        positions := given_positions;
    ELSE
        PERFORM pg_advisory_xact_lock_shared(fence(namespace, last_position()));
        SELECT array_agg(nextval('positions')) INTO positions FROM generate_series(1, cardinality(owners));
    END IF;

    INSERT INTO events (
        position, stream_id, version, type_id, event_id, event_id_given, recorded_at,
        commit_offset, data, metadata, tags,
        command_id, commit_size, plan, module_id, fuel, command, commit_digest
    )
    SELECT u.at, stream_ids[u.owner], u.version, u.type_id, u.event_id, u.given,
        u.time, u.place, u.payload, u.metadata,
        CASE WHEN u.tags IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(u.tags::json)) END,
        u.command_id, u.size, u.plan, u.module_id, u.fuel, u.command, u.digest
    FROM unnest(
        positions, owners, versions, type_ids, event_ids, event_ids_given, times,
        commit_offsets, payloads, metadatas, tag_arrays,
        command_ids, commit_sizes, plans, module_ids, fuels, commands, commit_digests
    ) AS u (
        at, owner, version, type_id, event_id, given, time,
        place, payload, metadata, tags,
        command_id, size, plan, module_id, fuel, command, digest
    );

    UPDATE streams AS s SET version = w.version, recorded_at = greatest(s.recorded_at, w.time),
        digest = last_digests[w.owner]
    FROM (
        SELECT u.owner, max(u.version) AS version, max(u.time) AS time
        FROM unnest(owners, versions, times) AS u (owner, version, time) GROUP BY u.owner
    ) AS w
    WHERE s.stream_id = stream_ids[w.owner];
END
$$;
