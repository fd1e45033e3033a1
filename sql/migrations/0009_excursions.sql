-- What: how far an excursion reaches; the live ones by number; readings that were not news when they came.
-- Why:  a batch puts down what came late apart from what is live, so a check reads for each no more than it reaches, and
--       finds the live ones whatever waits behind them. A retained reading stands in the hypertable like any other; the
--       check must know it from the live ones.
-- Lock: ACCESS EXCLUSIVE on excursion for a moment; it holds only what the next check takes.

ALTER TABLE volt.excursion ADD COLUMN until timestamptz;
COMMENT ON COLUMN volt.excursion.since IS 'Device time of the earliest of these readings in its batch, late and live ones apart.';
COMMENT ON COLUMN volt.excursion.until IS 'Device time of the latest of them; NULL: as since.';
COMMENT ON COLUMN volt.excursion.received_at IS 'When voltd received the first of them.';
CREATE INDEX excursion_live_idx ON volt.excursion (excursion_id) WHERE NOT late;

CREATE TABLE volt.retained_reading (
  vehicle_id  text        NOT NULL,
  recorded_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX retained_reading_idx ON volt.retained_reading (vehicle_id, recorded_at);
COMMENT ON TABLE volt.retained_reading IS
  'Readings of the last days that the broker had retained: stored as the others are, but no news for the rules.';
COMMENT ON COLUMN volt.retained_reading.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.retained_reading.recorded_at IS 'Device time of the reading.';
COMMENT ON COLUMN volt.retained_reading.received_at IS
  'When voltd received it; where the stored one has another time, it had come before, and was news.';
