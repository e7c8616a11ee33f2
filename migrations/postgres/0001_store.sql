-- The event store: one log of events, grouped into streams. All names live in the
-- store's schema, which is the first and only one of every connection's search path.

-- Facts about the store itself: `secret` (32 bytes, from which seeds are derived).
CREATE TABLE meta (
    name text CONSTRAINT meta_name PRIMARY KEY,
    value bytea NOT NULL
);

-- A stream's row is what its writers lock. One that was only checked so far has
-- version 0, which means that there is no such stream.
CREATE TABLE streams (
    stream_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT stream_id PRIMARY KEY,
    name text COLLATE "C" NOT NULL CONSTRAINT stream_name UNIQUE,
    version bigint NOT NULL DEFAULT 0,
    -- When its last event was recorded.
    recorded_at bigint NOT NULL DEFAULT 0,
    archived_at bigint
) WITH (fillfactor = 50);

CREATE INDEX archived_stream ON streams (name) WHERE archived_at IS NOT NULL;

-- What an event's data are: its type within the category, in which form.
CREATE TABLE event_types (
    type_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT type_id PRIMARY KEY,
    category text NOT NULL,
    name text NOT NULL,
    schema_version bigint NOT NULL,
    content_type text NOT NULL,
    CONSTRAINT event_type UNIQUE (category, name, schema_version, content_type)
);

-- Components, known by the SHA-256 digest of their bytes.
CREATE TABLE modules (
    module_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT module_id PRIMARY KEY,
    digest bytea NOT NULL CONSTRAINT module_digest UNIQUE,
    bytes bytea NOT NULL,
    uploaded_at bigint NOT NULL
);
ALTER TABLE modules ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- The history of the plan: each activation raises it by one.
CREATE TABLE deployments (
    plan bigint CONSTRAINT deployment_plan PRIMARY KEY,
    name text NOT NULL,
    module_id bigint NOT NULL REFERENCES modules (module_id),
    activated_at bigint NOT NULL,
    activated_by text
);

-- Positions are drawn one by one, so that they rise in the order of the draws; one
-- that was drawn by a transaction that failed is a hole.
CREATE SEQUENCE positions CACHE 1;

-- The log. The columns from `command_id` on belong to the commit, and stand on its
-- first event alone: that is the row with version = version - commit_offset of the
-- same stream.
CREATE TABLE events (
    position bigint CONSTRAINT event_position PRIMARY KEY,
    stream_id bigint NOT NULL,
    version bigint NOT NULL,
    type_id bigint NOT NULL,
    event_id uuid NOT NULL,
    -- True when the caller chose `event_id`.
    event_id_given boolean,
    -- Microseconds since 1970 UTC.
    recorded_at bigint NOT NULL,
    -- Place in the commit, from 0.
    commit_offset bigint NOT NULL,
    data bytea NOT NULL,
    -- The event's own: as given for an appended one, annotations for a decided one.
    metadata bytea,
    tags text[],
    -- The caller's idempotency key; ids that the host made stand in `command` alone.
    command_id text,
    -- Number of events in the commit.
    commit_size bigint,
    plan bigint,
    -- The module that decided; none for a raw append.
    module_id bigint,
    fuel bigint,
    -- The command as it was decided: host/src/store/record.rs has its encoding.
    command bytea
);
CREATE UNIQUE INDEX event_version ON events (stream_id, version);
-- Minus, so that an id is never looked for among all events of its stream: without
-- statistics the planner takes `event_version` to be as good an index for that. For the
-- same reason ids are looked up by a lateral query with a limit, to which stream and id
-- are both given: a join may take the index for the stream alone.
CREATE UNIQUE INDEX command_id ON events ((-stream_id), command_id) WHERE command_id IS NOT NULL;
CREATE UNIQUE INDEX event_id ON events ((-stream_id), event_id) WHERE event_id_given;

-- The last position that was drawn; 0 when none was.
CREATE FUNCTION last_position() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM positions
$$;

