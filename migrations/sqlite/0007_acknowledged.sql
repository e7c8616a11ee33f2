-- Findings of a verification that an operator has acknowledged. They belong to the store: an
-- export does not hold them.
CREATE TABLE acknowledged_findings (
    -- The finding's name, as decision:loan-17@42.
    finding TEXT NOT NULL CONSTRAINT acknowledged_finding PRIMARY KEY,
    reason TEXT NOT NULL,
    -- Microseconds since 1970 UTC.
    at INTEGER NOT NULL,
    -- Who acknowledged it; NULL when the host does not know.
    by TEXT
) STRICT, WITHOUT ROWID;
