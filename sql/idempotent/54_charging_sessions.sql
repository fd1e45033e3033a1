-- What: the charging sessions of one vehicle in a period, with what is known of each.
-- Why:  docs/sessions.md has the definition. Each is looked at from a time at which none can go on, so that it is the same
--       whatever period it is asked for. What is certainly kept is taken from there.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.session_at_meters(of_vehicle text, began_at timestamptz, ended_at timestamptz)
RETURNS tstzrange
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  standby_kw CONSTANT numeric := volt_internal.setting_number('efficiency_standby_kw');
  edge record;
  near record;
  cut_at timestamptz;
  first_at timestamptz := began_at;
  last_at timestamptz := ended_at;
BEGIN
  FOR edge IN
    SELECT l.meter_id, e.at, e.is_end
    FROM volt.vehicle_meter l
    JOIN (VALUES (began_at, false), (ended_at, true)) AS e (at, is_end) ON l.valid @> e.at
    WHERE l.vehicle_id = of_vehicle
  LOOP
    near := volt_internal.meter_readings_near(edge.meter_id, edge.at - 2 * quarter, edge.at + 2 * quarter);
    -- The step that the edge lies in, if the meter ran in it and stood by in the one beyond.
    SELECT CASE WHEN edge.is_end THEN s.at ELSE s.since END INTO cut_at
    FROM (
      SELECT p.*, CASE WHEN edge.is_end THEN lead(p.runs) OVER w ELSE lag(p.runs) OVER w END AS beyond
      FROM (
        SELECT r.at, lag(r.at) OVER v AS since,
          coalesce(r.shown_kwh::numeric - lag(r.shown_kwh::numeric) OVER v, r.kwh)
            > standby_kw * extract(epoch FROM r.at - lag(r.at) OVER v) / 3600 AS runs
        FROM unnest(near.ats, near.kwhs, near.registers) AS r (at, kwh, shown_kwh)
        WHERE r.kwh IS NOT NULL OR r.shown_kwh IS NOT NULL
        WINDOW v AS (ORDER BY r.at)
      ) p
      WINDOW w AS (ORDER BY p.at)
    ) s
    WHERE s.since < edge.at AND s.at > edge.at AND s.at - s.since <= quarter AND s.runs AND NOT s.beyond;
    IF edge.is_end THEN
      last_at := greatest(last_at, cut_at);
    ELSE
      first_at := least(first_at, cut_at);
    END IF;
  END LOOP;
  RETURN tstzrange(first_at, last_at);
END $$;
COMMENT ON FUNCTION volt_internal.session_at_meters(text, timestamptz, timestamptz) IS
  'A session from where to where its meters know of it: a step of up to 15 minutes that its begin or end cuts is all of the '
  'session''s, if the meter stood by before, or after it.';