-- Moves the sequence behind the events of an import. That is done once they are
-- committed, since it can't be taken back: a reader would go on behind positions at
-- which the next attempt writes. Also done by who finds that it was not.
CREATE FUNCTION follow_import(namespace bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF (SELECT max(position) FROM events) > last_position() THEN
        -- No one draws a position meanwhile.
        PERFORM pg_advisory_xact_lock(namespace::int, 1);
        PERFORM setval('positions', e.last)
        FROM (SELECT max(position) AS last FROM events) AS e WHERE e.last > last_position();
    END IF;
END
$$;

-- Advisory locks of this schema: fences have one key, `namespace` in the upper bits
-- and a position below, the plan has two, `namespace` and 1.
CREATE FUNCTION fence(namespace bigint, behind bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (namespace << 44) | behind
$$;

-- Up to where the log can be read: no event will ever appear there or below. To be
-- called in a statement of its own, before the one that reads: a writer announces,
-- before it draws positions, that all of them will be above the last one drawn so far.
CREATE FUNCTION horizon(namespace bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last bigint;
    announced bigint;
BEGIN
    last := last_position();
    SELECT min(((classid::bigint << 32) | objid::bigint) & ((1::bigint << 44) - 1))
    INTO announced
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((classid::bigint << 32) | objid::bigint) >> 44 = namespace;
    RETURN least(last, coalesce(announced, last));
END
$$;

-- Locks the streams of a batch in order of name, so that no two writers wait for each
-- other; those that are not there yet are made first, at version 0.
CREATE FUNCTION lock_streams(names text[], missing text[])
RETURNS TABLE (name text, stream_id bigint, version bigint, recorded_at bigint, archived_at bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF cardinality(missing) > 0 THEN
        INSERT INTO streams (name)
        SELECT m.name FROM unnest(missing) AS m (name) ORDER BY m.name COLLATE "C"
        ON CONFLICT ON CONSTRAINT stream_name DO NOTHING;
    END IF;
    RETURN QUERY
    SELECT s.name, s.stream_id, s.version, s.recorded_at, s.archived_at
    FROM streams AS s WHERE s.name = ANY (names)
    ORDER BY s.name FOR UPDATE;
END
$$;

-- Commits a batch that the host has classified, if everything stands as the host
-- believes; otherwise writes nothing. `outcome` is 0 for written, 1 for another plan, 2 for a
-- stream that stands elsewhere, 3 for an id that is known.
CREATE FUNCTION append_batch(
    namespace bigint,
    believed_plan bigint,
    -- The streams to be locked, in order of name, and where they are believed to stand.
    names text[], believed_versions bigint[], believed_archived boolean[],
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
    commands bytea[],
    OUT outcome int, OUT positions bigint[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    stream_ids bigint[];
    stream_times bigint[];
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
    SELECT array_agg(l.stream_id ORDER BY l.name COLLATE "C"), array_agg(l.recorded_at ORDER BY l.name COLLATE "C"),
        coalesce(array_agg(l.version ORDER BY l.name COLLATE "C") = believed_versions
            AND array_agg(l.archived_at IS NOT NULL ORDER BY l.name COLLATE "C") = believed_archived,
            cardinality(names) = 0)
    INTO stream_ids, stream_times, stands
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
        command_id, commit_size, plan, module_id, fuel, command
    )
    SELECT u.at, stream_ids[u.owner], u.version, u.type_id, u.event_id, u.given,
        greatest(u.time, stream_times[u.owner]), u.place, u.payload, u.metadata,
        CASE WHEN u.tags IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(u.tags::json)) END,
        u.command_id, u.size, u.plan, u.module_id, u.fuel, u.command
    FROM unnest(
        positions, owners, versions, type_ids, event_ids, event_ids_given, times,
        commit_offsets, payloads, metadatas, tag_arrays,
        command_ids, commit_sizes, plans, module_ids, fuels, commands
    ) AS u (
        at, owner, version, type_id, event_id, given, time,
        place, payload, metadata, tags,
        command_id, size, plan, module_id, fuel, command
    );

    UPDATE streams AS s SET version = w.version, recorded_at = greatest(s.recorded_at, w.time)
    FROM (
        SELECT u.owner, max(u.version) AS version, max(u.time) AS time
        FROM unnest(owners, versions, times) AS u (owner, version, time) GROUP BY u.owner
    ) AS w
    WHERE s.stream_id = stream_ids[w.owner];
END
$$;
