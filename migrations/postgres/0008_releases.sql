-- Releases of several components, and the plan under which builds were folded.

-- The names that a release changed, besides the one in `deployments`.
CREATE TABLE release_members (
    plan bigint NOT NULL REFERENCES deployments (plan),
    name text NOT NULL,
    -- NULL: nothing is active under the name any more.
    module_id bigint REFERENCES modules (module_id),
    CONSTRAINT release_member PRIMARY KEY (plan, name)
);

-- Every module that was ever active.
CREATE VIEW activated_modules (module_id) AS
SELECT module_id FROM deployments
UNION
SELECT module_id FROM release_members WHERE module_id IS NOT NULL;

-- The plan whose rules folded a build; NULL of one that was begun before this was recorded.
ALTER TABLE builds ADD COLUMN plan bigint;
-- Why its documents are not those of a rebuild; NULL while they are.
ALTER TABLE builds ADD COLUMN stale text;
