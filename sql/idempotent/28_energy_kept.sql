-- What: the energy of closed quarter hours, of all devices at once, from raw readings into the tables of quarter hours.
-- Why:  27_energy_quarters has the definition, device by device. Most devices report regularly, and their registers only
--       rise: for these it comes down to sums, which one statement makes for all. It returns who is not like that, and
--       29_energy_again asks the definition for those.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

CREATE OR REPLACE FUNCTION volt_internal.piece_reach() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN INTERVAL '16 minutes';
COMMENT ON FUNCTION volt_internal.piece_reach() IS
  'How long a piece of energy that sums tell is at most: a quarter hour, and what clocks and messages jitter.';

-- each device:
-- Whether a stretch of over a quarter hour is a gap hangs on how a register reports on the day that it begins.
CREATE OR REPLACE FUNCTION volt_internal.usual_{device}_register_spacing(of_{device}s text[], of_day timestamptz)
RETURNS TABLE ({device}_id text, usual interval)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_nestloop = on AS $$
#variable_conflict use_column
BEGIN
  IF of_{device}s IS NOT NULL THEN
    RETURN QUERY
    SELECT s.{device}_id, percentile_disc(0.5) WITHIN GROUP (ORDER BY s.spacing)
    FROM (
      SELECT r.{device}_id,
        r.recorded_at - lag(r.recorded_at) OVER (PARTITION BY r.{device}_id ORDER BY r.recorded_at) AS spacing
      FROM volt_internal.{device}_energy_reading r
      WHERE r.{device}_id = ANY (of_{device}s) AND r.recorded_at >= of_day AND r.recorded_at < of_day + INTERVAL '1 day'
        AND r.register_kwh IS NOT NULL
    ) s
    GROUP BY s.{device}_id;
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.usual_{device}_register_spacing(text[], timestamptz) IS
  'The lower median of the times between two readings of a register, of some {device}s on a UTC day; NULL: one alone.';

CREATE OR REPLACE FUNCTION volt_internal.sum_{device}_quarters(
  from_at timestamptz, to_at timestamptz, only_{device}s text[], around interval, learns boolean,
  OUT wider text[], OUT others text[], OUT changed text[]
)
-- Each step is of all devices, of which the statistics of the steps before do not tell: never one look-up a device, and
-- no sort where a hash does.
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' SET enable_nestloop = off SET enable_sort = off AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  reach CONSTANT interval := volt_internal.piece_reach();
  reach_s CONSTANT integer := extract(epoch FROM reach);
  narrow CONSTANT boolean := around < reach;
  around_s CONSTANT integer := extract(epoch FROM around);
  of_day CONSTANT timestamptz := date_trunc('day', from_at, 'UTC');
  day_ends CONSTANT timestamptz := of_day + INTERVAL '1 day';
  most_kw CONSTANT double precision := volt_internal.setting_number('efficiency_max_power_kw');
