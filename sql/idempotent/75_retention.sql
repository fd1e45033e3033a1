-- What: drops what is older than the settings say.
-- Why:  the scheduler calls this on both editions: TimescaleDB's own retention does not wait for the kept energy. It ages
--       dead letters and episodes of alerts, too. Two days of margin: raw readings are dropped only when no hour can need
--       them any more. SECURITY DEFINER because the daemon's role may not delete.
-- Lock: ACCESS EXCLUSIVE on the chunks that are dropped; ROW EXCLUSIVE on dead_letter, alert and alert_delivery.

CREATE OR REPLACE FUNCTION volt_internal.drop_chunks_before(older_than timestamptz) RETURNS integer
LANGUAGE sql VOLATILE
BEGIN ATOMIC
  SELECT count(*)::int
  FROM (VALUES ('volt.vehicle_reading'::regclass), ('volt.meter_reading'::regclass)) AS raw (name),
    LATERAL drop_chunks(raw.name, drop_chunks_before.older_than);
END;
COMMENT ON FUNCTION volt_internal.drop_chunks_before(timestamptz) IS
  'Drops chunks of raw readings that end before a time, with the rights of who calls it; how many.';

CREATE OR REPLACE FUNCTION volt_internal.drop_old_readings() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  older_than timestamptz := date_trunc(
    'day', now() - make_interval(days => volt_internal.setting_number('raw_retention_days')::int + 2), 'UTC');
  dropped integer;
BEGIN
  -- Only what is in the kept energy, and in the roll-ups where voltd keeps these, too.
  SELECT least(older_than, energy_watermark, CASE WHEN volt_internal.is_apache() THEN watermark END) INTO older_than
  FROM volt_internal.rollup_state;
  IF older_than = '-infinity' THEN
    RETURN 0;
  END IF;
  dropped := volt_internal.drop_chunks_before(older_than);
  IF dropped > 0 THEN
    -- Earlier hours cannot be computed again. Where nothing was dropped, older readings may still arrive and count.
    UPDATE volt_internal.rollup_state SET dropped_before = greatest(dropped_before, older_than);
  END IF;
  RETURN dropped;
END $$;
COMMENT ON FUNCTION volt_internal.drop_old_readings() IS
  'Drops chunks of raw readings older than raw_retention_days and two days more, once their energy is kept; how many.';

CREATE OR REPLACE FUNCTION volt_internal.drop_old_dead_letters(at_most integer) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH gone AS (
    DELETE FROM volt.dead_letter WHERE id IN (
      SELECT id FROM volt.dead_letter
      WHERE received_at < now() - make_interval(days => volt_internal.setting_number('dead_letter_days')::int)
      ORDER BY received_at LIMIT at_most)
    RETURNING 1
  )
  SELECT count(*)::int FROM gone
$$;
COMMENT ON FUNCTION volt_internal.drop_old_dead_letters(integer) IS
  'Deletes dead letters older than dead_letter_days, the oldest first, at most so many; how many.';

CREATE OR REPLACE FUNCTION volt_internal.drop_old_alerts(at_most integer) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH gone AS (
    DELETE FROM volt.alert WHERE alert_id IN (
      SELECT alert_id FROM volt.alert a
      -- An episode does not end before it begins, so the index on opened_at finds them.
      WHERE resolved_at < now() - make_interval(days => volt_internal.setting_number('alert_days')::int)
        AND opened_at < now() - make_interval(days => volt_internal.setting_number('alert_days')::int)
        AND NOT EXISTS (SELECT FROM volt_internal.alert_state s WHERE s.alert_id = a.alert_id)
      ORDER BY opened_at LIMIT at_most)
    RETURNING 1
  )
  SELECT count(*)::int FROM gone
$$;
COMMENT ON FUNCTION volt_internal.drop_old_alerts(integer) IS
  'Deletes episodes of alerts that ended more than alert_days ago, with their deliveries, the oldest first, at most so '
  'many; how many.';

CREATE OR REPLACE FUNCTION volt_internal.drop_past_alerts(ids bigint[]) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH gone AS (
    DELETE FROM volt.alert a
    WHERE a.alert_id = ANY (ids) AND a.past AND NOT EXISTS (SELECT FROM volt.alert_delivery d WHERE d.alert_id = a.alert_id)
    RETURNING 1
  )
  SELECT count(*)::int FROM gone
$$;
COMMENT ON FUNCTION volt_internal.drop_past_alerts(bigint[]) IS
  'Deletes these late episodes, which readings that arrived later have disproved; how many. Nobody was notified of them.';

CREATE OR REPLACE FUNCTION volt_internal.raise_raw_retention(at_least_days integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF volt_internal.setting_number('raw_retention_days') >= at_least_days THEN
    RETURN false;
  END IF;
  UPDATE volt_internal.setting SET value = at_least_days, updated_at = now() WHERE name = 'raw_retention_days';
  IF to_regprocedure('volt_internal.apply_policies()') IS NOT NULL THEN
    EXECUTE 'SELECT volt_internal.apply_policies()';
  END IF;
  RETURN true;
END $$;
COMMENT ON FUNCTION volt_internal.raise_raw_retention(integer) IS
  'Raises the retention of raw readings to so many days, never lowers it; whether it was lower. For a daemon that '
  'takes older readings than the database stores.';
