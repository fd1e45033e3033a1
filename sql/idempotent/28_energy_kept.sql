-- What: the energy of closed quarter hours, of all devices at once, from raw readings into the tables of quarter hours.
-- Why:  27_energy_quarters has the definition, device by device. Most devices report regularly, and their registers only
--       rise: for these it comes down to sums, which one statement makes for all. It returns who is not like that, and
--       29_energy_again asks the definition for those.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

-- each device:
-- Of a day that goes on, only the counts change, as long as they say the same median.
CREATE OR REPLACE FUNCTION volt_internal.learn_{device}_intervals(from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  of_day CONSTANT timestamptz := date_trunc('day', from_at, 'UTC');
BEGIN
  INSERT INTO volt_internal.device_interval AS k
    (device_type, device_id, day, last_at, usual_s, shorter, as_usual, longer)
  SELECT '{device}', s.{device}_id, of_day, max(s.recorded_at), NULL, count(*) FILTER (WHERE s.spacing_s < s.usual_s),
    count(*) FILTER (WHERE s.spacing_s = s.usual_s), count(*) FILTER (WHERE s.spacing_s > s.usual_s)
  FROM (
    SELECT r.{device}_id, r.recorded_at, i.usual_s,
      volt_internal.whole_seconds(r.recorded_at - coalesce(
        lag(r.recorded_at) OVER (PARTITION BY r.{device}_id ORDER BY r.recorded_at), i.last_at)) AS spacing_s
    FROM volt_internal.{device}_energy_reading r
    LEFT JOIN volt_internal.device_interval i
      ON i.device_type = '{device}' AND i.day = of_day AND i.device_id = r.{device}_id
    WHERE r.recorded_at >= from_at AND r.recorded_at < to_at AND r.interval_kwh IS NOT NULL
  ) s
  GROUP BY s.{device}_id
  ON CONFLICT (device_type, day, device_id) DO UPDATE SET
    last_at = excluded.last_at, shorter = k.shorter + excluded.shorter, as_usual = k.as_usual + excluded.as_usual,
    longer = k.longer + excluded.longer;
  PERFORM volt_internal.learn_{device}_day(array_agg(k.device_id), of_day, to_at)
  FROM volt_internal.device_interval k
  WHERE k.device_type = '{device}' AND k.day = of_day AND (
    k.usual_s IS NULL OR 2 * k.shorter >= k.shorter + k.as_usual + k.longer OR k.shorter + k.as_usual < k.longer);
END $$;
COMMENT ON FUNCTION volt_internal.learn_{device}_intervals(timestamptz, timestamptz) IS
  'Counts the intervals of all {device}s in a slice of a UTC day for their usual one.';

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
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  of_day CONSTANT timestamptz := date_trunc('day', from_at, 'UTC');
  most_kw CONSTANT numeric := volt_internal.setting_number('efficiency_max_power_kw');
  others text[];
BEGIN
  IF only_{device}s IS NOT NULL THEN
    DELETE FROM volt_internal.{device}_quarter q
    WHERE q.{device}_id = ANY (only_{device}s) AND q.quarter_hour >= from_at AND q.quarter_hour < to_at;
  END IF;
  WITH reading AS MATERIALIZED (
    SELECT r.{device}_id, r.recorded_at, r.interval_kwh, r.register_kwh
    FROM volt_internal.{device}_energy_reading r
    WHERE r.recorded_at >= from_at - quarter AND r.recorded_at <= to_at + quarter
      AND (r.interval_kwh IS NOT NULL OR r.register_kwh IS NOT NULL)
      AND (only_{device}s IS NULL OR r.{device}_id = ANY (only_{device}s))
  ), step AS (
    SELECT r.{device}_id, r.recorded_at, r.register_kwh,
      lag(r.recorded_at) OVER w AS since, lag(r.register_kwh) OVER w AS before_kwh,
      coalesce(v.max_power_kw::numeric, most_kw) AS most_kw
    FROM reading r LEFT JOIN volt.{device} v USING ({device}_id)
    WHERE r.register_kwh IS NOT NULL
    WINDOW w AS (PARTITION BY r.{device}_id ORDER BY r.recorded_at)
  ), register AS (
    SELECT s.{device}_id, min(s.recorded_at) AS first_at, max(s.recorded_at) AS last_at,
      max(s.register_kwh) FILTER (WHERE s.recorded_at <= from_at) AS began_kwh,
      bool_and(s.since IS NULL OR (
        s.recorded_at - s.since <= quarter AND s.register_kwh >= s.before_kwh AND s.register_kwh - s.before_kwh
          <= s.most_kw * date_part('epoch', s.recorded_at - s.since) / 3600)) AS rises
    FROM step s
    GROUP BY s.{device}_id
  ), device AS MATERIALIZED (
    -- What its readings are, and whether sums do.
    SELECT d.{device}_id, g.{device}_id IS NOT NULL AS has_register, coalesce(v.interval_s, k.usual_s, 900) AS interval_s,
      CASE
        WHEN EXISTS (
          SELECT FROM volt.register_decision x
          WHERE x.device_type = '{device}' AND x.device_id = d.{device}_id AND x.recorded_at >= from_at - quarter
            AND x.recorded_at <= to_at + quarter) THEN false
        WHEN g.{device}_id IS NULL THEN coalesce(v.interval_s, k.usual_s, 900) <= 900
          AND (v.interval_s IS NOT NULL OR k.device_id IS NOT NULL)
          AND (c.register_at IS NULL OR c.register_at <= from_at)
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
    LEFT JOIN volt_internal.device_interval k
      ON k.device_type = '{device}' AND k.device_id = d.{device}_id AND k.day = of_day
    LEFT JOIN volt_internal.{device}_quarter q ON q.{device}_id = d.{device}_id AND q.quarter_hour = from_at - quarter
    -- vehicle: LEFT JOIN (SELECT vehicle_id, dc_register_at AS register_at FROM volt.vehicle_current) c ON c.vehicle_id = d.vehicle_id
    -- meter: LEFT JOIN (SELECT meter_id, ac_register_at AS register_at FROM volt.meter_current) c ON c.meter_id = d.meter_id
  ), piece AS (
    SELECT s.{device}_id, s.since, s.since AS covers_from, s.recorded_at AS until,
      s.register_kwh::numeric - s.before_kwh::numeric AS kwh, s.register_kwh
    FROM step s JOIN device d USING ({device}_id)
    WHERE d.plain AND d.has_register AND s.recorded_at > from_at AND s.since < to_at
    UNION ALL
    SELECT i.{device}_id, i.recorded_at - i.whole, greatest(i.recorded_at - i.whole, i.before_at), i.recorded_at,
      i.interval_kwh, NULL
    FROM (
      SELECT r.{device}_id, r.recorded_at, r.interval_kwh, make_interval(secs => d.interval_s) AS whole,
        lag(r.recorded_at) OVER (PARTITION BY r.{device}_id ORDER BY r.recorded_at) AS before_at
      FROM reading r JOIN device d USING ({device}_id)
      WHERE d.plain AND NOT d.has_register AND r.recorded_at > from_at AND r.interval_kwh IS NOT NULL
    ) i
    WHERE i.recorded_at - i.whole < to_at
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
