-- How far named readers of the log have come, and who may move the checkpoint: the
-- holder of the last token, until its time is over or another has claimed the name.
CREATE TABLE checkpoints (
    name text CONSTRAINT checkpoint_name PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    token bigint NOT NULL DEFAULT 0,
    held_until timestamptz
) WITH (fillfactor = 50);
