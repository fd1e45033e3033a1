-- What: the energy of closed quarter hours, of all devices at once, from raw readings into the tables of quarter hours.
-- Why:  27_energy_quarters has the definition, device by device. Most devices report regularly, and their registers only
--       rise: for these it comes down to sums, which one statement makes for all. It returns who is not like that, and
--       29_energy_again asks the definition for those.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.learn_{device}_day(of_{device}s text[], of_day timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  WITH spacing AS (
    SELECT r.{device}_id, r.recorded_at, volt_internal.whole_seconds(
      r.recorded_at - lag(r.recorded_at) OVER (PARTITION BY r.{device}_id ORDER BY r.recorded_at)) AS s
    FROM volt_internal.{device}_energy_reading r
    WHERE r.{device}_id = ANY (of_{device}s) AND r.recorded_at >= of_day
      AND r.recorded_at < least(to_at, of_day + INTERVAL '1 day') AND r.interval_kwh IS NOT NULL
  ), usual AS (
    SELECT {device}_id, max(recorded_at) AS last_at, percentile_disc(0.5) WITHIN GROUP (ORDER BY s) AS s
    FROM spacing GROUP BY {device}_id
  ), before AS (
    SELECT * FROM volt_internal.device_interval k
    WHERE k.device_type = '{device}' AND k.day = of_day AND k.device_id = ANY (of_{device}s)
  ), gone AS (
    DELETE FROM volt_internal.device_interval k USING before b
    WHERE k.device_type = b.device_type AND k.day = b.day AND k.device_id = b.device_id
      AND NOT EXISTS (SELECT FROM usual u WHERE u.{device}_id = b.device_id)
  ), learnt AS (
    INSERT INTO volt_internal.device_interval AS k
      (device_type, device_id, day, last_at, usual_s, shorter, as_usual, longer)
    SELECT '{device}', u.{device}_id, of_day, u.last_at, u.s, count(*) FILTER (WHERE p.s < u.s),
      count(*) FILTER (WHERE p.s = u.s), count(*) FILTER (WHERE p.s > u.s)
    FROM usual u JOIN spacing p USING ({device}_id)
    GROUP BY u.{device}_id, u.last_at, u.s
    ON CONFLICT (device_type, day, device_id) DO UPDATE SET
      last_at = excluded.last_at, usual_s = excluded.usual_s, shorter = excluded.shorter, as_usual = excluded.as_usual,
      longer = excluded.longer
  )
  -- What was computed with another interval: earlier quarter hours of the day, or of the day before the last one, into
  -- which the day's first interval reaches.
  INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
  SELECT '{device}', u.{device}_id, d.at, d.at + INTERVAL '1 day'
  FROM usual u
  LEFT JOIN before b ON b.device_id = u.{device}_id
  LEFT JOIN volt_internal.device_interval y
    ON y.device_type = '{device}' AND y.device_id = u.{device}_id AND y.day = of_day - INTERVAL '1 day'
  CROSS JOIN LATERAL (
    SELECT CASE WHEN EXISTS (
        SELECT FROM volt_internal.{device}_quarter q
        WHERE q.{device}_id = u.{device}_id AND q.quarter_hour >= of_day AND q.quarter_hour < of_day + INTERVAL '1 day')
      THEN of_day
      WHEN y.usual_s <> u.s THEN of_day - INTERVAL '1 day' END AS at
  ) d
  WHERE b.usual_s IS DISTINCT FROM u.s AND d.at IS NOT NULL;
END $$;
COMMENT ON FUNCTION volt_internal.learn_{device}_day(text[], timestamptz, timestamptz) IS
  'Learns the usual interval of some {device}s on a UTC day anew, from its readings before a time, and marks the '
  'days that were computed with another one.';

CREATE OR REPLACE FUNCTION volt_internal.keep_{device}_quarters(
  from_at timestamptz, to_at timestamptz, only_{device}s text[] DEFAULT NULL
) RETURNS text[]
-- Each step is of all devices, of which the statistics of the steps before do not tell: never one look-up a device.
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' SET enable_nestloop = off AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  of_day CONSTANT timestamptz := date_trunc('day', from_at, 'UTC');
  most_kw CONSTANT double precision := volt_internal.setting_number('efficiency_max_power_kw');
  others text[];
BEGIN
  IF only_{device}s IS NOT NULL THEN
    DELETE FROM volt_internal.{device}_quarter q
    WHERE q.{device}_id = ANY (only_{device}s) AND q.quarter_hour >= from_at AND q.quarter_hour < to_at;
  END IF;
  WITH reading AS MATERIALIZED (
    SELECT r.{device}_id, r.recorded_at, r.interval_kwh, r.register_kwh,
      max(r.recorded_at) FILTER (WHERE r.interval_kwh IS NOT NULL) OVER w AS before_at,
      max(r.recorded_at) FILTER (WHERE r.register_kwh IS NOT NULL) OVER w AS since,
      max(r.register_kwh) OVER w AS before_kwh
    FROM volt_internal.{device}_energy_reading r
    WHERE r.recorded_at >= from_at - quarter AND r.recorded_at <= to_at + quarter
      AND (r.interval_kwh IS NOT NULL OR r.register_kwh IS NOT NULL)
      AND (only_{device}s IS NULL OR r.{device}_id = ANY (only_{device}s))
    WINDOW w AS (PARTITION BY r.{device}_id ORDER BY r.recorded_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
  ), spacing AS (
    SELECT r.{device}_id, r.recorded_at, k.usual_s, k.device_id IS NULL AS is_new, volt_internal.whole_seconds(
      r.recorded_at - CASE WHEN r.before_at >= of_day THEN r.before_at ELSE k.last_at END) AS s
    FROM reading r
    LEFT JOIN volt_internal.device_interval k
      ON k.device_type = '{device}' AND k.day = of_day AND k.device_id = r.{device}_id
    WHERE r.interval_kwh IS NOT NULL AND r.recorded_at >= from_at AND r.recorded_at < to_at AND only_{device}s IS NULL
  ), counted AS (
    SELECT s.{device}_id, max(s.recorded_at) AS last_at, bool_or(s.is_new) AS is_new,
      percentile_disc(0.5) WITHIN GROUP (ORDER BY s.s) FILTER (WHERE s.is_new) AS new_s,
      count(*) FILTER (WHERE s.s < s.usual_s) AS shorter, count(*) FILTER (WHERE s.s = s.usual_s) AS as_usual,
      count(*) FILTER (WHERE s.s > s.usual_s) AS longer
    FROM spacing s GROUP BY s.{device}_id
  ), learnt AS MATERIALIZED (
    SELECT * FROM counted c WHERE NOT c.is_new
    UNION ALL
    SELECT c.{device}_id, c.last_at, true, c.new_s, count(*) FILTER (WHERE s.s < c.new_s),
      count(*) FILTER (WHERE s.s = c.new_s), count(*) FILTER (WHERE s.s > c.new_s)
    FROM counted c JOIN spacing s USING ({device}_id)
    WHERE c.is_new
    GROUP BY c.{device}_id, c.last_at, c.new_s
  ), noted AS (
    INSERT INTO volt_internal.device_interval AS k
      (device_type, device_id, day, last_at, usual_s, shorter, as_usual, longer)
    SELECT '{device}', l.{device}_id, of_day, l.last_at, l.new_s, l.shorter, l.as_usual, l.longer FROM learnt l
    ON CONFLICT (device_type, day, device_id) DO UPDATE SET
      last_at = excluded.last_at, shorter = k.shorter + excluded.shorter, as_usual = k.as_usual + excluded.as_usual,
      longer = k.longer + excluded.longer
  ), register AS (
    SELECT s.{device}_id, min(s.recorded_at) AS first_at, max(s.recorded_at) AS last_at,
      max(s.register_kwh) FILTER (WHERE s.recorded_at <= from_at) AS began_kwh,
      bool_and(s.since IS NULL OR (
        s.recorded_at - s.since <= quarter AND s.register_kwh >= s.before_kwh AND s.register_kwh - s.before_kwh
          <= coalesce(v.max_power_kw, most_kw) * date_part('epoch', s.recorded_at - s.since) / 3600)) AS rises
    FROM reading s LEFT JOIN volt.{device} v USING ({device}_id)
    WHERE s.register_kwh IS NOT NULL
    GROUP BY s.{device}_id
  ), device AS MATERIALIZED (
    -- What its readings are, and whether sums do.
    SELECT d.{device}_id, g.{device}_id IS NOT NULL AS has_register, i.s AS interval_s,
      CASE
        WHEN EXISTS (
          SELECT FROM volt.register_decision x
          WHERE x.device_type = '{device}' AND x.device_id = d.{device}_id AND x.recorded_at >= from_at - quarter
            AND x.recorded_at <= to_at + quarter) THEN false
        -- The usual interval of the day is another one by now.
        WHEN NOT l.is_new AND (
          k.usual_s IS NULL OR 2 * (k.shorter + l.shorter) >= k.shorter + l.shorter + k.as_usual + l.as_usual + k.longer + l.longer
          OR k.shorter + l.shorter + k.as_usual + l.as_usual < k.longer + l.longer) THEN false
        WHEN g.{device}_id IS NULL THEN i.s <= 900 AND (c.register_at IS NULL OR c.register_at <= from_at)
        WHEN g.last_at <= from_at THEN NOT d.has_interval
        ELSE g.rises AND g.first_at <= from_at AND q.register_kwh = g.began_kwh::numeric
          AND (NOT d.has_interval OR g.last_at >= to_at)
      END AS plain
    FROM (
      SELECT r.{device}_id, bool_or(r.interval_kwh IS NOT NULL AND r.recorded_at > from_at) AS has_interval
      FROM reading r GROUP BY r.{device}_id
    ) d
    LEFT JOIN register g USING ({device}_id)
    LEFT JOIN volt.{device} v USING ({device}_id)
    LEFT JOIN learnt l USING ({device}_id)
    LEFT JOIN volt_internal.device_interval k
      ON k.device_type = '{device}' AND k.device_id = d.{device}_id AND k.day = of_day
    -- Of a device with its first readings behind the slice nothing is known yet.
    CROSS JOIN LATERAL (
      SELECT coalesce(v.interval_s, k.usual_s, l.new_s, CASE WHEN k.device_id IS NOT NULL OR l.is_new THEN 900 END) AS s) i
    LEFT JOIN volt_internal.{device}_quarter q ON q.{device}_id = d.{device}_id AND q.quarter_hour = from_at - quarter
    -- vehicle: LEFT JOIN (SELECT vehicle_id, dc_register_at AS register_at FROM volt.vehicle_current) c ON c.vehicle_id = d.vehicle_id
    -- meter: LEFT JOIN (SELECT meter_id, ac_register_at AS register_at FROM volt.meter_current) c ON c.meter_id = d.meter_id
  ), day_before AS (
    -- The first interval of the day reaches into the day before, and is another one than it was taken for there.
    INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
    SELECT '{device}', l.{device}_id, of_day - quarter, of_day
    FROM learnt l
    JOIN volt_internal.device_interval y
      ON y.device_type = '{device}' AND y.device_id = l.{device}_id AND y.day = of_day - INTERVAL '1 day'
    WHERE l.is_new AND coalesce(l.new_s, 900) IS DISTINCT FROM coalesce(y.usual_s, 900)
  ), piece AS (
    SELECT s.{device}_id, s.since, s.since AS covers_from, s.recorded_at AS until,
      s.register_kwh::numeric - s.before_kwh::numeric AS kwh, s.register_kwh
    FROM reading s JOIN device d USING ({device}_id)
    WHERE d.plain AND d.has_register AND s.register_kwh IS NOT NULL AND s.recorded_at > from_at AND s.since < to_at
    UNION ALL
    SELECT r.{device}_id, r.recorded_at - i.whole, greatest(r.recorded_at - i.whole, r.before_at), r.recorded_at,
      r.interval_kwh, NULL
    FROM reading r
    JOIN device d USING ({device}_id)
    CROSS JOIN LATERAL (SELECT make_interval(secs => d.interval_s) AS whole) i
    WHERE d.plain AND NOT d.has_register AND r.interval_kwh IS NOT NULL AND r.recorded_at > from_at
      AND r.recorded_at - i.whole < to_at
  ), last_part AS (
    SELECT p.*, volt_internal.quarter_hour(p.until - INTERVAL '1 microsecond') AS quarter_hour FROM piece p
  ), part AS (
    -- A piece of at most a quarter hour touches two of them at most.
    SELECT {device}_id, quarter_hour, since, until, greatest(covers_from, quarter_hour) AS covers_from, until AS covers_until,
      register_kwh,
      CASE WHEN since >= quarter_hour THEN kwh
           ELSE kwh * extract(epoch FROM until - quarter_hour) / extract(epoch FROM until - since) END AS kwh,
      kwh AS whole_kwh
    FROM last_part
    UNION ALL
    SELECT {device}_id, quarter_hour - quarter, since, until, least(covers_from, quarter_hour), quarter_hour, NULL,
      kwh * extract(epoch FROM quarter_hour - since) / extract(epoch FROM until - since), kwh
    FROM last_part
    WHERE since < quarter_hour
  ), kept AS (
    INSERT INTO volt_internal.{device}_quarter AS q ({device}_id, quarter_hour, kwh, covered_s, gap_s, low_kwh, high_kwh,
      -- vehicle: moved,
      peak_kw, gaps, suspect, source, register_kwh)
    SELECT p.{device}_id, p.quarter_hour, round(sum(p.kwh), 9),
      round(sum(date_part('epoch', p.covers_until - p.covers_from))::numeric, 6), 0, round(sum(p.kwh), 9), round(sum(p.kwh), 9),
      -- vehicle: bool_or(m.vehicle_id IS NOT NULL),
      round(max(3600 * p.whole_kwh / extract(epoch FROM p.until - p.since)), 6), NULL, false,
      CASE WHEN bool_or(d.has_register) THEN 'register' ELSE 'interval' END, max(p.register_kwh)::numeric
    FROM part p
    JOIN device d USING ({device}_id)
    -- vehicle: LEFT JOIN (SELECT DISTINCT r.vehicle_id, volt_internal.quarter_hour(r.recorded_at) AS quarter_hour FROM volt.vehicle_reading r WHERE r.recorded_at >= from_at AND r.recorded_at < to_at AND r.speed_kmh > 5) m ON m.vehicle_id = p.vehicle_id AND m.quarter_hour = p.quarter_hour
    WHERE p.quarter_hour >= from_at AND p.quarter_hour < to_at
    GROUP BY p.{device}_id, p.quarter_hour
    ON CONFLICT ({device}_id, quarter_hour) DO NOTHING
  )
  SELECT array_agg(d.{device}_id) INTO others FROM device d WHERE d.plain IS NOT TRUE;
  RETURN others;
END $$;
COMMENT ON FUNCTION volt_internal.keep_{device}_quarters(timestamptz, timestamptz, text[]) IS
  'Computes the quarter hours of a slice of one UTC day, of all {device}s or of some again, where sums tell them, and returns '
  'the others that reported in it: their readings are irregular, or their registers do more than rise.';

-- end