CREATE OR REPLACE FUNCTION volt_internal.session_figures(
  of_vehicle text, began_at timestamptz, ended_at timestamptz, whole tstzrange,
  OUT kwh numeric, OUT dc_kwh numeric, OUT ac_kwh numeric, OUT comparable_dc_kwh numeric, OUT comparable_ac_kwh numeric,
  OUT efficiency_pct numeric, OUT efficiency_low_pct numeric, OUT efficiency_high_pct numeric, OUT quality text,
  OUT meter_id text, OUT source text, OUT ac_source text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  figures record;
  at_meters tstzrange;
BEGIN
  -- A session of one reading has no energy.
  IF ended_at <= began_at THEN
    quality := 'idle';
    RETURN;
  END IF;
  at_meters := volt_internal.session_at_meters(of_vehicle, began_at, ended_at);
  whole := range_merge(whole, at_meters);
  SELECT * INTO figures FROM volt_internal.vehicle_periods(of_vehicle, ARRAY[lower(whole)], ARRAY[upper(whole)], false);
  dc_kwh := figures.dc_kwh; ac_kwh := figures.ac_kwh; comparable_dc_kwh := figures.comparable_dc_kwh;
  comparable_ac_kwh := figures.comparable_ac_kwh; efficiency_pct := figures.efficiency_pct;
  efficiency_low_pct := figures.efficiency_low_pct; efficiency_high_pct := figures.efficiency_high_pct;
  quality := figures.quality; meter_id := figures.meter_id; source := figures.source; kwh := figures.ac_kwh;
  IF whole <> at_meters THEN
    SELECT p.ac_kwh, p.meter_id, p.source INTO kwh, meter_id, source
    FROM volt_internal.vehicle_periods(of_vehicle, ARRAY[lower(at_meters)], ARRAY[upper(at_meters)], false) p;
  END IF;
  IF source = 'onboard' THEN
    ac_source := 'register';  -- it has no other
  ELSIF kwh IS NOT NULL THEN
    ac_source := (
      SELECT CASE count(DISTINCT q.source) WHEN 1 THEN min(q.source) ELSE 'both' END
      FROM volt.vehicle_meter l
      CROSS JOIN LATERAL volt_internal.meter_quarters_of(
        l.meter_id, greatest(lower(l.valid), began_at), least(upper(l.valid), ended_at), false) q
      WHERE l.vehicle_id = of_vehicle AND l.valid && tstzrange(began_at, ended_at)
        AND l.meter_id = ANY (string_to_array(session_figures.meter_id, ', ')) AND q.source IS NOT NULL
      HAVING count(q.source) > 0);
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.session_figures(text, timestamptz, timestamptz, tstzrange) IS
  'Energy (kWh) and efficiency (%) of one session: AC from its first to its last sign of charging, DC and efficiency of the '
  'stretch within which its energy is known.';

CREATE OR REPLACE FUNCTION volt_internal.session_ends(
  of_vehicle text, began_at timestamptz, ended_at timestamptz, whole tstzrange,
  OUT soc_start_pct double precision, OUT soc_end_pct double precision, OUT odometer_start_km double precision,
  OUT odometer_end_km double precision, OUT power_max_kw double precision, OUT battery_temp_max_c double precision,
  OUT latitude double precision, OUT longitude double precision
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  first_at CONSTANT timestamptz := least(lower(whole), began_at) - INTERVAL '1 hour';
  last_at CONSTANT timestamptz := greatest(upper(whole), ended_at) + INTERVAL '1 hour';
BEGIN
  WITH reading AS MATERIALIZED (
    SELECT v.recorded_at AS at, v.soc_pct, v.odometer_km, v.charging_power_kw, v.battery_temp_c,
      CASE WHEN v.longitude IS NOT NULL THEN v.latitude END AS latitude,
      CASE WHEN v.latitude IS NOT NULL THEN v.longitude END AS longitude,
      v.recorded_at >= began_at AND v.recorded_at <= ended_at AS inside, coalesce(v.speed_kmh > 5, false) AS moves
    FROM volt.vehicle_reading v
    WHERE v.vehicle_id = of_vehicle AND v.recorded_at >= first_at AND v.recorded_at <= last_at
  ), near AS (
    -- A value belongs to the session unless the vehicle has moved in between.
    SELECT r.*, r.at <= began_at AND r.at >= coalesce((SELECT max(m.at) FROM reading m WHERE m.moves AND m.at < began_at), '-infinity')
        AS before,
      r.at >= ended_at AND r.at < coalesce((SELECT min(m.at) FROM reading m WHERE m.moves AND m.at > ended_at), 'infinity')
        AS behind
    FROM reading r
  )
  SELECT
    coalesce((array_agg(r.soc_pct ORDER BY r.at DESC) FILTER (WHERE r.before AND r.soc_pct IS NOT NULL))[1],
      (array_agg(r.soc_pct ORDER BY r.at) FILTER (WHERE r.inside AND r.soc_pct IS NOT NULL))[1]),
    coalesce((array_agg(r.soc_pct ORDER BY r.at) FILTER (WHERE r.behind AND r.soc_pct IS NOT NULL))[1],
      (array_agg(r.soc_pct ORDER BY r.at DESC) FILTER (WHERE r.inside AND r.soc_pct IS NOT NULL))[1]),
    coalesce((array_agg(r.odometer_km ORDER BY r.at DESC) FILTER (WHERE r.before AND r.odometer_km IS NOT NULL))[1],
      (array_agg(r.odometer_km ORDER BY r.at) FILTER (WHERE r.inside AND r.odometer_km IS NOT NULL))[1]),
    coalesce((array_agg(r.odometer_km ORDER BY r.at) FILTER (WHERE r.behind AND r.odometer_km IS NOT NULL))[1],
      (array_agg(r.odometer_km ORDER BY r.at DESC) FILTER (WHERE r.inside AND r.odometer_km IS NOT NULL))[1]),
    max(r.charging_power_kw) FILTER (WHERE r.inside AND r.charging_power_kw > 0),
    max(r.battery_temp_c) FILTER (WHERE r.inside),
    coalesce((array_agg(r.latitude ORDER BY r.at) FILTER (WHERE r.inside AND NOT r.moves AND r.latitude IS NOT NULL))[1],
      (array_agg(r.latitude ORDER BY r.at DESC) FILTER (WHERE r.before AND r.latitude IS NOT NULL))[1]),
    coalesce((array_agg(r.longitude ORDER BY r.at) FILTER (WHERE r.inside AND NOT r.moves AND r.longitude IS NOT NULL))[1],
      (array_agg(r.longitude ORDER BY r.at DESC) FILTER (WHERE r.before AND r.longitude IS NOT NULL))[1])
  INTO soc_start_pct, soc_end_pct, odometer_start_km, odometer_end_km, power_max_kw, battery_temp_max_c, latitude, longitude
  FROM near r;
END $$;
COMMENT ON FUNCTION volt_internal.session_ends(text, timestamptz, timestamptz, tstzrange) IS
  'State of charge, odometer and place of a vehicle at the ends of a session: the newest value before it and the first behind '
  'it, within an hour of what is known of it and unless the vehicle has moved in between, or else the first and the last one '
  'within; and the highest values within.';

CREATE OR REPLACE FUNCTION volt_internal.sessions_from_raw(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS SETOF volt_internal.charging_session
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  day CONSTANT interval := INTERVAL '1 day';
  looked_from CONSTANT timestamptz := volt_internal.session_break(of_vehicle, from_at, true) - day;
  looked_to CONSTANT timestamptz := volt_internal.session_break(of_vehicle, to_at, false) + day;
  spans record;
  figures record;
  ends record;
  one volt_internal.charging_session;
BEGIN
  FOR spans IN
    SELECT s.* FROM volt_internal.session_spans(of_vehicle, looked_from, looked_to) s
    WHERE s.began_at < to_at AND (s.ended_at > from_at OR s.began_at >= from_at OR s.is_open)
    ORDER BY s.began_at
  LOOP
    figures := volt_internal.session_figures(of_vehicle, spans.began_at, spans.ended_at, spans.whole);
    ends := volt_internal.session_ends(of_vehicle, spans.began_at, spans.ended_at, spans.whole);
    one.vehicle_id := of_vehicle;
    one.fleet_id := (SELECT m.fleet_id FROM volt.fleet_membership m WHERE m.vehicle_id = of_vehicle AND m.valid @> spans.began_at);
    one.meter_id := figures.meter_id;
    one.source := figures.source;
    one.start_date_time := spans.began_at;
    one.end_date_time := CASE WHEN NOT spans.is_open THEN spans.ended_at END;
    one.status := CASE WHEN spans.is_open THEN 'ACTIVE' ELSE 'COMPLETED' END;
    one.kwh := figures.kwh;
    one.dc_kwh := figures.dc_kwh;
    one.ac_kwh := figures.ac_kwh;
    one.comparable_dc_kwh := figures.comparable_dc_kwh;
    one.comparable_ac_kwh := figures.comparable_ac_kwh;
    one.efficiency_pct := figures.efficiency_pct;
    one.efficiency_low_pct := figures.efficiency_low_pct;
    one.efficiency_high_pct := figures.efficiency_high_pct;
    one.quality := figures.quality;
    one.dc_source := spans.dc_source;
    one.ac_source := figures.ac_source;
    one.last_charging_at := spans.ended_at;
    one.duration_s := extract(epoch FROM spans.ended_at - spans.began_at);
    one.charging_s := spans.charging_s;
    one.soc_start_pct := ends.soc_start_pct;
    one.soc_end_pct := ends.soc_end_pct;
    one.odometer_start_km := ends.odometer_start_km;
    one.odometer_end_km := ends.odometer_end_km;
    one.power_max_kw := coalesce(ends.power_max_kw::numeric, round(spans.peak_kw, 3));
    one.battery_temp_max_c := ends.battery_temp_max_c;
    one.latitude := ends.latitude;
    one.longitude := ends.longitude;
    one.found_by := spans.found_by;
    one.estimated := spans.estimated;
    RETURN NEXT one;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt_internal.sessions_from_raw(text, timestamptz, timestamptz) IS
  'volt.charging_sessions from raw readings alone, without ids and changed_at.';

CREATE OR REPLACE FUNCTION volt_internal.sessions_kept_until(of_vehicle text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH beside AS (
    SELECT l.meter_id, o.vehicle_id
    FROM volt.vehicle_meter l JOIN volt.vehicle_meter o ON o.meter_id = l.meter_id
    WHERE l.vehicle_id = of_vehicle
    UNION ALL
    SELECT NULL, of_vehicle
  )
  -- Two hours: what is on its way when a session ends has been looked at by then.
  SELECT s.looked_at - INTERVAL '2 hours'
  FROM volt_internal.session_state s
  WHERE EXISTS (SELECT FROM volt_internal.session_look l WHERE l.vehicle_id = of_vehicle)
    AND NOT EXISTS (SELECT FROM volt_internal.session_dirty d WHERE d.vehicle_id = of_vehicle AND d.due_at <= now())
    AND NOT EXISTS (
      SELECT FROM volt_internal.energy_dirty d
      JOIN beside b ON d.device_id = CASE WHEN d.device_type = 'meter' THEN b.meter_id ELSE b.vehicle_id END)
    AND NOT EXISTS (SELECT FROM volt_internal.vehicle_rollup_dirty d WHERE d.vehicle_id IN (SELECT b.vehicle_id FROM beside b))
    AND NOT EXISTS (SELECT FROM volt_internal.meter_rollup_dirty d WHERE d.meter_id IN (SELECT b.meter_id FROM beside b));
END;
COMMENT ON FUNCTION volt_internal.sessions_kept_until(text) IS
  'Until when the kept sessions of a vehicle are certainly those of its readings; NULL: not at all, something is marked.';

CREATE OR REPLACE FUNCTION volt.charging_sessions(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  vehicle_id text, fleet_id text, meter_id text, source text, start_date_time timestamptz, end_date_time timestamptz, status text,
  kwh numeric, dc_kwh numeric, ac_kwh numeric, comparable_dc_kwh numeric, comparable_ac_kwh numeric, efficiency_pct numeric,
  efficiency_low_pct numeric, efficiency_high_pct numeric, quality text, dc_source text, ac_source text,
  last_charging_at timestamptz, duration_s numeric, charging_s numeric, soc_start_pct double precision,
  soc_end_pct double precision, odometer_start_km double precision, odometer_end_km double precision,
  power_max_kw numeric, battery_temp_max_c double precision, latitude double precision, longitude double precision,
  found_by text, estimated boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
  kept_until CONSTANT timestamptz := coalesce(volt_internal.sessions_kept_until(of_vehicle), '-infinity');
  recent volt_internal.charging_session[];
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  IF to_at > kept_until THEN
    recent := ARRAY(SELECT s FROM volt_internal.sessions_from_raw(of_vehicle, greatest(from_at, kept_until), to_at) s);
  END IF;
  RETURN QUERY
  SELECT s.vehicle_id, s.fleet_id, s.meter_id, s.source, s.start_date_time, s.end_date_time, s.status, s.kwh,
    s.dc_kwh, s.ac_kwh, s.comparable_dc_kwh, s.comparable_ac_kwh, s.efficiency_pct, s.efficiency_low_pct,
    s.efficiency_high_pct, s.quality, s.dc_source, s.ac_source, s.last_charging_at, s.duration_s, s.charging_s,
    s.soc_start_pct, s.soc_end_pct, s.odometer_start_km, s.odometer_end_km, s.power_max_kw, s.battery_temp_max_c,
    s.latitude, s.longitude, s.found_by, s.estimated
  FROM (
    SELECT * FROM unnest(recent)
    UNION ALL
    SELECT k.* FROM volt_internal.charging_session k
    WHERE k.vehicle_id = of_vehicle AND k.start_date_time < to_at AND k.last_charging_at <= kept_until
      AND k.status = 'COMPLETED' AND (k.last_charging_at > from_at OR k.start_date_time >= from_at)
      AND NOT EXISTS (SELECT FROM unnest(recent) AS r WHERE r.start_date_time <= k.last_charging_at)
  ) s
  ORDER BY s.start_date_time;
END $$;
COMMENT ON FUNCTION volt.charging_sessions(text, timestamptz, timestamptz) IS
  'The charging sessions of one vehicle that overlap [from, to), each with its whole extent, from its readings, those of its '
  'meters and the registry; docs/sessions.md says what a session is. end_date_time: NULL while it may go on (ACTIVE). '
  'kwh: AC energy of the linked meters in the session, its share where others were fed too, or of the vehicle''s own charger '
  'where none is linked (source); NULL: nothing measured it.';
