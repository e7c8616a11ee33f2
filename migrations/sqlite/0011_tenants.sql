-- The tenants of the host, each with a store of its own. They belong to the store: an export does
-- not hold them.
CREATE TABLE tenants (
    name TEXT NOT NULL CONSTRAINT tenant PRIMARY KEY,
    -- Names the tenant's store, below the place that the host is configured with. Never used twice.
    data TEXT NOT NULL CONSTRAINT tenant_data UNIQUE,
    -- Times are microseconds since 1970 UTC.
    created_at INTEGER NOT NULL,
    created_by TEXT,
    -- NULL while callers are served.
    suspended_at INTEGER
) STRICT, WITHOUT ROWID;
