-- Where streams stand. ?1: a JSON array of names.
SELECT s.name, s.stream_id, e.version, e.recorded_at, s.archived_at, s.truncated_before
FROM json_each(?1) AS n
JOIN streams AS s ON s.name = n.value
JOIN events AS e ON e.stream_id = s.stream_id
    AND e.version = (SELECT max(version) FROM events WHERE stream_id = s.stream_id)
