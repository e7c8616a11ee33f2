-- Who proposed the command, as in it; NULL where nobody is known, and in rows of earlier programs.
ALTER TABLE proposals ADD COLUMN proposed_by TEXT;
