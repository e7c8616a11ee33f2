-- Heads of streams, with the digest of the last commit, which its first event has. ?1: a JSON array
-- of names.
SELECT s.name, s.stream_id, e.version, e.recorded_at, s.archived_at, s.truncated_before,
    CASE e.commit_offset WHEN 0 THEN e.commit_digest ELSE (
        SELECT c.commit_digest FROM events AS c
        WHERE c.stream_id = e.stream_id AND c.version = e.version - e.commit_offset
    ) END
FROM json_each(?1) AS n
JOIN streams AS s ON s.name = n.value
JOIN events AS e ON e.stream_id = s.stream_id
    AND e.version = (SELECT max(version) FROM events WHERE stream_id = s.stream_id)
