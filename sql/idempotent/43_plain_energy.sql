-- What: energy of a short period from the readings around it, where these are enough, and whether they are.
-- Why:  the definition (27_energy_quarters) reads days around a period. Most devices report regularly, and their registers
--       only rise: the conditions are those of 28_energy_kept, but that no piece is over 15 minutes, for one device and a
--       period that need not be of whole quarter hours.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.plain_source(
  ats timestamptz[], kwhs numeric[], registers double precision[], from_at timestamptz, to_at timestamptz, interval_s numeric,
  max_power_kw double precision, register_kwh numeric, register_at timestamptz
) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_variable
BEGIN
  RETURN (
    WITH reading AS (
      SELECT r.at, r.kwh, r.shown_kwh, max(r.at) FILTER (WHERE r.shown_kwh IS NOT NULL) OVER w AS since,
        max(r.shown_kwh) OVER w AS before_kwh
      FROM unnest(ats, kwhs, registers) AS r (at, kwh, shown_kwh)
      WINDOW w AS (ORDER BY r.at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), looked AS (
      SELECT max(r.at) FILTER (WHERE r.kwh IS NOT NULL AND r.at > from_at) AS interval_at,
        min(r.at) FILTER (WHERE r.shown_kwh IS NOT NULL) AS first_at, max(r.at) FILTER (WHERE r.shown_kwh IS NOT NULL) AS last_at,
        max(r.shown_kwh) FILTER (WHERE r.at <= from_at) AS began_kwh,
        bool_and(r.since IS NULL OR (
          r.at - r.since <= INTERVAL '15 minutes' AND r.shown_kwh >= r.before_kwh AND r.shown_kwh - r.before_kwh
            <= max_power_kw * date_part('epoch', r.at - r.since) / 3600)) FILTER (WHERE r.shown_kwh IS NOT NULL) AS rises
      FROM reading r
    )
    SELECT CASE
      WHEN l.first_at IS NULL THEN
        CASE WHEN interval_s <= 900 AND (register_at IS NULL OR register_at <= from_at) THEN 'interval' END
      WHEN l.last_at <= from_at THEN
        CASE WHEN interval_s <= 900 AND l.interval_at IS NULL AND register_at <= l.last_at THEN 'register' END
      WHEN l.rises AND l.first_at <= from_at AND register_kwh = l.began_kwh::numeric
        -- Where the register does not go on to the end, neither the rest of a gap nor of a long interval may follow.
        AND (l.last_at >= to_at OR (
          interval_s <= 900 AND coalesce(register_at <= l.last_at, true) AND coalesce(l.interval_at <= l.last_at, true)))
        THEN 'register' END
    FROM looked l);
END $$;
COMMENT ON FUNCTION volt_internal.plain_source(
  timestamptz[], numeric[], double precision[], timestamptz, timestamptz, numeric, double precision, numeric, timestamptz
) IS
  'interval or register: the energy (kWh) of a period is made of these alone, and plain_quarters tells it from the readings '
  'of the period and 15 minutes around it; NULL: only the definition tells it. interval_s: the usual interval, s; '
  'register_kwh: what the register showed at the beginning; register_at: its newest reading.';

CREATE OR REPLACE FUNCTION volt_internal.plain_quarters(
  ats timestamptz[], kwhs numeric[], registers double precision[], moving timestamptz[], from_at timestamptz,
  to_at timestamptz, interval_s numeric, of_source text
) RETURNS TABLE (
  -- include: quarter_columns.sql
)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  by_register CONSTANT boolean := of_source = 'register';
  whole CONSTANT interval := make_interval(secs => interval_s::double precision);
BEGIN
  RETURN QUERY
  WITH reading AS (
    SELECT r.at, lag(r.at) OVER w AS before_at,
      CASE WHEN by_register THEN r.shown_kwh::numeric - lag(r.shown_kwh::numeric) OVER w ELSE r.kwh END AS kwh
    FROM unnest(ats, kwhs, registers) AS r (at, kwh, shown_kwh)
    WHERE CASE WHEN by_register THEN r.shown_kwh IS NOT NULL ELSE r.kwh IS NOT NULL END
    WINDOW w AS (ORDER BY r.at)
  ), piece AS (
    SELECT CASE WHEN by_register THEN r.before_at ELSE r.at - whole END AS since, r.before_at, r.at AS until, r.kwh,
      volt_internal.quarter_hour(r.at - INTERVAL '1 microsecond') AS last_quarter
    FROM reading r
    WHERE r.kwh IS NOT NULL AND r.at > from_at AND r.at - quarter < to_at
  ), part AS (
    -- A piece of at most a quarter hour touches two of them at most.
    SELECT q.quarter_hour, p.kwh, extract(epoch FROM p.until - p.since) AS whole_s, p.before_at, c.began_at, c.ended_at,
      c.began_at = p.since AND c.ended_at = p.until AS is_whole
    FROM piece p
    CROSS JOIN LATERAL unnest(ARRAY[p.last_quarter, p.last_quarter - quarter]) AS q (quarter_hour)
    CROSS JOIN LATERAL (
      SELECT greatest(p.since, q.quarter_hour, from_at) AS began_at, least(p.until, q.quarter_hour + quarter, to_at) AS ended_at) c
    WHERE c.began_at < c.ended_at
  )
  SELECT p.quarter_hour, extract(epoch FROM least(p.quarter_hour + quarter, to_at) - greatest(p.quarter_hour, from_at)),
    s.kwh, p.covered_s, 0::numeric, s.kwh, s.kwh, p.peak_kw, NULL::tstzrange[], false, of_source,
    EXISTS (
      SELECT FROM unnest(moving) AS m (at)
      WHERE m.at >= greatest(p.quarter_hour, from_at) AND m.at < least(p.quarter_hour + quarter, to_at))
  FROM (
    SELECT p.quarter_hour, sum(CASE WHEN p.is_whole THEN p.kwh ELSE p.kwh * extract(epoch FROM p.ended_at - p.began_at) / p.whole_s END) AS kwh,
      sum(greatest(extract(epoch FROM p.ended_at - greatest(p.began_at, p.before_at)), 0)) AS covered_s,
      max(3600 * p.kwh / p.whole_s) AS peak_kw
    FROM part p
    GROUP BY p.quarter_hour
  ) p
  CROSS JOIN LATERAL (SELECT round(p.kwh, 9) AS kwh) s;
END $$;
COMMENT ON FUNCTION volt_internal.plain_quarters(
  timestamptz[], numeric[], double precision[], timestamptz[], timestamptz, timestamptz, numeric, text
) IS
  'Energy (kWh) by quarter hour within [from, to) of a device of which plain_source says that its readings around it tell '
  'it; columns as in vehicle_energy_quarters, and whether one of the times in moving lies in it.';
