-- The tenants of the hosts, each with a store of its own. They belong to the store: an export does
-- not hold them.
CREATE TABLE tenants (
    name text COLLATE "C" CONSTRAINT tenant PRIMARY KEY,
    -- Names the tenant's store, below the place that the host is configured with. Never used twice.
    data text COLLATE "C" NOT NULL CONSTRAINT tenant_data UNIQUE,
    -- Times are microseconds since 1970 UTC.
    created_at bigint NOT NULL,
    created_by text,
    -- NULL while callers are served.
    suspended_at bigint
);
