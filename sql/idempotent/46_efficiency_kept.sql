-- What: computes the efficiency of marked vehicles by hour and by day of their fleet from the kept quarter hours.
-- Why:  the same text as the efficiency of one vehicle from raw readings (include/both_sides, figures_of_sides), over all
--       marked vehicles at once. Where a link begins or ends within a quarter hour, the raw readings tell its part.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

CREATE OR REPLACE FUNCTION volt_internal.kept_figures(
  of_vehicles text[], starts timestamptz[], ends timestamptz[]
) RETURNS TABLE (
  vehicle_id text,
  -- include: efficiency_columns.sql
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' AS $$
#variable_conflict use_column
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  first_at CONSTANT timestamptz := (SELECT min(at) FROM unnest(starts) AS at);
  last_at CONSTANT timestamptz := (SELECT max(at) FROM unnest(ends) AS at);
  raw_since CONSTANT timestamptz := volt_internal.computable_since();
  standby_kw CONSTANT numeric := volt_internal.setting_number('efficiency_standby_kw');
BEGIN
  RETURN QUERY
  WITH period AS MATERIALIZED (
    SELECT DISTINCT p.vehicle_id, p.began_at, p.ended_at FROM unnest(of_vehicles, starts, ends) AS p (vehicle_id, began_at, ended_at)
  ), wanted AS MATERIALIZED (
    SELECT p.vehicle_id, min(p.began_at) AS from_at, max(p.ended_at) AS to_at FROM period p GROUP BY p.vehicle_id
  ), dc AS MATERIALIZED (
    SELECT q.*
    FROM wanted w
    JOIN volt_internal.vehicle_quarter q
      ON q.vehicle_id = w.vehicle_id AND q.quarter_hour >= w.from_at AND q.quarter_hour < w.to_at
        AND q.quarter_hour >= first_at AND q.quarter_hour < last_at
  ), pair AS MATERIALIZED (
    SELECT a.vehicle_id, a.meter_id, range_agg(a.valid) AS always
    FROM volt.vehicle_meter a WHERE a.vehicle_id = ANY (of_vehicles) GROUP BY a.vehicle_id, a.meter_id
  ), link AS MATERIALIZED (
    SELECT l.vehicle_id, l.meter_id, l.valid * tstzrange(w.from_at, w.to_at) AS valid, a.always
    FROM wanted w
    JOIN volt.vehicle_meter l ON l.vehicle_id = w.vehicle_id AND l.valid && tstzrange(w.from_at, w.to_at)
    JOIN pair a ON a.vehicle_id = l.vehicle_id AND a.meter_id = l.meter_id
  ), linked AS MATERIALIZED (
    SELECT l.vehicle_id, l.always, q.*, c.during,
      extract(epoch FROM upper(c.during) - lower(c.during)) AS linked_s
    FROM link l
    JOIN volt_internal.meter_quarter q
      ON q.meter_id = l.meter_id AND q.quarter_hour > lower(l.valid) - quarter AND q.quarter_hour < upper(l.valid)
        AND q.quarter_hour >= first_at AND q.quarter_hour < last_at
    CROSS JOIN LATERAL (SELECT tstzrange(q.quarter_hour, q.quarter_hour + quarter) * l.valid AS during) c
  ), onboard AS MATERIALIZED (
    SELECT q.*
    FROM wanted w
    JOIN volt_internal.onboard_quarter q
      ON q.vehicle_id = w.vehicle_id AND q.quarter_hour >= w.from_at AND q.quarter_hour < w.to_at
        AND q.quarter_hour >= first_at AND q.quarter_hour < last_at
  ), unlinked AS MATERIALIZED (
    SELECT v.vehicle_id, volt_internal.time_without_meter(v.vehicle_id) AS free FROM (SELECT DISTINCT o.vehicle_id FROM onboard o) v
  ), ac AS (
    SELECT l.vehicle_id, l.meter_id, l.quarter_hour, l.linked_s, l.kwh, l.covered_s, l.gap_s, l.low_kwh, l.high_kwh,
      l.peak_kw, l.gaps, l.suspect, EXISTS (SELECT FROM unnest(l.gaps) AS g WHERE NOT g <@ l.always) AS is_cut
    FROM linked l
    WHERE l.linked_s = 900
    UNION ALL
    -- Without raw readings any more an even share does.
    SELECT l.vehicle_id, l.meter_id, l.quarter_hour, l.linked_s, coalesce(p.kwh, l.kwh * s.share),
      coalesce(p.covered_s, l.covered_s * s.share), coalesce(p.gap_s, l.gap_s * s.share), coalesce(p.low_kwh, l.low_kwh * s.share),
      coalesce(p.high_kwh, l.high_kwh * s.share), coalesce(p.peak_kw, l.peak_kw),
      CASE WHEN p.quarter_hour IS NULL THEN l.gaps ELSE p.gaps END, coalesce(p.suspect, l.suspect),
      EXISTS (SELECT FROM unnest(CASE WHEN p.quarter_hour IS NULL THEN l.gaps ELSE p.gaps END) AS g WHERE NOT g <@ l.always)
    FROM linked l
    CROSS JOIN LATERAL (SELECT l.linked_s / 900 AS share) s
    LEFT JOIN LATERAL volt_internal.meter_energy_quarters(l.meter_id, lower(l.during), upper(l.during)) p ON true
    WHERE l.linked_s < 900 AND (p.quarter_hour IS NOT NULL OR l.quarter_hour < raw_since)
    UNION ALL
    SELECT o.vehicle_id, NULL, o.quarter_hour, 900, o.kwh, o.covered_s, o.gap_s, o.low_kwh, o.high_kwh, o.peak_kw, o.gaps, o.suspect,
      EXISTS (SELECT FROM unnest(o.gaps) AS g WHERE NOT g <@ u.free)
    FROM onboard o JOIN unlinked u ON u.vehicle_id = o.vehicle_id AND u.free @> o.quarter_hour
  ), neighbour AS MATERIALIZED (
    -- By meters alone: the index of overlaps is slow at that.
    SELECT o.vehicle_id, o.meter_id, o.valid FROM volt.vehicle_meter o
    WHERE o.meter_id = ANY (ARRAY(SELECT DISTINCT l.meter_id FROM link l))
  ), beside AS MATERIALIZED (
    SELECT l.vehicle_id, l.meter_id, q.vehicle_id AS other_id, q.quarter_hour, q.kwh, c.during,
      extract(epoch FROM upper(c.during) - lower(c.during)) AS linked_s
    FROM link l
    JOIN neighbour o ON o.meter_id = l.meter_id AND o.vehicle_id <> l.vehicle_id AND o.valid && l.valid
    JOIN volt_internal.vehicle_quarter q
      ON q.vehicle_id = o.vehicle_id AND q.quarter_hour > lower(l.valid) - quarter AND q.quarter_hour < upper(l.valid)
        AND q.quarter_hour >= first_at AND q.quarter_hour < last_at
    CROSS JOIN LATERAL (SELECT tstzrange(q.quarter_hour, q.quarter_hour + quarter) * l.valid * o.valid AS during) c
    WHERE q.kwh > 0 AND NOT q.moved AND NOT isempty(c.during)
  ), other AS (
    SELECT o.vehicle_id, o.meter_id, o.quarter_hour, sum(o.kwh) AS kwh
    FROM (
      SELECT b.vehicle_id, b.meter_id, b.quarter_hour, b.kwh FROM beside b WHERE b.linked_s = 900
      UNION ALL
      SELECT b.vehicle_id, b.meter_id, b.quarter_hour, coalesce(p.kwh, b.kwh * b.linked_s / 900)
      FROM beside b
      LEFT JOIN LATERAL volt_internal.vehicle_energy_quarters(b.other_id, lower(b.during), upper(b.during)) p ON true
      WHERE b.linked_s < 900 AND (p.kwh > 0 OR b.quarter_hour < raw_since)
    ) o
    GROUP BY o.vehicle_id, o.meter_id, o.quarter_hour
  ),
  -- include: both_sides.sql
  , side AS MATERIALIZED (
    SELECT s.*, 900::numeric AS length_s, p.began_at, p.ended_at,
      coalesce(s.dc_gaps || s.ac_gaps, '{}') AS each_gap,
      standby_kw * 900 / 3600 AS standby_limit_kwh
    FROM both_sides s
    JOIN period p ON p.vehicle_id = s.vehicle_id AND s.quarter_hour >= p.began_at AND s.quarter_hour < p.ended_at
  ),
  -- include: figures_of_sides.sql
  SELECT vehicle_id, began_at, ended_at, dc_kwh, ac_kwh, comparable_dc_kwh, comparable_ac_kwh, efficiency_pct,
    efficiency_low_pct, efficiency_high_pct, standby_kwh, unassigned_kwh, meter_id, source, quality
  FROM figures;
END $$;
COMMENT ON FUNCTION volt_internal.kept_figures(text[], timestamptz[], timestamptz[]) IS
  'Energy and efficiency of vehicles in periods of whole quarter hours (three arrays side by side), from the kept quarter '
  'hours; columns as in volt.vehicle_efficiency.';

CREATE OR REPLACE FUNCTION volt_internal.full_hour_from(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_trunc('hour', at + INTERVAL '3599.999999 seconds', 'UTC');
COMMENT ON FUNCTION volt_internal.full_hour_from(timestamptz) IS
  'The first full hour at or after a time: with it a vehicle''s hours belong to its new fleet.';

-- Who was in which fleet, and in no fleet, by whole hours, with the time zone of its days.
CREATE OR REPLACE FUNCTION volt_internal.fleets_over_time(of_vehicles text[])
RETURNS TABLE (vehicle_id text, fleet_id text, timezone text, from_at timestamptz, to_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH zone AS (
    SELECT coalesce((SELECT s.value FROM volt_internal.setting s WHERE s.name = 'timezone'), 'UTC') AS usual
  ), membership AS (
    SELECT m.vehicle_id, m.fleet_id, tstzrange(
      volt_internal.full_hour_from(lower(m.valid)), volt_internal.full_hour_from(upper(m.valid))) AS valid
    FROM volt.fleet_membership m WHERE m.vehicle_id = ANY (of_vehicles)
  ), outside AS (
    SELECT v.vehicle_id, unnest('{(,)}'::tstzmultirange - coalesce(range_agg(m.valid), '{}')) AS valid
    FROM (SELECT DISTINCT unnest(of_vehicles) AS vehicle_id) v
    LEFT JOIN membership m ON m.vehicle_id = v.vehicle_id
    GROUP BY v.vehicle_id
  )
  SELECT m.vehicle_id, m.fleet_id, coalesce(f.timezone, zone.usual), coalesce(lower(m.valid), '-infinity'),
    coalesce(upper(m.valid), 'infinity')
  FROM membership m JOIN volt.fleet f USING (fleet_id) CROSS JOIN zone
  WHERE NOT isempty(m.valid)
  UNION ALL
  SELECT o.vehicle_id, NULL, zone.usual, coalesce(lower(o.valid), '-infinity'), coalesce(upper(o.valid), 'infinity')
  FROM outside o CROSS JOIN zone;
END;
COMMENT ON FUNCTION volt_internal.fleets_over_time(text[]) IS
  'From when to when vehicles were in which fleet (NULL: in none), in full hours, and the time zone of their days then.';

CREATE OR REPLACE FUNCTION volt_internal.keep_efficiency(at_once integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  closed_until CONSTANT timestamptz := (
    SELECT date_trunc('hour', s.energy_watermark, 'UTC') FROM volt_internal.rollup_state s);
  vehicles text[];
  froms timestamptz[];
  tos timestamptz[];
  ids text[];
  fleets text[];
  days date[];
  starts timestamptz[];
  ends timestamptz[];
BEGIN
  WITH taken AS (
    DELETE FROM volt_internal.efficiency_dirty WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM volt_internal.efficiency_dirty WHERE from_at < closed_until LIMIT at_once))
    RETURNING vehicle_id, from_at, to_at
  ), island AS (
    -- Marks that lie days apart are computed apart.
    SELECT t.vehicle_id, unnest(range_agg(tstzrange(t.from_at, t.to_at + INTERVAL '1 day'))) AS during
    FROM taken t GROUP BY t.vehicle_id
  )
  SELECT array_agg(i.vehicle_id), array_agg(date_trunc('hour', lower(i.during), 'UTC')),
    array_agg(volt_internal.full_hour_from(upper(i.during) - INTERVAL '1 day'))
  INTO vehicles, froms, tos
  FROM island i;
  IF vehicles IS NULL THEN
    RETURN 0;
  END IF;
  WITH island AS (
    SELECT * FROM unnest(vehicles, froms, tos) AS i (vehicle_id, from_at, to_at)
  ), fleet AS MATERIALIZED (
    SELECT * FROM volt_internal.fleets_over_time(vehicles)
  )
  SELECT array_agg(w.vehicle_id), array_agg(w.fleet_id), array_agg(w.day), array_agg(w.began_at), array_agg(w.ended_at)
  INTO ids, fleets, days, starts, ends
  FROM (
    SELECT DISTINCT i.vehicle_id, f.fleet_id, NULL::date AS day, h.at AS began_at, h.at + INTERVAL '1 hour' AS ended_at
    FROM island i
    CROSS JOIN LATERAL generate_series(i.from_at, least(i.to_at, closed_until) - INTERVAL '1 hour', INTERVAL '1 hour') AS h (at)
    JOIN fleet f ON f.vehicle_id = i.vehicle_id AND f.from_at <= h.at AND f.to_at > h.at
    UNION ALL
    SELECT DISTINCT i.vehicle_id, f.fleet_id, d.day, d.began_at, d.ended_at
    FROM island i
    JOIN fleet f ON f.vehicle_id = i.vehicle_id AND f.from_at < i.to_at AND f.to_at > i.from_at
    CROSS JOIN LATERAL (
      SELECT n.at::date AS day, greatest(n.at AT TIME ZONE f.timezone, f.from_at) AS began_at,
        least((n.at + INTERVAL '1 day') AT TIME ZONE f.timezone, f.to_at) AS ended_at
      FROM generate_series(
        date_trunc('day', greatest(i.from_at, f.from_at) AT TIME ZONE f.timezone),
        date_trunc('day', least(i.to_at, f.to_at) AT TIME ZONE f.timezone), INTERVAL '1 day') AS n (at)
    ) d
    WHERE d.began_at < least(i.to_at, closed_until) AND d.ended_at > i.from_at
  ) w;

  -- By their keys: few vehicles must not have the hours and days of all others read.
  DELETE FROM volt_internal.efficiency_hour e USING unnest(ids, days, starts) AS w (vehicle_id, day, began_at)
  WHERE w.day IS NULL AND e.vehicle_id = w.vehicle_id AND e.hour = w.began_at
    AND e.hour >= (SELECT min(at) FROM unnest(froms) AS at) AND e.hour < (SELECT max(at) FROM unnest(tos) AS at);
  DELETE FROM volt_internal.efficiency_day WHERE ctid = ANY (ARRAY(
    SELECT e.ctid
    FROM unnest(vehicles, froms, tos) AS i (vehicle_id, from_at, to_at)
    CROSS JOIN LATERAL (
      SELECT d.ctid FROM volt_internal.efficiency_day d
      WHERE d.vehicle_id = i.vehicle_id AND d.began_at > i.from_at - INTERVAL '2 days' AND d.began_at < i.to_at
        AND d.ended_at > i.from_at OFFSET 0) e));

  WITH figures AS MATERIALIZED (
    SELECT w.day, w.ended_at AS whole_until, w.fleet_id, k.*
    FROM volt_internal.kept_figures(ids, starts, ARRAY(SELECT least(e, closed_until) FROM unnest(ends) AS e)) k
    JOIN unnest(ids, fleets, days, starts, ends) AS w (vehicle_id, fleet_id, day, began_at, ended_at)
      ON w.vehicle_id = k.vehicle_id AND w.began_at = k.began_at AND least(w.ended_at, closed_until) = k.ended_at
    WHERE k.dc_kwh > 0 OR k.ac_kwh > 0
  ), hours AS (
    INSERT INTO volt_internal.efficiency_hour (vehicle_id, hour, fleet_id, meter_id, dc_kwh, ac_kwh, comparable_dc_kwh,
      comparable_ac_kwh, efficiency_pct, efficiency_low_pct, efficiency_high_pct, standby_kwh, unassigned_kwh, quality, onboard)
    SELECT f.vehicle_id, f.began_at, f.fleet_id, f.meter_id, f.dc_kwh, f.ac_kwh, f.comparable_dc_kwh, f.comparable_ac_kwh,
      f.efficiency_pct, f.efficiency_low_pct, f.efficiency_high_pct, f.standby_kwh, f.unassigned_kwh, f.quality,
      coalesce(f.source IN ('onboard', 'mixed'), false)
    FROM figures f WHERE f.day IS NULL
  )
  INSERT INTO volt_internal.efficiency_day (vehicle_id, began_at, ended_at, day, fleet_id, meter_id, dc_kwh, ac_kwh,
    comparable_dc_kwh, comparable_ac_kwh, efficiency_pct, efficiency_low_pct, efficiency_high_pct, standby_kwh,
    unassigned_kwh, quality, onboard)
  SELECT f.vehicle_id, f.began_at, f.whole_until, f.day, f.fleet_id, f.meter_id, f.dc_kwh, f.ac_kwh, f.comparable_dc_kwh,
    f.comparable_ac_kwh, f.efficiency_pct, f.efficiency_low_pct, f.efficiency_high_pct, f.standby_kwh, f.unassigned_kwh, f.quality,
    coalesce(f.source IN ('onboard', 'mixed'), false)
  FROM figures f WHERE f.day IS NOT NULL
  ON CONFLICT DO NOTHING;
  RETURN cardinality(vehicles);
END $$;
COMMENT ON FUNCTION volt_internal.keep_efficiency(integer) IS
  'Computes the efficiency of vehicles with marks again, of about so many marks; how many, 0: nothing is left.';

-- Marks of earlier hours do not count: late readings may come without end.
CREATE OR REPLACE FUNCTION volt_internal.efficiency_is_kept() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE volt_internal.rollup_state s SET efficiency_watermark = k.until
  FROM (
    SELECT date_trunc('hour', least(
      r.energy_watermark,
      (SELECT min(d.from_at) FROM volt_internal.energy_dirty d WHERE d.to_at > r.efficiency_watermark),
      (SELECT min(d.from_at) FROM volt_internal.efficiency_dirty d WHERE d.to_at > r.efficiency_watermark)), 'UTC') AS until
    FROM volt_internal.rollup_state r
  ) k
  WHERE k.until > s.efficiency_watermark;
END;
COMMENT ON FUNCTION volt_internal.efficiency_is_kept() IS
  'Notes up to which hour the efficiency is complete: no mark is left from the last such hour on.';
