-- What: what keeps a daemon from taking messages, in its own words.
-- Why:  the alert of an outage may be raised by another daemon, and should say what to do: for example that the clock of
--       the host is wrong.
-- Lock: ACCESS EXCLUSIVE on volt.daemon (a few rows) for a moment.

ALTER TABLE volt.daemon ADD COLUMN trouble text;
COMMENT ON COLUMN volt.daemon.trouble IS
  'What keeps it from taking messages and what to do, for people; NULL: nothing that it knows of.';
