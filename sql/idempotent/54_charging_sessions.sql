-- What: the charging sessions of one vehicle in a period, with what is known of each.
-- Why:  docs/sessions.md has the definition. Each is looked at from a time at which none can go on, so that it is the same
--       whatever period it is asked for.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.session_figures(
  of_vehicle text, began_at timestamptz, ended_at timestamptz, whole tstzrange,
  OUT kwh numeric, OUT dc_kwh numeric, OUT ac_kwh numeric, OUT comparable_dc_kwh numeric, OUT comparable_ac_kwh numeric,
  OUT efficiency_pct numeric, OUT efficiency_low_pct numeric, OUT efficiency_high_pct numeric, OUT quality text,
  OUT meter_id text, OUT ac_source text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  figures record;
BEGIN
  -- A session of one reading has no energy.
  IF ended_at <= began_at THEN
    quality := 'idle';
    RETURN;
  END IF;
  SELECT * INTO figures FROM volt_internal.vehicle_periods(of_vehicle, ARRAY[lower(whole)], ARRAY[upper(whole)], false);
  dc_kwh := figures.dc_kwh; ac_kwh := figures.ac_kwh; comparable_dc_kwh := figures.comparable_dc_kwh;
  comparable_ac_kwh := figures.comparable_ac_kwh; efficiency_pct := figures.efficiency_pct;
  efficiency_low_pct := figures.efficiency_low_pct; efficiency_high_pct := figures.efficiency_high_pct;
  quality := figures.quality; meter_id := figures.meter_id; kwh := figures.ac_kwh;
  IF whole <> tstzrange(began_at, ended_at) THEN
    SELECT p.ac_kwh, p.meter_id INTO kwh, meter_id
    FROM volt_internal.vehicle_periods(of_vehicle, ARRAY[began_at], ARRAY[ended_at], false) p;
  END IF;
  IF kwh IS NOT NULL THEN
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

CREATE OR REPLACE FUNCTION volt.charging_sessions(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  vehicle_id text, fleet_id text, meter_id text, start_date_time timestamptz, end_date_time timestamptz, status text,
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
  day CONSTANT interval := INTERVAL '1 day';
  looked_from timestamptz;
  looked_to timestamptz;
  spans record;
  figures record;
  ends record;
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  looked_from := volt_internal.session_break(of_vehicle, from_at, true) - day;
  looked_to := volt_internal.session_break(of_vehicle, to_at, false) + day;
  FOR spans IN
    SELECT s.* FROM volt_internal.session_spans(of_vehicle, looked_from, looked_to) s
    WHERE s.began_at < to_at AND (s.ended_at > from_at OR s.began_at >= from_at OR s.is_open)
    ORDER BY s.began_at
  LOOP
    figures := volt_internal.session_figures(of_vehicle, spans.began_at, spans.ended_at, spans.whole);
    ends := volt_internal.session_ends(of_vehicle, spans.began_at, spans.ended_at, spans.whole);
    vehicle_id := of_vehicle;
    fleet_id := (SELECT m.fleet_id FROM volt.fleet_membership m WHERE m.vehicle_id = of_vehicle AND m.valid @> spans.began_at);
    meter_id := figures.meter_id;
    start_date_time := spans.began_at;
    end_date_time := CASE WHEN NOT spans.is_open THEN spans.ended_at END;
    status := CASE WHEN spans.is_open THEN 'ACTIVE' ELSE 'COMPLETED' END;
    kwh := figures.kwh; dc_kwh := figures.dc_kwh; ac_kwh := figures.ac_kwh;
    comparable_dc_kwh := figures.comparable_dc_kwh; comparable_ac_kwh := figures.comparable_ac_kwh;
    efficiency_pct := figures.efficiency_pct; efficiency_low_pct := figures.efficiency_low_pct;
    efficiency_high_pct := figures.efficiency_high_pct; quality := figures.quality;
    dc_source := spans.dc_source; ac_source := figures.ac_source;
    last_charging_at := spans.ended_at;
    duration_s := extract(epoch FROM spans.ended_at - spans.began_at);
    charging_s := spans.charging_s;
    soc_start_pct := ends.soc_start_pct; soc_end_pct := ends.soc_end_pct;
    odometer_start_km := ends.odometer_start_km; odometer_end_km := ends.odometer_end_km;
    power_max_kw := coalesce(ends.power_max_kw::numeric, round(spans.peak_kw, 3));
    battery_temp_max_c := ends.battery_temp_max_c;
    latitude := ends.latitude; longitude := ends.longitude;
    found_by := spans.found_by; estimated := spans.estimated;
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt.charging_sessions(text, timestamptz, timestamptz) IS
  'The charging sessions of one vehicle that overlap [from, to), each with its whole extent, from its readings, those of its '
  'meters and the registry; docs/sessions.md says what a session is. end_date_time: NULL while it may go on (ACTIVE). '
  'kwh: AC energy of the linked meters in the session, its share where others were fed too; NULL: no meter measured.';
