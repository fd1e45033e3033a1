-- What: charging efficiency of one vehicle over periods of any length: what may be compared, and the rest.
-- Why:  DC and AC may be compared only where both were measured and the energy went into this vehicle. What flowed in a
--       gap of a register counts only in a period that contains the gap whole.
-- Lock: none on data.

-- Of earlier versions.
DROP FUNCTION IF EXISTS volt_internal.vehicle_periods(text, timestamptz[], timestamptz[]);
DROP FUNCTION IF EXISTS volt_internal.vehicle_sides(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS volt_internal.standby_limit_kwh(numeric);

CREATE OR REPLACE FUNCTION volt_internal.vehicle_moved(of_vehicle text, from_at timestamptz, to_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at AND r.recorded_at < to_at AND r.speed_kmh > 5);
END $$;
COMMENT ON FUNCTION volt_internal.vehicle_moved(text, timestamptz, timestamptz) IS 'Whether a vehicle was faster than 5 km/h.';

CREATE OR REPLACE FUNCTION volt_internal.vehicle_sides(of_vehicle text, from_at timestamptz, to_at timestamptz, from_raw boolean)
RETURNS TABLE (
  quarter_hour timestamptz, length_s numeric, moved boolean,
  dc_kwh numeric, dc_covered_s numeric, dc_gap_s numeric, dc_low_kwh numeric, dc_high_kwh numeric, dc_peak_kw numeric,
  dc_gaps tstzrange[], dc_suspect boolean,
  meter_id text, ac_kwh numeric, ac_covered_s numeric, ac_gap_s numeric, ac_low_kwh numeric, ac_high_kwh numeric,
  ac_peak_kw numeric, ac_gaps tstzrange[], ac_suspect boolean, others_kwh numeric, linked_s numeric, link_cuts boolean,
  source text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
  standby_kw CONSTANT numeric := volt_internal.setting_number('efficiency_standby_kw');
BEGIN
  RETURN QUERY
  WITH dc AS (
    SELECT of_vehicle AS vehicle_id, q.* FROM volt_internal.vehicle_quarters_of(of_vehicle, from_at, to_at, from_raw) q
  ), link AS (
    SELECT l.meter_id, l.valid * tstzrange(from_at, to_at) AS valid,
      (SELECT range_agg(a.valid) FROM volt.vehicle_meter a WHERE a.vehicle_id = of_vehicle AND a.meter_id = l.meter_id) AS always
    FROM volt.vehicle_meter l
    WHERE l.vehicle_id = of_vehicle AND l.valid && tstzrange(from_at, to_at)
  ), unlinked AS (
    SELECT w.free, unnest(w.free * tstzmultirange(tstzrange(from_at, to_at))) AS valid
    FROM (
      SELECT volt_internal.time_without_meter(of_vehicle) AS free
      WHERE EXISTS (SELECT FROM volt.vehicle_current c WHERE c.vehicle_id = of_vehicle AND c.ac_register_at IS NOT NULL)
    ) w
  ), ac AS (
    SELECT of_vehicle AS vehicle_id, l.meter_id, q.*, q.length_s AS linked_s,
      q.gaps IS NOT NULL AND EXISTS (SELECT FROM unnest(q.gaps) AS g WHERE NOT g <@ l.always) AS is_cut
    FROM link l CROSS JOIN LATERAL volt_internal.meter_quarters_of(l.meter_id, lower(l.valid), upper(l.valid), from_raw) q
    UNION ALL
    SELECT of_vehicle, NULL, q.*, q.length_s, q.gaps IS NOT NULL AND EXISTS (SELECT FROM unnest(q.gaps) AS g WHERE NOT g <@ u.free)
    FROM unlinked u CROSS JOIN LATERAL volt_internal.onboard_quarters_of(of_vehicle, lower(u.valid), upper(u.valid), from_raw) q
  ), other AS (
    -- Vehicles that took energy from the same meter in the same quarter hour.
    SELECT of_vehicle AS vehicle_id, l.meter_id, q.quarter_hour, sum(q.kwh) AS kwh
    FROM link l
    JOIN volt.vehicle_meter o ON o.meter_id = l.meter_id AND o.vehicle_id <> of_vehicle AND o.valid && l.valid
    CROSS JOIN LATERAL volt_internal.vehicle_quarters_of(
      o.vehicle_id, lower(o.valid * l.valid), upper(o.valid * l.valid), from_raw) q
    WHERE q.kwh > 0 AND NOT CASE WHEN q.length_s = 900 THEN q.moved
      ELSE volt_internal.vehicle_moved(o.vehicle_id, q.quarter_hour, q.quarter_hour + INTERVAL '15 minutes') END
    GROUP BY l.meter_id, q.quarter_hour
  ),
  -- include: both_sides.sql
  SELECT
    s.quarter_hour,
    extract(epoch FROM least(s.quarter_hour + INTERVAL '15 minutes', to_at) - greatest(s.quarter_hour, from_at)),
    s.moved, s.dc_kwh, s.dc_covered_s, s.dc_gap_s, s.dc_low_kwh, s.dc_high_kwh, s.dc_peak_kw, s.dc_gaps, s.dc_suspect,
    s.meter_id, s.ac_kwh, s.ac_covered_s, s.ac_gap_s, s.ac_low_kwh, s.ac_high_kwh, s.ac_peak_kw, s.ac_gaps, s.ac_suspect,
    s.others_kwh, s.linked_s, s.link_cuts, s.source
  FROM both_sides s;
END $$;
COMMENT ON FUNCTION volt_internal.vehicle_sides(text, timestamptz, timestamptz, boolean) IS
  'Both sides of one vehicle''s charging by quarter hour: DC of the vehicle, AC of the meter that fed it while the link was '
  'valid (its share, where other vehicles took energy from the same meter), or, in quarter hours that no link touches, of its '
  'on-board charger; named as in vehicle_energy_quarters.';

CREATE OR REPLACE FUNCTION volt_internal.vehicle_periods(
  of_vehicle text, starts timestamptz[], ends timestamptz[], from_raw boolean
)
RETURNS TABLE (
  -- include: efficiency_columns.sql
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
  standby_kw CONSTANT numeric := volt_internal.setting_number('efficiency_standby_kw');
BEGIN
  RETURN QUERY
  WITH period AS (
    SELECT DISTINCT p.began_at, p.ended_at FROM unnest(starts, ends) AS p (began_at, ended_at)
  ), side AS (
    SELECT
      of_vehicle AS vehicle_id, p.began_at, p.ended_at, s.*,
      coalesce(s.dc_gaps || s.ac_gaps, '{}') AS each_gap,
      standby_kw * s.length_s / 3600 AS standby_limit_kwh
    FROM period p
    CROSS JOIN LATERAL generate_series(
      volt_internal.quarter_hour(p.began_at), p.ended_at - INTERVAL '1 microsecond', INTERVAL '15 minutes') AS q (at)
    JOIN volt_internal.vehicle_sides(
      of_vehicle, (SELECT min(t) FROM unnest(starts) AS t), (SELECT max(t) FROM unnest(ends) AS t), from_raw) s
      ON s.quarter_hour = q.at
  ),
  -- include: figures_of_sides.sql
  SELECT began_at, ended_at, dc_kwh, ac_kwh, comparable_dc_kwh, comparable_ac_kwh, efficiency_pct, efficiency_low_pct,
    efficiency_high_pct, standby_kwh, unassigned_kwh, meter_id, source, quality
  FROM figures;
END $$;
COMMENT ON FUNCTION volt_internal.vehicle_periods(text, timestamptz[], timestamptz[], boolean) IS
  'Energy and efficiency of one vehicle in some periods, kWh and %, as volt.vehicle_efficiency shows them. A period begins and '
  'ends on a quarter hour, or where the first of them begins and the last one ends.';

CREATE OR REPLACE FUNCTION volt.vehicle_efficiency(
  of_vehicle text, from_at timestamptz, to_at timestamptz, step text DEFAULT 'hour', zone text DEFAULT NULL
) RETURNS TABLE (
  -- include: efficiency_columns.sql
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  local_start timestamp;
  starts timestamptz[];
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  zone := coalesce(
    zone,
    (SELECT f.timezone FROM volt.vehicle v JOIN volt.fleet f ON f.fleet_id = v.fleet_id WHERE v.vehicle_id = of_vehicle),
    (SELECT s.value FROM volt_internal.setting s WHERE s.name = 'timezone'));
  IF step = 'period' THEN
    starts := ARRAY[from_at];
  ELSIF step IN ('hour', 'day') THEN
    local_start := date_trunc(step, from_at AT TIME ZONE zone);
    SELECT array_agg(DISTINCT greatest(s.at, from_at)) INTO starts
    FROM (
      SELECT from_at AS at
      UNION ALL
      -- Hours in UTC steps, as a local hour comes twice or not at all; days by the calendar.
      SELECT CASE step WHEN 'hour' THEN date_trunc('hour', from_at, zone) + n * INTERVAL '1 hour'
                  ELSE (local_start + n * INTERVAL '1 day') AT TIME ZONE zone END AS at
      FROM generate_series(
        0, (extract(epoch FROM to_at - from_at) / CASE step WHEN 'hour' THEN 3600 ELSE 82800 END)::int + 2) AS n
    ) s
    WHERE s.at < to_at;
  ELSE
    RAISE invalid_parameter_value USING
      MESSAGE = format('there is no step %L', step), HINT = 'hour, day or period';
  END IF;
  RETURN QUERY SELECT p.* FROM volt_internal.vehicle_periods(of_vehicle, starts, starts[2:] || to_at, false) p ORDER BY 1;
END $$;
COMMENT ON FUNCTION volt.vehicle_efficiency(text, timestamptz, timestamptz, text, text) IS
  'Charging efficiency of one vehicle within [from, to), by hour, by day of a time zone (by default that of its fleet), or '
  'of the period as one, until now and exact to the second. dc_kwh, ac_kwh: all that was measured, kWh; comparable_dc_kwh, comparable_ac_kwh: where '
  'both sides were measured for at least 80 % of the quarter hour, each scaled to all of it, the vehicle stood and the meter '
  'ran above its standby. source: meter, onboard (no meter is linked: the AC register of the vehicle''s on-board charger), or '
  'mixed (the one for a part of the period, the other for the rest); efficiency_pct: the one over the other, %; efficiency_low_pct, efficiency_high_pct: with what '
  'was not measured taken as nothing and as the highest power of its quarter hour. standby_kwh: AC at or below standby '
  'while nothing was delivered, and all of an on-board charger; unassigned_kwh: AC of meters above it that no vehicle took. quality: ok, partial (less than 80 % of '
  'the DC energy could be compared), shared_meter, suspect, estimated (only in a gap that the period or the link cuts, or at an edge of '
  'the link), no_ac (without a meter also: fast charging, past the on-board charger), no_dc, unassigned, idle. No row: nothing is known.';

CREATE OR REPLACE FUNCTION volt_internal.ranges_text(ranges tstzrange[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (SELECT string_agg(format('%s to %s', lower(r), upper(r)), ', ' ORDER BY r) FROM unnest(ranges) AS r);
COMMENT ON FUNCTION volt_internal.ranges_text(tstzrange[]) IS 'Periods as a person reads them.';

CREATE OR REPLACE FUNCTION volt.explain_efficiency(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  quarter_hour timestamptz, dc_kwh numeric, dc_coverage numeric, ac_kwh numeric, ac_coverage numeric, meter_id text,
  source text, others_kwh numeric, remarks text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
  standby_kw CONSTANT numeric := volt_internal.setting_number('efficiency_standby_kw');
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  RETURN QUERY
  SELECT
    s.quarter_hour, s.dc_kwh, round(s.dc_covered_s / s.length_s, 4), s.ac_kwh, round(s.ac_covered_s / s.length_s, 4),
    s.meter_id, s.source, s.others_kwh,
    concat_ws('; ',
      CASE WHEN s.moved THEN 'the vehicle moved' END,
      CASE WHEN s.dc_kwh IS NULL THEN 'no DC reading' WHEN s.dc_suspect THEN 'a step of the DC register is not counted'
           WHEN s.dc_gaps IS NOT NULL THEN 'DC is known as a whole only: ' || volt_internal.ranges_text(s.dc_gaps)
           WHEN s.dc_covered_s < 0.8 * s.length_s THEN 'DC measured for less than 80 %' END,
      CASE WHEN s.source IS NULL AND NOT EXISTS (
             SELECT FROM volt.vehicle_meter l WHERE l.vehicle_id = of_vehicle AND l.valid && tstzrange(from_at, to_at))
             THEN 'no meter is linked to the vehicle'
           WHEN s.source IS NULL THEN 'no AC reading of a linked meter'
           WHEN s.ac_suspect THEN 'a step of the AC register is not counted'
           WHEN s.ac_gaps IS NOT NULL THEN 'AC is known as a whole only: ' || volt_internal.ranges_text(s.ac_gaps)
           WHEN s.ac_covered_s < 0.8 * s.length_s THEN 'AC measured for less than 80 %' END,
      CASE WHEN s.linked_s < s.length_s THEN 'the link begins or ends' WHEN s.link_cuts THEN 'the link cuts what is known as a whole' END,
      CASE WHEN s.source = 'onboard' AND s.dc_kwh > 0 AND volt_internal.is_fast_charge(
             s.dc_kwh / nullif(least((s.dc_covered_s + s.dc_gap_s) / s.length_s, 1), 0),
             s.ac_kwh / nullif(least((s.ac_covered_s + s.ac_gap_s) / s.length_s, 1), 0), s.length_s)
             THEN 'more DC than passes the on-board charger: fast charging'
           WHEN s.ac_kwh <= standby_kw * s.length_s / 3600 THEN CASE s.source
             WHEN 'meter' THEN 'the meter is at standby' ELSE 'the on-board charger is at standby' END
           WHEN s.others_kwh IS NOT NULL THEN 'other vehicles took energy from the meter'
           WHEN s.ac_kwh > 0 AND s.dc_kwh = 0 THEN 'the vehicle took nothing' END)
  FROM volt_internal.vehicle_sides(of_vehicle, from_at, to_at, false) s
  ORDER BY s.quarter_hour;
END $$;
COMMENT ON FUNCTION volt.explain_efficiency(text, timestamptz, timestamptz) IS
  'The quarter hours behind volt.vehicle_efficiency, kWh, with what speaks against comparing each; empty remarks: nothing. '
  'What is known as a whole only is compared as one in a period that contains all of it. ac_kwh: the vehicle''s share. '
  'others_kwh: DC energy that other vehicles took from the same meter. Register events are in '
  'volt.vehicle_register_events and volt.meter_register_events.';
