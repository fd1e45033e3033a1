-- What: keeps the charging sessions of vehicles with marks as volt.charging_sessions finds them.
-- Why:  the sessions around a period are found anew and compared with those that are kept; one that is still there keeps its
--       id. All of a vehicle's rows change in one transaction, so a kill leaves no session twice.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

CREATE OR REPLACE FUNCTION volt_internal.keep_sessions_of(of_vehicle text, from_at timestamptz, to_at timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  around CONSTANT interval := INTERVAL '1 hour';  -- what comes late may matter as far as this
  pause CONSTANT interval := make_interval(secs => volt_internal.setting_number('sessions_pause_s')::double precision);
  -- Of what has lost its raw readings nothing is found any more.
  not_before CONSTANT timestamptz := (SELECT s.dropped_before FROM volt_internal.rollup_state s) + INTERVAL '1 day';
  looked_from timestamptz;
  looked_to timestamptz;
  fresh volt_internal.charging_session[];
  replaced volt_internal.charging_session[];
  changes integer;
  newest volt_internal.charging_session;
BEGIN
  SELECT least(from_at - around, min(k.start_date_time)), greatest(to_at + around, max(k.last_charging_at))
  INTO looked_from, looked_to
  FROM volt_internal.charging_session k
  WHERE k.vehicle_id = of_vehicle AND k.start_date_time <= to_at + around
    AND (k.last_charging_at >= from_at - around OR k.status = 'ACTIVE');
  looked_from := greatest(looked_from, not_before);
  looked_to := least(looked_to, looked_from + INTERVAL '366 days');
  IF looked_from >= looked_to THEN
    RETURN 0;
  END IF;
  fresh := ARRAY(
    SELECT s FROM volt_internal.sessions_from_raw(of_vehicle, looked_from, looked_to) s WHERE s.start_date_time >= not_before);
  replaced := ARRAY(
    SELECT k FROM volt_internal.charging_session k
    WHERE k.vehicle_id = of_vehicle AND k.start_date_time >= not_before
      AND (k.start_date_time <= looked_to AND (k.last_charging_at >= looked_from OR k.status = 'ACTIVE')
        OR EXISTS (SELECT FROM unnest(fresh) AS f WHERE f.start_date_time <= k.last_charging_at AND f.last_charging_at >= k.start_date_time))
    ORDER BY k.start_date_time FOR UPDATE);

  -- The id stays with the session that has most of the time of the one before.
  fresh := ARRAY(
    WITH pair AS (
      SELECT f.start_date_time AS fresh_at, k.session_id,
        row_number() OVER (PARTITION BY f.start_date_time ORDER BY c.common DESC, k.start_date_time) AS of_fresh,
        row_number() OVER (PARTITION BY k.session_id ORDER BY c.common DESC, f.start_date_time) AS of_kept
      FROM unnest(fresh) AS f
      JOIN unnest(replaced) AS k ON f.start_date_time <= k.last_charging_at AND f.last_charging_at >= k.start_date_time
      CROSS JOIN LATERAL (
        SELECT least(f.last_charging_at, k.last_charging_at) - greatest(f.start_date_time, k.start_date_time) AS common) c
    )
    SELECT (jsonb_populate_record(f, jsonb_build_object('changed_at', now(), 'session_id', coalesce(p.session_id, i.id || CASE WHEN EXISTS (
        SELECT FROM pair q WHERE q.session_id = i.id
        UNION ALL SELECT FROM volt_internal.charging_session o
        WHERE o.session_id = i.id AND o.vehicle_id = of_vehicle
          AND NOT EXISTS (SELECT FROM unnest(replaced) AS r WHERE r.session_id = o.session_id)
      ) THEN '-' || extract(epoch FROM now())::bigint ELSE '' END))))
    FROM unnest(fresh) AS f
    LEFT JOIN pair p ON p.fresh_at = f.start_date_time AND p.of_fresh = 1 AND p.of_kept = 1
    CROSS JOIN LATERAL (
      SELECT of_vehicle || '/' || to_char(f.start_date_time AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') AS id) i
    ORDER BY f.start_date_time);

  DELETE FROM volt_internal.charging_session k
  USING unnest(replaced) AS r
  WHERE k.vehicle_id = of_vehicle AND k.start_date_time = r.start_date_time
    AND NOT EXISTS (SELECT FROM unnest(fresh) AS f WHERE to_jsonb(f) - 'changed_at' = to_jsonb(r) - 'changed_at');
  INSERT INTO volt_internal.charging_session
  SELECT f.* FROM unnest(fresh) AS f
  WHERE NOT EXISTS (SELECT FROM unnest(replaced) AS r WHERE to_jsonb(f) - 'changed_at' = to_jsonb(r) - 'changed_at');
  GET DIAGNOSTICS changes = ROW_COUNT;

  newest := fresh[cardinality(fresh)];
  UPDATE volt_internal.session_look l SET looked_at = now(), due_at = CASE WHEN newest.status = 'ACTIVE' THEN least(
      now() + least(greatest(make_interval(secs => newest.duration_s::double precision), INTERVAL '1 minute'), INTERVAL '30 minutes'),
      CASE WHEN newest.last_charging_at + pause > now() THEN newest.last_charging_at + pause + INTERVAL '1 second' END) END
  WHERE l.vehicle_id = of_vehicle;
  -- What is on its way when a session ends: the last energy of its meter, and readings that are some minutes late.
  IF changes > 0 THEN
    INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at, due_at)
    SELECT of_vehicle, f.start_date_time, f.end_date_time, l.due_at
    FROM unnest(fresh) AS f
    CROSS JOIN LATERAL unnest(ARRAY[INTERVAL '3 minutes', INTERVAL '45 minutes']) AS w (later)
    CROSS JOIN LATERAL (SELECT f.end_date_time + w.later AS due_at) l
    WHERE l.due_at > now();
  END IF;
  RETURN changes;
END $$;
COMMENT ON FUNCTION volt_internal.keep_sessions_of(text, timestamptz, timestamptz) IS
  'Finds the sessions of one vehicle around a period anew, and keeps them; how many are new or have changed.';

CREATE OR REPLACE FUNCTION volt_internal.keep_sessions(at_once integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $$
DECLARE
  around CONSTANT interval := INTERVAL '1 hour';
  marked record;
  marks integer := 0;
BEGIN
  FOR marked IN
    WITH chosen AS (
      -- The newest marks first: what happens now does not wait for what a changed setting has marked of the past.
      SELECT d.vehicle_id FROM volt_internal.session_dirty d WHERE d.due_at <= now() ORDER BY d.due_at DESC LIMIT at_once
    ), taken AS (
      DELETE FROM volt_internal.session_dirty d
      WHERE d.due_at <= now() AND d.vehicle_id IN (SELECT c.vehicle_id FROM chosen c)
      RETURNING d.*
    ), relevant AS (
      -- Where only energy has changed: it matters to sessions, and where there was some.
      SELECT t.*, NOT t.figures
        OR EXISTS (
          SELECT FROM volt_internal.charging_session k
          WHERE k.vehicle_id = t.vehicle_id AND k.start_date_time <= t.to_at + around
            AND (k.last_charging_at >= t.from_at - around OR k.status = 'ACTIVE'))
        OR EXISTS (
          SELECT FROM volt_internal.vehicle_quarter q
          WHERE q.vehicle_id = t.vehicle_id AND q.quarter_hour >= t.from_at - around AND q.quarter_hour < t.to_at
            AND q.kwh > 0 AND NOT q.moved) AS matters
      FROM taken t
    )
    SELECT r.vehicle_id, count(*) AS marks, range_agg(tstzrange(r.from_at, r.to_at + around)) FILTER (WHERE r.matters) AS during
    FROM relevant r GROUP BY r.vehicle_id
  LOOP
    marks := marks + marked.marks;
    PERFORM volt_internal.keep_sessions_of(marked.vehicle_id, lower(d), upper(d) - around)
    FROM unnest(marked.during) AS d;
  END LOOP;
  RETURN marks;
END $$;
COMMENT ON FUNCTION volt_internal.keep_sessions(integer) IS
  'Looks for sessions where that is marked and due, of at most so many vehicles; how many marks it took, 0: none is due.';

CREATE OR REPLACE VIEW volt.charging_session AS
SELECT
  k.session_id, k.vehicle_id, k.fleet_id, k.meter_id, k.source, k.start_date_time, k.end_date_time, k.status, k.kwh, k.dc_kwh, k.ac_kwh,
  k.comparable_dc_kwh, k.comparable_ac_kwh, k.efficiency_pct, k.efficiency_low_pct, k.efficiency_high_pct, k.quality,
  k.dc_source, k.ac_source, k.last_charging_at, k.duration_s, k.charging_s, k.soc_start_pct, k.soc_end_pct,
  k.odometer_start_km, k.odometer_end_km, k.power_max_kw, k.battery_temp_max_c, k.latitude, k.longitude, k.found_by,
  k.estimated, k.changed_at
FROM volt_internal.charging_session k;