BEGIN
  WITH reading AS MATERIALIZED (
    SELECT r.{device}_id, r.recorded_at, r.interval_kwh, r.register_kwh,
      volt_internal.quarter_hour(r.recorded_at - INTERVAL '1 microsecond') AS quarter_hour,
      max(r.recorded_at) FILTER (WHERE r.interval_kwh IS NOT NULL) OVER w AS before_at,
      max(r.recorded_at) FILTER (WHERE r.register_kwh IS NOT NULL) OVER w AS since,
      max(r.register_kwh) OVER w AS before_kwh
    FROM (
      -- vehicle: SELECT vehicle_id, recorded_at, kwh_delivered_dc AS interval_kwh, dc_register_kwh AS register_kwh FROM volt.vehicle_reading
      -- meter: SELECT meter_id, recorded_at, kwh_consumed_ac AS interval_kwh, ac_register_kwh AS register_kwh FROM volt.meter_reading
    ) r
    WHERE r.recorded_at >= from_at - around AND r.recorded_at <= to_at + around
      AND (r.interval_kwh IS NOT NULL OR r.register_kwh IS NOT NULL)
      AND (only_{device}s IS NULL OR r.{device}_id = ANY (only_{device}s))
    -- Any order does, and this one is the quickest.
    WINDOW w AS (PARTITION BY r.{device}_id COLLATE "C" ORDER BY r.recorded_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
  ), known AS MATERIALIZED (
    SELECT {device}_id, k.{device}_id IS NOT NULL AS is_learnt, k.last_at, k.usual_s, k.shorter, k.as_usual, k.longer,
      coalesce(v.interval_s, k.usual_s, 900) AS interval_s,
      make_interval(secs => coalesce(v.interval_s, k.usual_s, 900)) AS whole,
      -- A spacing is taken in whole seconds, of at least one.
      CASE WHEN k.usual_s > 1 THEN make_interval(secs => k.usual_s - 0.5) END AS shortest,
      make_interval(secs => k.usual_s + 0.5) AS too_long
    FROM (
      SELECT i.device_id AS {device}_id, i.last_at, i.usual_s, i.shorter, i.as_usual, i.longer
      FROM volt_internal.device_interval i WHERE i.device_type = '{device}' AND i.day = of_day
    ) k
    FULL JOIN (SELECT x.{device}_id, x.interval_s FROM volt.{device} x WHERE x.interval_s IS NOT NULL) v USING ({device}_id)
  ), by_quarter AS MATERIALIZED (
    SELECT r.{device}_id, r.quarter_hour,
      bool_or(r.interval_kwh IS NOT NULL) AS has_interval,
      min(r.recorded_at) FILTER (WHERE r.register_kwh IS NOT NULL) AS first_at,
      max(r.recorded_at) FILTER (WHERE r.register_kwh IS NOT NULL) AS last_at,
      max(r.register_kwh) AS register_kwh,
      bool_and(r.register_kwh >= r.before_kwh) AS rises,
      max((r.register_kwh - r.before_kwh) / date_part('epoch', r.recorded_at - r.since)) * 3600 AS highest_kw,
      max(r.recorded_at - r.since) FILTER (WHERE r.register_kwh IS NOT NULL) AS widest,
      max(r.recorded_at - r.since) FILTER (WHERE r.register_kwh > r.before_kwh AND r.since >= of_day) AS widest_today,
      max(r.recorded_at - r.since) FILTER (WHERE r.register_kwh > r.before_kwh AND r.since < of_day) AS widest_before,
      -- How long its intervals are.
      min(r.counted_at) AS first_interval_at, max(r.counted_at) AS last_interval_at,
      count(*) FILTER (WHERE r.spacing < r.shortest) AS shorter, count(*) FILTER (WHERE r.spacing >= r.too_long) AS longer,
      count(r.spacing) FILTER (WHERE r.too_long IS NOT NULL) AS spacings,
      -- What lies in this quarter hour alone.
      sum(r.whole_kwh::numeric) AS interval_kwh, max(r.whole_kwh) AS most_kwh, sum(r.covers) AS covered,
      min(r.rises_from) AS since, min(r.rises_kwh) AS before_kwh,
      max(3600 * (CASE WHEN r.rises_from IS NOT NULL THEN r.register_kwh END::numeric - r.rises_kwh::numeric)
        / extract(epoch FROM r.recorded_at - r.rises_from)) AS peak_kw
    FROM (
      SELECT r.*, k.shortest, k.too_long, CASE WHEN c.counts THEN r.recorded_at END AS counted_at,
        CASE WHEN c.counts THEN r.recorded_at - CASE WHEN r.before_at >= of_day THEN r.before_at ELSE k.last_at END END AS spacing,
        CASE WHEN w.is_whole THEN r.interval_kwh END AS whole_kwh,
        CASE WHEN w.is_whole THEN least(k.whole, r.recorded_at - r.before_at) END AS covers,
        CASE WHEN w.rises THEN r.since END AS rises_from, CASE WHEN w.rises THEN r.before_kwh END AS rises_kwh
      FROM reading r
      LEFT JOIN known k USING ({device}_id)
      CROSS JOIN LATERAL (
        SELECT learns AND r.interval_kwh IS NOT NULL AND r.recorded_at >= from_at AND r.recorded_at < to_at AS counts) c
      CROSS JOIN LATERAL (
        SELECT r.interval_kwh IS NOT NULL AND r.recorded_at - k.whole >= r.quarter_hour AND i.inside AS is_whole,
          r.register_kwh IS NOT NULL AND r.since >= r.quarter_hour AND i.inside AS rises
        FROM (SELECT r.quarter_hour >= from_at AND r.quarter_hour < to_at AS inside) i) w
      OFFSET 0
    ) r
    GROUP BY r.{device}_id, r.quarter_hour
  ), seen AS MATERIALIZED (
    SELECT s.{device}_id, bool_or(s.has_interval AND s.quarter_hour >= from_at) AS has_interval,
      bool_or(s.has_interval) AS has_any_interval, min(s.first_at) AS first_at, max(s.last_at) AS last_at,
      max(s.register_kwh) FILTER (WHERE s.quarter_hour < from_at) AS began_kwh, bool_and(s.rises) AS rises,
      max(s.highest_kw) AS highest_kw, max(s.widest) AS widest, max(s.widest_today) AS widest_today,
      max(s.widest_before) AS widest_before, min(s.first_interval_at) AS first_interval_at,
      max(s.last_interval_at) AS last_interval_at, sum(s.shorter) AS shorter, sum(s.longer) AS longer,
      sum(s.spacings) - sum(s.shorter) - sum(s.longer) AS as_usual
    FROM by_quarter s GROUP BY s.{device}_id
  ), fresh AS MATERIALIZED (
    SELECT s.{device}_id FROM seen s LEFT JOIN known k USING ({device}_id)
    WHERE s.last_interval_at IS NOT NULL AND k.is_learnt IS NOT TRUE
  ), fresh_spacing AS MATERIALIZED (
    SELECT r.{device}_id, volt_internal.whole_seconds(r.recorded_at - CASE WHEN r.before_at >= of_day THEN r.before_at END) AS s
    FROM reading r
    WHERE EXISTS (SELECT FROM fresh) AND r.{device}_id IN (SELECT f.{device}_id FROM fresh f)
      AND r.interval_kwh IS NOT NULL AND r.recorded_at >= from_at AND r.recorded_at < to_at
  ), usual AS (
    SELECT f.{device}_id, percentile_disc(0.5) WITHIN GROUP (ORDER BY f.s) AS s FROM fresh_spacing f GROUP BY f.{device}_id
  ), learnt AS MATERIALIZED (
    SELECT s.{device}_id, s.first_interval_at AS first_at, s.last_interval_at AS last_at, false AS is_new,
      NULL::integer AS new_s, s.shorter, s.as_usual, s.longer
    FROM seen s JOIN known k USING ({device}_id)
    WHERE s.last_interval_at IS NOT NULL AND k.is_learnt
    UNION ALL
    SELECT s.{device}_id, s.first_interval_at, s.last_interval_at, true, u.s, count(*) FILTER (WHERE p.s < u.s),
      count(*) FILTER (WHERE p.s = u.s), count(*) FILTER (WHERE p.s > u.s)
    FROM usual u JOIN fresh_spacing p USING ({device}_id) JOIN seen s USING ({device}_id)
    GROUP BY s.{device}_id, s.first_interval_at, s.last_interval_at, u.s
  ), noted AS (
    INSERT INTO volt_internal.device_interval AS k
      (device_type, device_id, day, last_at, usual_s, shorter, as_usual, longer)
    SELECT '{device}', l.{device}_id, of_day, l.last_at, l.new_s, l.shorter, l.as_usual, l.longer FROM learnt l
    ON CONFLICT (device_type, day, device_id) DO UPDATE SET
      last_at = excluded.last_at, shorter = k.shorter + excluded.shorter, as_usual = k.as_usual + excluded.as_usual,
      longer = k.longer + excluded.longer
  ), spaced AS MATERIALIZED (
    -- Those with a stretch that may be a gap, and how their registers report, as far as the day has come.
    SELECT s.{device}_id, v.interval_s IS NULL AND s.widest_today > quarter AS is_provisional,
      coalesce(s.widest_today > 2 * coalesce(make_interval(secs => v.interval_s), t.usual, quarter), false)
      OR coalesce(s.widest_before > 2 * coalesce(make_interval(secs => v.interval_s), b.usual, quarter), false) AS is_long
    FROM seen s
    LEFT JOIN volt.{device} v USING ({device}_id)
    LEFT JOIN volt_internal.usual_{device}_register_spacing((
      SELECT array_agg(o.{device}_id) FROM seen o WHERE o.widest_today > quarter AND o.widest_today <= reach), of_day) t USING ({device}_id)
    LEFT JOIN volt_internal.usual_{device}_register_spacing((
      SELECT array_agg(o.{device}_id) FROM seen o WHERE o.widest_before > quarter AND o.widest_before <= reach),
      of_day - INTERVAL '1 day') b USING ({device}_id)
    WHERE NOT narrow AND s.widest > quarter AND s.widest <= reach
  ), device AS MATERIALIZED (
    -- What its readings are, and whether sums do.
    SELECT s.{device}_id, s.first_at IS NOT NULL AS has_register, i.s AS interval_s,
      CASE
        WHEN s.{device}_id IN (
          SELECT x.device_id FROM volt.register_decision x
          WHERE x.device_type = '{device}' AND x.recorded_at >= from_at - reach AND x.recorded_at <= to_at + reach) THEN 'definition'
        -- The usual interval of the day is another one by now.
        WHEN l.is_new IS FALSE AND k.usual_s IS NULL OR 2 * n.shorter >= n.spacings AND n.spacings > 0 OR 2 * n.longer > n.spacings
          THEN 'definition'
        -- The day's first interval reaches into what has been computed.
        WHEN l.is_new AND i.since < from_at AND CASE
          WHEN s.first_at IS NULL THEN from_at > of_day OR y.device_id IS NULL
          ELSE s.first_at > i.since OR s.widest > quarter END THEN 'definition'
        WHEN s.first_at IS NULL THEN CASE
          WHEN i.s IS NULL OR i.s > reach_s THEN 'definition'
          WHEN c.register_at > from_at AND narrow OR i.s > around_s OR l.is_new THEN 'wider'
          WHEN c.register_at > from_at THEN 'definition'
          ELSE 'sums' END
        WHEN s.rises IS FALSE OR s.highest_kw > coalesce(v.max_power_kw, most_kw) THEN 'definition'
        WHEN narrow AND (s.first_at > from_at OR s.last_at < to_at OR s.widest > quarter) THEN 'wider'
        WHEN s.last_at <= from_at THEN CASE WHEN s.has_interval THEN 'definition' ELSE 'sums' END
        WHEN s.first_at > from_at OR q.register_kwh IS DISTINCT FROM s.began_kwh::numeric OR s.has_interval AND s.last_at < to_at
          THEN 'definition'
        WHEN s.widest > quarter AND (p.is_long IS NOT FALSE OR s.has_any_interval OR k.is_learnt OR EXISTS (
          SELECT FROM volt_internal.device_interval t
          WHERE t.device_type = '{device}' AND t.device_id = s.{device}_id AND t.day = day_ends)) THEN 'definition'
        ELSE 'sums'
      END AS way,
      p.is_provisional
    FROM seen s
    LEFT JOIN volt.{device} v USING ({device}_id)
    LEFT JOIN learnt l USING ({device}_id)
    LEFT JOIN known k USING ({device}_id)
    LEFT JOIN spaced p USING ({device}_id)
    LEFT JOIN volt_internal.device_interval y
      ON y.device_type = '{device}' AND y.device_id = s.{device}_id AND y.day = of_day - INTERVAL '1 day'
    CROSS JOIN LATERAL (
      SELECT k.shorter + coalesce(l.shorter, 0) AS shorter, k.longer + coalesce(l.longer, 0) AS longer,
        k.shorter + k.as_usual + k.longer + coalesce(l.shorter + l.as_usual + l.longer, 0) AS spacings) n
    -- Of a device with its first readings behind the slice nothing is known yet.
    CROSS JOIN LATERAL (
      SELECT u.s, l.first_at - make_interval(secs => u.s) AS since
      FROM (SELECT coalesce(v.interval_s, k.usual_s, l.new_s, CASE WHEN k.is_learnt OR l.is_new THEN 900 END) AS s) u
    ) i
    LEFT JOIN volt_internal.{device}_quarter q ON q.{device}_id = s.{device}_id AND q.quarter_hour = from_at - quarter
    -- vehicle: LEFT JOIN (SELECT vehicle_id, dc_register_at AS register_at FROM volt.vehicle_current) c ON c.vehicle_id = s.vehicle_id
    -- meter: LEFT JOIN (SELECT meter_id, ac_register_at AS register_at FROM volt.meter_current) c ON c.meter_id = s.meter_id
  ), day_before AS (
    -- The first interval of the day reaches into the day before, and is another one than it was taken for there.
    INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
    SELECT '{device}', l.{device}_id, of_day - 2 * quarter, of_day
    FROM learnt l
    JOIN volt_internal.device_interval y
      ON y.device_type = '{device}' AND y.device_id = l.{device}_id AND y.day = of_day - INTERVAL '1 day'
    WHERE l.is_new AND coalesce(l.new_s, 900) IS DISTINCT FROM coalesce(y.usual_s, 900)
  ), provisional AS (
    INSERT INTO volt_internal.energy_provisional (device_type, device_id, day)
    SELECT '{device}', d.{device}_id, of_day
    FROM device d CROSS JOIN volt_internal.rollup_state s
    WHERE d.way = 'sums' AND d.is_provisional AND s.energy_watermark < day_ends
    ON CONFLICT DO NOTHING
  ), cut AS MATERIALIZED (
    -- What lies in more than one quarter hour.
    SELECT r.{device}_id, NULL::integer AS interval_s, r.since, r.since AS covers_from, r.recorded_at AS until, r.quarter_hour,
      r.register_kwh::numeric - r.before_kwh::numeric AS kwh, r.register_kwh, r.before_kwh
    FROM reading r JOIN device d USING ({device}_id)
    WHERE d.way = 'sums' AND d.has_register AND r.register_kwh IS NOT NULL AND r.recorded_at > from_at AND r.since < to_at
      AND r.since < r.quarter_hour
    UNION ALL
    SELECT r.{device}_id, d.interval_s, r.recorded_at - d.whole, greatest(r.recorded_at - d.whole, r.before_at), r.recorded_at,
      r.quarter_hour, r.interval_kwh::numeric, NULL, NULL
    FROM reading r
    JOIN (
      SELECT *, make_interval(secs => interval_s) AS whole FROM device WHERE way = 'sums' AND NOT has_register) d USING ({device}_id)
    WHERE r.interval_kwh IS NOT NULL AND r.recorded_at > from_at AND r.recorded_at - d.whole < to_at
      AND r.recorded_at - around < r.quarter_hour AND r.recorded_at - d.whole < r.quarter_hour
  ), part AS (
    SELECT s.{device}_id, s.quarter_hour, s.register_kwh::numeric - s.before_kwh::numeric AS kwh, NULL::numeric AS whole_kwh,
      s.last_at - s.since AS covered, s.peak_kw, NULL::tstzrange AS gap, s.register_kwh, true AS has_register
    FROM by_quarter s JOIN device d USING ({device}_id)
    WHERE d.way = 'sums' AND d.has_register AND s.since IS NOT NULL
    UNION ALL
    SELECT s.{device}_id, s.quarter_hour, s.interval_kwh, NULL, s.covered,
      3600 * s.most_kwh::numeric / extract(epoch FROM make_interval(secs => d.interval_s)), NULL, NULL, false
    FROM by_quarter s JOIN device d USING ({device}_id)
    WHERE d.way = 'sums' AND NOT d.has_register AND s.interval_kwh IS NOT NULL
    UNION ALL
    SELECT c.{device}_id, q.at, s.kwh, c.kwh, greatest(c.covers_from, e.until) - greatest(c.covers_from, q.at),
      CASE WHEN g.gap IS NULL THEN 3600 * c.kwh / extract(epoch FROM c.until - c.since) END, g.gap,
      CASE WHEN q.at = c.quarter_hour THEN c.register_kwh ELSE c.before_kwh END, c.interval_s IS NULL
    FROM cut c
    CROSS JOIN LATERAL generate_series(volt_internal.quarter_hour(c.since), c.quarter_hour, quarter) AS q (at)
    CROSS JOIN LATERAL (SELECT least(q.at + quarter, c.until) AS until) e
    CROSS JOIN LATERAL (
      SELECT c.kwh * extract(epoch FROM e.until - greatest(c.since, q.at)) / extract(epoch FROM c.until - c.since) AS kwh) s
    CROSS JOIN LATERAL (
      SELECT CASE WHEN c.interval_s > 900 AND c.kwh > 0 AND abs(s.kwh - c.kwh) >= 1e-9 THEN tstzrange(c.since, c.until) END AS gap) g
  ), summed AS (
    SELECT p.{device}_id, p.quarter_hour, sum(p.kwh) AS kwh, sum(p.covered) AS covered,
      sum(p.kwh) FILTER (WHERE p.gap IS NULL) AS low_kwh, sum(CASE WHEN p.gap IS NULL THEN p.kwh ELSE p.whole_kwh END) AS high_kwh,
      max(p.peak_kw) AS peak_kw, array_agg(p.gap) FILTER (WHERE p.gap IS NOT NULL) AS gaps,
      bool_or(p.has_register) AS has_register, max(p.register_kwh) AS register_kwh
    FROM part p
    WHERE p.quarter_hour >= from_at AND p.quarter_hour < to_at
    GROUP BY p.{device}_id, p.quarter_hour
  ), figure AS MATERIALIZED (
    SELECT s.{device}_id, s.quarter_hour, round(s.kwh, 9) AS kwh, round(extract(epoch FROM s.covered), 6) AS covered_s,
      round(coalesce(s.low_kwh, 0), 9) AS low_kwh, round(s.high_kwh, 9) AS high_kwh,
      -- vehicle: m.vehicle_id IS NOT NULL AS moved,
      round(coalesce(s.peak_kw, 0), 6) AS peak_kw,
      CASE WHEN s.gaps IS NOT NULL THEN ARRAY(SELECT g FROM unnest(s.gaps) AS g ORDER BY g) END AS gaps,
      CASE WHEN s.has_register THEN 'register' ELSE 'interval' END AS source, s.register_kwh::numeric AS register_kwh
    FROM summed s
    -- vehicle: LEFT JOIN (SELECT DISTINCT r.vehicle_id, volt_internal.quarter_hour(r.recorded_at) AS quarter_hour FROM volt.vehicle_reading r WHERE r.recorded_at >= from_at AND r.recorded_at < to_at AND r.speed_kmh > 5 AND (only_vehicles IS NULL OR r.vehicle_id = ANY (only_vehicles))) m ON m.vehicle_id = s.vehicle_id AND m.quarter_hour = s.quarter_hour
  ), kept AS (
    INSERT INTO volt_internal.{device}_quarter AS k ({device}_id, quarter_hour, kwh, covered_s, gap_s, low_kwh, high_kwh,
      -- vehicle: moved,
      peak_kw, gaps, suspect, source, register_kwh)
    SELECT f.{device}_id, f.quarter_hour, f.kwh, f.covered_s, 0, f.low_kwh, f.high_kwh,
      -- vehicle: f.moved,
      f.peak_kw, f.gaps, false, f.source, f.register_kwh
    FROM figure f
    -- include: quarter_differs.sql
    RETURNING k.{device}_id
  ), further AS MATERIALIZED (
    SELECT d.{device}_id FROM device d WHERE d.way = 'wider'
    UNION ALL
    -- Between its readings all of a narrow look may lie.
    SELECT k.{device}_id FROM known k
    WHERE narrow AND k.is_learnt AND k.interval_s > around_s AND k.interval_s <= reach_s
      AND (only_{device}s IS NULL OR k.{device}_id = ANY (only_{device}s))
      AND NOT EXISTS (SELECT FROM device d WHERE d.{device}_id = k.{device}_id)
  ), left_over AS (
    DELETE FROM volt_internal.{device}_quarter k
    WHERE k.{device}_id = ANY (only_{device}s) AND k.quarter_hour >= from_at AND k.quarter_hour < to_at
      AND NOT EXISTS (SELECT FROM figure f WHERE f.{device}_id = k.{device}_id AND f.quarter_hour = k.quarter_hour)
      AND NOT EXISTS (SELECT FROM further w WHERE w.{device}_id = k.{device}_id)
      AND NOT EXISTS (SELECT FROM device d WHERE d.{device}_id = k.{device}_id AND d.way = 'definition')
    RETURNING k.{device}_id
  )
  SELECT
    ARRAY(SELECT w.{device}_id FROM further w),
    ARRAY(SELECT d.{device}_id FROM device d WHERE d.way = 'definition'),
    ARRAY(SELECT {device}_id FROM kept UNION SELECT {device}_id FROM left_over)
  INTO wider, others, changed;
END $$;
COMMENT ON FUNCTION volt_internal.sum_{device}_quarters(timestamptz, timestamptz, text[], interval, boolean) IS
  'Computes the quarter hours of a slice of one UTC day, of all {device}s or of some again, from readings in it and so far '
  'around it. wider: {device}s that need a look further around; others: their readings are irregular, or their registers do '
  'more than rise; changed: {device}s of which another quarter hour is kept now.';

CREATE OR REPLACE FUNCTION volt_internal.keep_{device}_quarters(
  from_at timestamptz, to_at timestamptz, only_{device}s text[] DEFAULT NULL
) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  near record;
BEGIN
  -- Most devices report every minute or so, and far fewer readings do for these.
  SELECT * INTO near
  FROM volt_internal.sum_{device}_quarters(from_at, to_at, only_{device}s, INTERVAL '3 minutes', only_{device}s IS NULL);
  IF cardinality(near.wider) > 0 THEN
    SELECT near.others || w.others, near.changed || w.changed INTO near.others, near.changed
    FROM volt_internal.sum_{device}_quarters(from_at, to_at, near.wider, volt_internal.piece_reach(), false) w;
  END IF;
  IF only_{device}s IS NOT NULL AND cardinality(near.changed) > 0 THEN
    PERFORM volt_internal.mark_efficiency('{device}', near.changed, from_at, to_at);
  END IF;
  RETURN near.others;
END $$;
COMMENT ON FUNCTION volt_internal.keep_{device}_quarters(timestamptz, timestamptz, text[]) IS
  'Computes the quarter hours of a slice of one UTC day, of all {device}s or of some again, where sums tell them, and returns '
  'the others that reported in it: their readings are irregular, or their registers do more than rise.';

-- end
