-- What: which process a daemon is, and its MQTT client id.
-- Why:  of two daemons with one client id the later one ends. They ask each other at the broker; where its access list
--       forbids that, they find each other here.
-- Lock: ACCESS EXCLUSIVE on volt.daemon (a few rows) for a moment.

ALTER TABLE volt.daemon
  ADD COLUMN client_id  text,
  ADD COLUMN host       text,
  ADD COLUMN pid        bigint,
  ADD COLUMN started_at timestamptz;
COMMENT ON COLUMN volt.daemon.client_id IS 'Its MQTT client id; NULL, as the next three: it is of an earlier version.';
COMMENT ON COLUMN volt.daemon.host IS 'The name of its host.';
COMMENT ON COLUMN volt.daemon.pid IS 'Its process id on that host, or in its container.';
COMMENT ON COLUMN volt.daemon.started_at IS 'When it started, by its host''s clock.';
