-- Operations that have begun and whose record in the audit is still to come. What a host leaves here
-- when it dies is recorded by the next one. They belong to the store: an export does not hold them.
CREATE TABLE audit_begun (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT begun_operation PRIMARY KEY,
    -- When it began, in microseconds since 1970 UTC.
    at bigint NOT NULL,
    principal text,
    origin text,
    operation text NOT NULL,
    object text NOT NULL,
    reason text
);
