-- Proof: what preflights said, who signed modules, and the last rejections.

-- What the preflight before an activation said, as JSON; NULL without one.
ALTER TABLE deployments ADD COLUMN preflight text;

-- Detached ed25519 signatures of the bytes of components.
CREATE TABLE module_signatures (
    module_id bigint NOT NULL REFERENCES modules (module_id),
    -- The public key, 32 bytes.
    key bytea NOT NULL,
    -- 64 bytes.
    signature bytea NOT NULL,
    CONSTRAINT module_signature PRIMARY KEY (module_id, key)
);

-- Commands that the domain said no to: the last ones of each category. Rows come and go.
CREATE TABLE rejections (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT rejection_id PRIMARY KEY,
    category text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    -- The version of the stream on whose state it was decided.
    version bigint NOT NULL,
    plan bigint NOT NULL,
    -- Digest of the module that decided.
    module bytea NOT NULL,
    -- When the command was accepted, in microseconds since 1970 UTC.
    accepted_at bigint NOT NULL,
    -- As that of an event.
    command bytea NOT NULL,
    code text NOT NULL,
    message text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX rejection_category ON rejections (category, id);
