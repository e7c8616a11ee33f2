-- Digests of documents: host/store/src/document_digest.rs says of what.

-- BLAKE3; NULL of a document that was last written by a program without digests.
ALTER TABLE documents ADD COLUMN digest bytea;
-- Whether each document of the build has a digest, because the build began with this version.
ALTER TABLE builds ADD COLUMN has_digests boolean NOT NULL DEFAULT false;

-- In `meta`, `writers_from` (8 bytes, big-endian) is the lowest schema version whose programs may
-- write. A program of version 12 would change a document and leave its digest.
INSERT INTO meta (name, value) VALUES ('writers_from', int8send(13));
