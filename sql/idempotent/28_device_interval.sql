-- What: how long the intervals of devices usually are on a UTC day, learnt anew from its readings.
-- Why:  it says how far a reading of interval energy reaches back. As time goes on 28_energy_kept counts on; late readings
--       and corrections have the whole day looked at.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.learn_{device}_day(of_{device}s text[], of_day timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB' AS $$
BEGIN
  WITH reading AS (
    SELECT r.{device}_id, r.recorded_at, date_part('epoch',
      r.recorded_at - lag(r.recorded_at) OVER (PARTITION BY r.{device}_id COLLATE "C" ORDER BY r.recorded_at)) AS s
    FROM volt.{device}_reading r
    WHERE r.{device}_id = ANY (of_{device}s) AND r.recorded_at >= of_day
      AND r.recorded_at < least(to_at, of_day + INTERVAL '1 day')
      -- vehicle: AND r.kwh_delivered_dc IS NOT NULL
      -- meter: AND r.kwh_consumed_ac IS NOT NULL
  ), spacing AS MATERIALIZED (
    -- In whole seconds: there are few of them a device.
    SELECT w.{device}_id, w.s, max(w.recorded_at) AS last_at, count(*) AS readings
    FROM (SELECT {device}_id, recorded_at, CASE WHEN s IS NOT NULL THEN greatest(floor(s + 0.5), 1)::integer END AS s FROM reading) w
    GROUP BY w.{device}_id, w.s
  ), usual AS (
    SELECT c.{device}_id, max(c.last_at) AS last_at, min(c.s) FILTER (WHERE 2 * c.so_far >= c.spacings) AS s
    FROM (
      SELECT *, sum(readings) FILTER (WHERE s IS NOT NULL) OVER (PARTITION BY {device}_id) AS spacings,
        sum(readings) OVER (PARTITION BY {device}_id ORDER BY s) AS so_far
      FROM spacing
    ) c
    GROUP BY c.{device}_id
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
    SELECT '{device}', u.{device}_id, of_day, u.last_at, u.s, coalesce(sum(p.readings) FILTER (WHERE p.s < u.s), 0),
      coalesce(sum(p.readings) FILTER (WHERE p.s = u.s), 0), coalesce(sum(p.readings) FILTER (WHERE p.s > u.s), 0)
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

-- end
