-- Recorded commits, with their events in order. ?1: a JSON array of stream and
-- command id. `command` and what belongs to the commit stand on the first event.
SELECT n.value ->> 0, n.value ->> 1, e.command, e.event_id, t.name, e.version, e.position,
    t.content_type, e.data, c.plan, c.fuel, m.digest, e.commit_offset, e.event_id_given
FROM json_each(?1) AS n
CROSS JOIN streams AS s ON s.name = n.value ->> 0
CROSS JOIN events AS c ON c.stream_id = s.stream_id AND c.command_id = n.value ->> 1
CROSS JOIN events AS e ON e.stream_id = c.stream_id
    AND e.version BETWEEN c.version AND c.version + c.commit_size - 1
LEFT JOIN event_types AS t ON t.type_id = e.type_id
LEFT JOIN modules AS m ON m.module_id = c.module_id
ORDER BY n.key, e.version
