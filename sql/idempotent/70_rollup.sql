-- What: closes hours, computes them into the roll-up tables, computes marked device-hours again (Apache-2 edition).
-- Why:  called by the scheduler through voltd/database/rollup.py, each call one transaction. SECURITY DEFINER because the
--       daemon's role may not touch the tables itself. No late reading is missed: closing waits for every batch under
--       way (exclusive against the writers' shared advisory lock), later batches see the new closing watermark and mark.
-- Lock: rollup_close_hours makes new batches wait for those under way, once an hour; the others never do.

-- NULL on the Community edition, where continuous aggregates do all this.
CREATE OR REPLACE FUNCTION volt_internal.rollup_close_hours() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Five minutes of grace: most readings of an hour are in when it closes, so few must be marked.
  closing timestamptz := date_trunc('hour', now() - INTERVAL '5 minutes', 'UTC');
BEGIN
  IF NOT EXISTS (SELECT FROM volt_internal.setting WHERE name = 'edition' AND value = 'apache') THEN
    RETURN NULL;
  END IF;
  IF (SELECT closing_watermark >= closing FROM volt_internal.rollup_state) THEN
    RETURN (SELECT closing_watermark FROM volt_internal.rollup_state);
  END IF;
  PERFORM pg_advisory_xact_lock(7381240, 1);
  UPDATE volt_internal.rollup_state SET closing_watermark = closing;
  RETURN closing;
END $$;
COMMENT ON FUNCTION volt_internal.rollup_close_hours() IS
  'Closes the hours that ended five minutes ago or earlier and returns the closing watermark; NULL: not this edition.';

CREATE OR REPLACE FUNCTION volt_internal.rollup_advance() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state volt_internal.rollup_state;
  slice_from timestamptz;
  slice_to timestamptz;
BEGIN
  SELECT * INTO state FROM volt_internal.rollup_state FOR UPDATE;
  -- Skips gaps: the next hour that a chunk of raw readings covers.
  SELECT min(greatest(c.range_start, state.watermark)) INTO slice_from
  FROM timescaledb_information.chunks c
  WHERE c.hypertable_schema = 'volt' AND c.hypertable_name IN ('vehicle_reading', 'meter_reading')
    AND c.range_end > state.watermark;
  IF slice_from IS NULL OR slice_from >= state.closing_watermark THEN
    UPDATE volt_internal.rollup_state SET watermark = greatest(state.watermark, state.closing_watermark);
    RETURN false;
  END IF;
  slice_to := least(slice_from + INTERVAL '1 hour', state.closing_watermark);

  INSERT INTO volt_internal.vehicle_hourly_rollup SELECT * FROM volt_internal.vehicle_hours(slice_from, slice_to);

  INSERT INTO volt_internal.meter_hourly_rollup SELECT * FROM volt_internal.meter_hours(slice_from, slice_to);

  UPDATE volt_internal.rollup_state SET watermark = slice_to;
  RETURN slice_to < state.closing_watermark;
END $$;
COMMENT ON FUNCTION volt_internal.rollup_advance() IS
  'Computes one closed hour into the roll-up tables and moves the watermark; false: nothing is left.';

-- A mark and its readings were committed together, and the readings are read after the marks: none is missed.
-- each device:
CREATE OR REPLACE FUNCTION volt_internal.rollup_recompute_{device}s(at_once integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state volt_internal.rollup_state := (SELECT s FROM volt_internal.rollup_state s);
  ids text[];
  hours timestamptz[];
BEGIN
  WITH taken AS (
    DELETE FROM volt_internal.{device}_rollup_dirty WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM volt_internal.{device}_rollup_dirty WHERE hour < state.watermark LIMIT at_once FOR UPDATE SKIP LOCKED))
    RETURNING {device}_id, hour
  ), wanted AS (
    SELECT DISTINCT {device}_id, hour FROM taken WHERE hour >= state.dropped_before ORDER BY {device}_id, hour
  )
  SELECT array_agg({device}_id), array_agg(hour) INTO ids, hours FROM wanted;
  IF ids IS NULL THEN
    RETURN 0;
  END IF;
  DELETE FROM volt_internal.{device}_hourly_rollup r USING unnest(ids, hours) AS late (late_id, late_hour)
  WHERE r.{device}_id = late_id AND r.hour = late_hour AND r.hour = ANY (hours);
  INSERT INTO volt_internal.{device}_hourly_rollup
  SELECT again.* FROM unnest(ids, hours) AS late (late_id, late_hour)
  CROSS JOIN LATERAL volt_internal.{device}_hours_of(late_id, late_hour, late_hour + INTERVAL '1 hour') AS again;
  RETURN cardinality(ids);
END $$;
COMMENT ON FUNCTION volt_internal.rollup_recompute_{device}s(integer) IS
  'Computes {device}-hours with late readings again, from at most so many marks; how many hours it was, 0: nothing is left.';

-- end
