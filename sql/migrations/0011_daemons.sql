-- What: when a daemon was last not well, and what writers look for on behalf of the daemon that checks the rules.
-- Why:  checks may be minutes apart, so an outage between two of them is told by the daemon that had it. A daemon with
--       alerts switched off stores readings too, and one may be beyond a limit: it learns the limits here.
-- Lock: ACCESS EXCLUSIVE on volt.daemon (a few rows) for a moment; the table is new.

ALTER TABLE volt.daemon ADD COLUMN unwell_at timestamptz;
COMMENT ON COLUMN volt.daemon.unwell_at IS 'When it was last not healthy; NULL: not since it started.';

CREATE TABLE volt.rule_bounds (
  only_row     boolean NOT NULL DEFAULT true,
  bounds       jsonb NOT NULL,
  late_after_s double precision NOT NULL,
  published_at timestamptz NOT NULL,
  CONSTRAINT rule_bounds_pkey PRIMARY KEY (only_row),
  CONSTRAINT rule_bounds_one_row CHECK (only_row)
) WITH (fillfactor = 50);
COMMENT ON TABLE volt.rule_bounds IS 'What the rules in force concern: readings beyond these are put down in excursion.';
COMMENT ON COLUMN volt.rule_bounds.only_row IS 'Always true: the table has one row at most; none: nobody checks rules.';
COMMENT ON COLUMN volt.rule_bounds.bounds IS
  'Array of [column of vehicle_reading, below, above]: in between (NULL: no bound) no rule fires.';
COMMENT ON COLUMN volt.rule_bounds.late_after_s IS 'A reading that is older than this when it is stored, s, is late.';
COMMENT ON COLUMN volt.rule_bounds.published_at IS 'When a daemon that checks the rules last said so.';
