-- Recorded commits that hold events under callers' ids, each once, with their events
-- in order. ?1: a JSON array of stream and event id, in hexadecimal digits.
WITH asked AS (
    SELECT DISTINCT k.stream_id, k.version - k.commit_offset AS version
    FROM json_each(?1) AS n
    CROSS JOIN streams AS s ON s.name = n.value ->> 0
    CROSS JOIN events AS k ON k.stream_id = s.stream_id
        AND k.event_id = unhex(n.value ->> 1) AND k.event_id_given = 1
)
SELECT s.name, NULL, e.command, e.event_id, t.name, e.version, e.position,
    t.content_type, e.data, c.plan, c.fuel, m.digest, e.commit_offset, e.event_id_given
FROM asked AS a
CROSS JOIN streams AS s ON s.stream_id = a.stream_id
CROSS JOIN events AS c ON c.stream_id = a.stream_id AND c.version = a.version
CROSS JOIN events AS e ON e.stream_id = c.stream_id
    AND e.version BETWEEN c.version AND c.version + c.commit_size - 1
LEFT JOIN event_types AS t ON t.type_id = e.type_id
LEFT JOIN modules AS m ON m.module_id = c.module_id
ORDER BY a.stream_id, a.version, e.version
