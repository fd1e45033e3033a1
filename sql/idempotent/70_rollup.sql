-- What: closes quarter hours, computes marked device-hours again, and on the Apache-2 edition closed hours into the roll-up
--       tables.
-- Why:  called by the scheduler through voltd/database/rollup.py, each call one transaction. SECURITY DEFINER because the
--       daemon's role may not touch the tables itself. No late reading is missed: closing waits for every batch under
--       way (exclusive against the writers' shared advisory lock), later batches see the new closing watermark and mark.
-- Lock: close_quarter_hours makes new batches wait for those under way, once a quarter hour; the others never do.

CREATE OR REPLACE FUNCTION volt_internal.close_quarter_hours() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- What the piece_reach() after a quarter hour says of its end must be in, and a little grace: so few must be marked.
  closing timestamptz := volt_internal.quarter_hour(now() - INTERVAL '20 minutes');
BEGIN
  IF (SELECT closing_watermark >= closing FROM volt_internal.rollup_state) THEN
    RETURN (SELECT closing_watermark FROM volt_internal.rollup_state);
  END IF;
  PERFORM pg_advisory_xact_lock(7381240, 1);
  UPDATE volt_internal.rollup_state SET closing_watermark = closing;
  RETURN closing;
END $$;
COMMENT ON FUNCTION volt_internal.close_quarter_hours() IS
  'Closes the quarter hours that ended 20 minutes ago or earlier and returns the closing watermark.';

CREATE OR REPLACE FUNCTION volt_internal.rollup_advance() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state volt_internal.rollup_state;
  closed_until timestamptz;
  slice_from timestamptz;
  slice_to timestamptz;
BEGIN
  IF NOT volt_internal.is_apache() THEN
    RETURN false;
  END IF;
  SELECT * INTO state FROM volt_internal.rollup_state FOR UPDATE;
  closed_until := date_trunc('hour', state.closing_watermark, 'UTC');
  -- Skips gaps: the next hour that a chunk of raw readings covers.
  SELECT min(greatest(c.range_start, state.watermark)) INTO slice_from
  FROM timescaledb_information.chunks c
  WHERE c.hypertable_schema = 'volt' AND c.hypertable_name IN ('vehicle_reading', 'meter_reading')
    AND c.range_end > state.watermark;
  IF slice_from IS NULL OR slice_from >= closed_until THEN
    UPDATE volt_internal.rollup_state SET watermark = greatest(state.watermark, closed_until);
    RETURN false;
  END IF;
  slice_to := least(slice_from + INTERVAL '1 hour', closed_until);

  INSERT INTO volt_internal.vehicle_hourly_rollup SELECT * FROM volt_internal.vehicle_hours(slice_from, slice_to);

  INSERT INTO volt_internal.meter_hourly_rollup SELECT * FROM volt_internal.meter_hours(slice_from, slice_to);

  UPDATE volt_internal.rollup_state SET watermark = slice_to;
  RETURN slice_to < closed_until;
END $$;
COMMENT ON FUNCTION volt_internal.rollup_advance() IS
  'Computes one closed hour into the roll-up tables and moves the watermark; false: nothing is left. Apache-2 edition only.';

-- A mark and its readings were committed together, and the readings are read after the marks: none is missed.
-- each device:
CREATE OR REPLACE FUNCTION volt_internal.rollup_recompute_{device}s(at_once integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state volt_internal.rollup_state := (SELECT s FROM volt_internal.rollup_state s);
  marks integer;
  ids text[];
  hours timestamptz[];
BEGIN
  WITH taken AS (
    DELETE FROM volt_internal.{device}_rollup_dirty WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM volt_internal.{device}_rollup_dirty LIMIT at_once FOR UPDATE SKIP LOCKED))
    RETURNING {device}_id, hour
  ), wanted AS (
    SELECT DISTINCT {device}_id, hour FROM taken WHERE hour >= state.dropped_before ORDER BY {device}_id, hour
  ), passed_on AS (
    INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
    SELECT '{device}', w.{device}_id, w.hour, w.hour + INTERVAL '1 hour' FROM wanted w
  )
  -- A later hour of the roll-ups is still computed, with all its readings.
  SELECT count(*), array_agg({device}_id) FILTER (WHERE hour < state.watermark),
    array_agg(hour) FILTER (WHERE hour < state.watermark)
  INTO marks, ids, hours FROM wanted;
  IF ids IS NULL OR NOT volt_internal.is_apache() THEN
    RETURN marks;
  END IF;
  DELETE FROM volt_internal.{device}_hourly_rollup r USING unnest(ids, hours) AS late (late_id, late_hour)
  WHERE r.{device}_id = late_id AND r.hour = late_hour AND r.hour = ANY (hours);
  INSERT INTO volt_internal.{device}_hourly_rollup
  SELECT again.* FROM unnest(ids, hours) AS late (late_id, late_hour)
  CROSS JOIN LATERAL volt_internal.{device}_hours_of(late_id, late_hour, late_hour + INTERVAL '1 hour') AS again;
  RETURN marks;
END $$;
COMMENT ON FUNCTION volt_internal.rollup_recompute_{device}s(integer) IS
  'Passes at most so many marks of late readings on to the kept energy, and on the Apache-2 edition computes those '
  '{device}-hours of the roll-ups again; how many, 0: nothing is left.';

-- end
