-- What: charging efficiency of one vehicle over periods of any length, from raw readings: what may be compared, and the rest.
-- Why:  DC and AC may be compared only where both were measured and the energy went into this vehicle. What flowed in a
--       gap of a register counts only in a period that contains the gap whole.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.standby_limit_kwh(during_s numeric) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN volt_internal.setting_number('efficiency_standby_kw') * during_s / 3600;
COMMENT ON FUNCTION volt_internal.standby_limit_kwh(numeric) IS
  'What a meter measures at most in so many seconds while it feeds no vehicle, kWh, by the setting efficiency.standby_kw.';

CREATE OR REPLACE FUNCTION volt_internal.vehicle_sides(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  quarter_hour timestamptz, length_s numeric, moved boolean,
  dc_kwh numeric, dc_covered_s numeric, dc_gap_s numeric, dc_low_kwh numeric, dc_high_kwh numeric, dc_peak_kw numeric,
  dc_gaps tstzrange[], dc_suspect boolean,
  meter_id text, ac_kwh numeric, ac_covered_s numeric, ac_gap_s numeric, ac_low_kwh numeric, ac_high_kwh numeric,
  ac_peak_kw numeric, ac_gaps tstzrange[], ac_suspect boolean, others_kwh numeric, linked_s numeric, link_cuts boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH dc AS (
    SELECT * FROM volt_internal.vehicle_energy_quarters(of_vehicle, from_at, to_at)
  ), moving AS (
    SELECT DISTINCT volt_internal.quarter_hour(r.recorded_at) AS quarter_hour
    FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at AND r.recorded_at < to_at AND r.speed_kmh > 5
  ), link AS (
    SELECT l.meter_id, l.valid * tstzrange(from_at, to_at) AS valid,
      (SELECT range_agg(a.valid) FROM volt.vehicle_meter a WHERE a.vehicle_id = of_vehicle AND a.meter_id = l.meter_id) AS always
    FROM volt.vehicle_meter l
    WHERE l.vehicle_id = of_vehicle AND l.valid && tstzrange(from_at, to_at)
  ), ac AS (
    SELECT l.meter_id, q.*, EXISTS (SELECT FROM unnest(q.gaps) AS g WHERE NOT g <@ l.always) AS is_cut
    FROM link l CROSS JOIN LATERAL volt_internal.meter_energy_quarters(l.meter_id, lower(l.valid), upper(l.valid)) q
  ), other AS (
    -- Vehicles that took energy from the same meter in the same quarter hour.
    SELECT l.meter_id, q.quarter_hour, sum(q.kwh) AS kwh
    FROM link l
    JOIN volt.vehicle_meter o ON o.meter_id = l.meter_id AND o.vehicle_id <> of_vehicle AND o.valid && l.valid
    CROSS JOIN LATERAL volt_internal.vehicle_energy_quarters(o.vehicle_id, lower(o.valid * l.valid), upper(o.valid * l.valid)) q
    WHERE q.kwh > 0 AND NOT EXISTS (
      SELECT FROM volt.vehicle_reading r
      WHERE r.vehicle_id = o.vehicle_id AND r.recorded_at >= q.quarter_hour
        AND r.recorded_at < q.quarter_hour + INTERVAL '15 minutes' AND r.speed_kmh > 5)
    GROUP BY l.meter_id, q.quarter_hour
  ), by_meter AS (
    SELECT a.meter_id, a.quarter_hour, sum(a.kwh) AS kwh, sum(a.covered_s) AS covered_s, sum(a.gap_s) AS gap_s,
      sum(a.low_kwh) AS low_kwh, sum(a.high_kwh) AS high_kwh, max(a.peak_kw) AS peak_kw,
      max(a.gaps) AS gaps, bool_or(a.suspect) AS suspect, sum(a.length_s) AS linked_s, bool_or(a.is_cut) AS is_cut
    FROM ac a
    GROUP BY a.meter_id, a.quarter_hour
  ), shared AS (
    SELECT m.*, o.kwh AS others_kwh, c.kwh AS charged_kwh,
      CASE WHEN o.kwh IS NULL THEN 1 ELSE c.kwh / (c.kwh + o.kwh) END AS share
    FROM by_meter m
    LEFT JOIN dc d ON d.quarter_hour = m.quarter_hour
    LEFT JOIN other o ON o.meter_id = m.meter_id AND o.quarter_hour = m.quarter_hour
    CROSS JOIN LATERAL (
      SELECT CASE WHEN EXISTS (SELECT FROM moving v WHERE v.quarter_hour = m.quarter_hour) THEN 0 ELSE coalesce(d.kwh, 0) END AS kwh
    ) c
  ), one_meter AS (
    -- Of several meters one that runs, and of these the one whose energy is nearest to what the vehicle took.
    SELECT DISTINCT ON (m.quarter_hour) m.*
    FROM shared m
    ORDER BY m.quarter_hour, m.kwh > volt_internal.standby_limit_kwh(m.linked_s) DESC,
      CASE WHEN m.charged_kwh > 0 THEN abs(m.kwh * m.share - m.charged_kwh) ELSE -m.kwh END, m.meter_id
  )
  SELECT
    s.quarter_hour,
    extract(epoch FROM least(s.quarter_hour + INTERVAL '15 minutes', to_at) - greatest(s.quarter_hour, from_at)),
    EXISTS (SELECT FROM moving v WHERE v.quarter_hour = s.quarter_hour),
    d.kwh, d.covered_s, d.gap_s, d.low_kwh, d.high_kwh, d.peak_kw, d.gaps, d.suspect,
    m.meter_id, m.kwh * m.share, m.covered_s, m.gap_s, m.low_kwh * m.share, m.high_kwh * m.share, m.peak_kw * m.share,
    m.gaps, m.suspect, m.others_kwh, m.linked_s, m.is_cut
  FROM (SELECT dc.quarter_hour FROM dc UNION SELECT one_meter.quarter_hour FROM one_meter) s
  LEFT JOIN dc d ON d.quarter_hour = s.quarter_hour
  LEFT JOIN one_meter m ON m.quarter_hour = s.quarter_hour;
END $$;
COMMENT ON FUNCTION volt_internal.vehicle_sides(text, timestamptz, timestamptz) IS
  'Both sides of one vehicle''s charging by quarter hour: DC of the vehicle, AC of the meter that fed it while the link was '
  'valid (its share, where other vehicles took energy from the same meter), named as in vehicle_energy_quarters.';

CREATE OR REPLACE FUNCTION volt_internal.vehicle_periods(of_vehicle text, starts timestamptz[], ends timestamptz[])
RETURNS TABLE (
  -- include: efficiency_columns.sql
)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH period AS (
    SELECT DISTINCT p.began_at, p.ended_at FROM unnest(starts, ends) AS p (began_at, ended_at)
  ), side AS (
    SELECT
      p.began_at, p.ended_at, s.*,
      ARRAY(SELECT unnest(s.dc_gaps) UNION ALL SELECT unnest(s.ac_gaps)) AS each_gap,
      volt_internal.standby_limit_kwh(s.length_s) AS standby_limit_kwh
    FROM period p
    JOIN volt_internal.vehicle_sides(
      of_vehicle, (SELECT min(t) FROM unnest(starts) AS t), (SELECT max(t) FROM unnest(ends) AS t)) s
      ON s.quarter_hour < p.ended_at AND s.quarter_hour + INTERVAL '15 minutes' > p.began_at
  ), gap AS (
    -- The quarter hours that a gap touches are compared as one, in a period that has all of it.
    SELECT g.began_at, g.ended_at, unnest(range_agg(g.quarters)) AS quarters
    FROM (
      -- Half a minute at either end is no quarter hour more; and gaps that only meet stay apart.
      SELECT s.began_at, s.ended_at, tstzrange(
        volt_internal.quarter_hour(lower(g) + INTERVAL '30 seconds'),
        volt_internal.quarter_hour(upper(g) + INTERVAL '869.999999 seconds') - INTERVAL '1 microsecond'
      ) AS quarters
      FROM side s CROSS JOIN LATERAL unnest(s.each_gap) AS g
    ) g
    GROUP BY g.began_at, g.ended_at
  ), stretch AS (
    SELECT
      s.began_at,
      s.ended_at,
      coalesce(lower(g.quarters), s.quarter_hour) AS stretch_at,
      sum(s.length_s) AS length_s,
      sum(s.dc_kwh) AS dc_kwh,
      sum(s.ac_kwh) AS ac_kwh,
      sum(coalesce(s.dc_covered_s, 0) + coalesce(s.dc_gap_s, 0)) / sum(s.length_s) AS dc_coverage,
      sum(coalesce(s.ac_covered_s, 0) + coalesce(s.ac_gap_s, 0)) / sum(s.length_s) AS ac_coverage,
      max(s.dc_peak_kw) AS dc_peak_kw,
      max(s.ac_peak_kw) AS ac_peak_kw,
      sum(s.standby_limit_kwh) AS standby_limit_kwh,
      sum(s.dc_kwh) FILTER (WHERE NOT s.moved) AS charged_kwh,
      bool_or(s.others_kwh IS NOT NULL) AS others,
      bool_or(s.link_cuts OR s.linked_s < s.length_s OR (cardinality(s.each_gap) > 0 AND s.others_kwh IS NOT NULL) OR EXISTS (
        SELECT FROM unnest(s.each_gap) AS g
        CROSS JOIN LATERAL (SELECT tstzrange(lower(g) + INTERVAL '30 seconds', upper(g) - INTERVAL '30 seconds') AS core) c
        WHERE c.core && tstzrange(s.began_at, s.ended_at) AND NOT c.core <@ tstzrange(s.began_at, s.ended_at))) AS is_cut,
      bool_or(s.moved) AS moved,
      bool_or(coalesce(s.dc_suspect, false) OR coalesce(s.ac_suspect, false)) AS suspect,
      bool_or(s.others_kwh IS NOT NULL AND s.dc_kwh > 0) AS shared
    FROM side s
    LEFT JOIN gap g ON g.began_at = s.began_at AND g.ended_at = s.ended_at AND g.quarters @> s.quarter_hour
    GROUP BY s.began_at, s.ended_at, coalesce(lower(g.quarters), s.quarter_hour)
  ), weighed AS (
    SELECT
      t.*,
      NOT t.is_cut AND NOT t.moved AND NOT t.suspect AND t.dc_kwh > 0 AND t.dc_coverage >= 0.8 AND t.ac_coverage >= 0.8
        AND t.ac_kwh > t.standby_limit_kwh AS comparable,
      CASE WHEN NOT t.is_cut AND coalesce(t.dc_kwh, 0) = 0 AND NOT t.others THEN t.ac_kwh END AS idle_kwh
    FROM stretch t
  ), summed AS (
    SELECT
      w.began_at,
      w.ended_at,
      sum(w.dc_kwh) AS dc_kwh,
      sum(w.charged_kwh) AS charged_kwh,
      sum(w.ac_kwh) AS ac_kwh,
      sum(w.ac_kwh) FILTER (WHERE w.ac_kwh > w.standby_limit_kwh) AS running_kwh,
      sum(w.dc_kwh / least(w.dc_coverage, 1)) FILTER (WHERE w.comparable) AS comparable_dc_kwh,
      sum(w.ac_kwh / least(w.ac_coverage, 1)) FILTER (WHERE w.comparable) AS comparable_ac_kwh,
      sum(w.dc_kwh) FILTER (WHERE w.comparable) AS dc_low_kwh,
      sum(w.ac_kwh) FILTER (WHERE w.comparable) AS ac_low_kwh,
      sum(w.dc_kwh + greatest(1 - w.dc_coverage, 0) * w.length_s / 3600 * coalesce(w.dc_peak_kw, 0))
        FILTER (WHERE w.comparable) AS dc_high_kwh,
      sum(w.ac_kwh + greatest(1 - w.ac_coverage, 0) * w.length_s / 3600 * coalesce(w.ac_peak_kw, 0))
        FILTER (WHERE w.comparable) AS ac_high_kwh,
      coalesce(sum(w.idle_kwh) FILTER (WHERE w.idle_kwh <= w.standby_limit_kwh), 0) AS standby_kwh,
      coalesce(sum(w.idle_kwh) FILTER (WHERE w.idle_kwh > w.standby_limit_kwh), 0) AS unassigned_kwh,
      bool_or(w.is_cut AND (w.charged_kwh > 0 OR w.ac_kwh > w.standby_limit_kwh)) AS is_cut,
      bool_or(w.suspect) AS suspect,
      bool_or(w.shared AND w.comparable) AS shared,
      bool_or(w.ac_kwh > w.standby_limit_kwh AND coalesce(w.dc_coverage, 0) < 0.8) AS dc_missing
    FROM weighed w
    GROUP BY w.began_at, w.ended_at
  ), meters AS (
    SELECT s.began_at, s.ended_at, string_agg(DISTINCT s.meter_id, ', ' ORDER BY s.meter_id) AS meter_id
    FROM side s
    GROUP BY s.began_at, s.ended_at
  ), rated AS (
    SELECT *, 100 * comparable_dc_kwh / comparable_ac_kwh AS pct FROM summed
  )
  SELECT
    r.began_at, r.ended_at, r.dc_kwh, r.ac_kwh, r.comparable_dc_kwh, r.comparable_ac_kwh, round(r.pct, 2),
    round(100 * r.dc_low_kwh / r.ac_high_kwh, 2), round(100 * r.dc_high_kwh / r.ac_low_kwh, 2),
    r.standby_kwh, r.unassigned_kwh, m.meter_id,
    CASE
      WHEN r.pct IS NOT NULL THEN CASE
        WHEN r.suspect OR r.pct NOT BETWEEN 20 AND 100 THEN 'suspect'
        WHEN r.shared THEN 'shared_meter'
        WHEN r.dc_low_kwh < 0.8 * r.charged_kwh THEN 'partial'
        ELSE 'ok' END
      WHEN r.is_cut THEN 'estimated'
      WHEN r.suspect THEN 'suspect'
      WHEN r.charged_kwh > 0 AND coalesce(r.running_kwh, 0) = 0 THEN 'no_ac'
      WHEN r.charged_kwh > 0 THEN 'partial'
      WHEN r.unassigned_kwh > 0 THEN CASE WHEN r.dc_missing THEN 'no_dc' ELSE 'unassigned' END
      ELSE 'idle'
    END
  FROM rated r
  JOIN meters m ON m.began_at = r.began_at AND m.ended_at = r.ended_at;
END;
COMMENT ON FUNCTION volt_internal.vehicle_periods(text, timestamptz[], timestamptz[]) IS
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
  RETURN QUERY SELECT p.* FROM volt_internal.vehicle_periods(of_vehicle, starts, starts[2:] || to_at) p ORDER BY 1;
END $$;
COMMENT ON FUNCTION volt.vehicle_efficiency(text, timestamptz, timestamptz, text, text) IS
  'Charging efficiency of one vehicle within [from, to), by hour, by day of a time zone (by default that of its fleet), or '
  'of the period as one, from raw readings, exact to the second. dc_kwh, ac_kwh: all that was measured, kWh; comparable_dc_kwh, comparable_ac_kwh: where '
  'both sides were measured for at least 80 % of the quarter hour, each scaled to all of it, the vehicle stood and the meter '
  'ran above its standby; efficiency_pct: the one over the other, %; efficiency_low_pct, efficiency_high_pct: with what '
  'was not measured taken as nothing and as the highest power of its quarter hour. standby_kwh: AC at or below standby '
  'while nothing was delivered; unassigned_kwh: AC above it that no vehicle took. quality: ok, partial (less than 80 % of '
  'the DC energy could be compared), shared_meter, suspect, estimated (only in a gap that the period or the link cuts, or at an edge of '
  'the link), no_ac, no_dc, unassigned, idle. No row: nothing is known.';

CREATE OR REPLACE FUNCTION volt_internal.ranges_text(ranges tstzrange[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (SELECT string_agg(format('%s to %s', lower(r), upper(r)), ', ' ORDER BY r) FROM unnest(ranges) AS r);
COMMENT ON FUNCTION volt_internal.ranges_text(tstzrange[]) IS 'Periods as a person reads them.';

CREATE OR REPLACE FUNCTION volt.explain_efficiency(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  quarter_hour timestamptz, dc_kwh numeric, dc_coverage numeric, ac_kwh numeric, ac_coverage numeric, meter_id text,
  others_kwh numeric, remarks text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  RETURN QUERY
  SELECT
    s.quarter_hour, s.dc_kwh, round(s.dc_covered_s / s.length_s, 4), s.ac_kwh, round(s.ac_covered_s / s.length_s, 4),
    s.meter_id, s.others_kwh,
    concat_ws('; ',
      CASE WHEN s.moved THEN 'the vehicle moved' END,
      CASE WHEN s.dc_kwh IS NULL THEN 'no DC reading' WHEN s.dc_suspect THEN 'a step of the DC register is not counted'
           WHEN s.dc_gaps IS NOT NULL THEN 'DC is known as a whole only: ' || volt_internal.ranges_text(s.dc_gaps)
           WHEN s.dc_covered_s < 0.8 * s.length_s THEN 'DC measured for less than 80 %' END,
      CASE WHEN s.meter_id IS NULL AND NOT EXISTS (
             SELECT FROM volt.vehicle_meter l WHERE l.vehicle_id = of_vehicle AND l.valid && tstzrange(from_at, to_at))
             THEN 'no meter is linked to the vehicle'
           WHEN s.meter_id IS NULL THEN 'no AC reading of a linked meter'
           WHEN s.ac_suspect THEN 'a step of the AC register is not counted'
           WHEN s.ac_gaps IS NOT NULL THEN 'AC is known as a whole only: ' || volt_internal.ranges_text(s.ac_gaps)
           WHEN s.ac_covered_s < 0.8 * s.length_s THEN 'AC measured for less than 80 %' END,
      CASE WHEN s.linked_s < s.length_s THEN 'the link begins or ends' WHEN s.link_cuts THEN 'the link cuts what is known as a whole' END,
      CASE WHEN s.ac_kwh <= volt_internal.standby_limit_kwh(s.length_s) THEN 'the meter is at standby'
           WHEN s.others_kwh IS NOT NULL THEN 'other vehicles took energy from the meter'
           WHEN s.ac_kwh > 0 AND s.dc_kwh = 0 THEN 'the vehicle took nothing' END)
  FROM volt_internal.vehicle_sides(of_vehicle, from_at, to_at) s
  ORDER BY s.quarter_hour;
END $$;
COMMENT ON FUNCTION volt.explain_efficiency(text, timestamptz, timestamptz) IS
  'The quarter hours behind volt.vehicle_efficiency, kWh, with what speaks against comparing each; empty remarks: nothing. '
  'What is known as a whole only is compared as one in a period that contains all of it. ac_kwh: the vehicle''s share. '
  'others_kwh: DC energy that other vehicles took from the same meter. Register events are in '
  'volt.vehicle_register_events and volt.meter_register_events.';
