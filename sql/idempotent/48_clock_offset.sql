-- What: how far the clock of a meter is off that of a vehicle.
-- Why:  the times of nearest readings say nothing of clocks: of two devices that report each minute at different seconds
--       they are always up to 30 s apart. What both clocks date is the moment in which charging begins or ends. Between
--       two readings it follows from the energy: the part of the interval in which power flowed. So it is known to about
--       a second however seldom they report, where power rises and falls at once. One such edge may be anybody's; the
--       offset is known where at least two agree on it and no other offset has as many.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.power_edges(ats timestamptz[], kwhs double precision[], reach double precision)
RETURNS TABLE (at timestamptz, rises boolean, usual_s double precision)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH reading AS MATERIALIZED (
    SELECT r.at, r.kwh, extract(epoch FROM r.at - lag(r.at) OVER (ORDER BY r.at))::double precision AS s
    FROM unnest(ats, kwhs) AS r (at, kwh)
  ), spacing AS (
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY s) AS usual_s FROM reading
  ), piece AS MATERIALIZED (
    SELECT r.at, r.kwh, r.s, 3600 * r.kwh / r.s AS kw FROM reading r, spacing WHERE r.s <= reach * spacing.usual_s AND r.kwh >= 0
  ), usual AS (
    -- Half of the energy flowed at no more than this power: neither standby nor a wrong value moves it.
    SELECT min(kw) FILTER (WHERE 2 * up_to_kwh >= all_kwh AND all_kwh > 0) AS kw
    FROM (SELECT kw, sum(kwh) OVER (ORDER BY kw) AS up_to_kwh, sum(kwh) OVER () AS all_kwh FROM piece WHERE kwh > 0) p
  ), beside AS (
    SELECT p.*, lag(kw) OVER w AS last_kw, lag(kwh) OVER w AS last_kwh, lag(s) OVER w AS last_s, lag(kw, 2) OVER w AS from_kw,
      lead(kw) OVER w AS to_kw,
      lead(at) OVER w - make_interval(secs => lead(s) OVER w + s + lag(s) OVER w + lag(s, 2) OVER w)
        = lag(at, 2) OVER w - make_interval(secs => lag(s, 2) OVER w) AS unbroken
    FROM piece p
    WINDOW w AS (ORDER BY at)
  ), edge AS (
    SELECT b.at, b.to_kw > b.from_kw AS rises, x.usual_s, b.s + b.last_s AS both_s,
      -- How long before the end of the two pieces the power changed.
      (3600 * (b.kwh + b.last_kwh) - b.from_kw * (b.s + b.last_s)) / nullif(b.to_kw - b.from_kw, 0) AS ago_s
    FROM beside b
    CROSS JOIN usual u
    CROSS JOIN spacing x
    WHERE b.unbroken AND (b.kw > u.kw / 2) <> (b.last_kw > u.kw / 2) AND (b.kw > b.last_kw) = (b.to_kw > b.from_kw)
      AND abs(b.to_kw - b.from_kw) >= u.kw / 2
  )
  SELECT e.at - make_interval(secs => e.ago_s), e.rises, e.usual_s
  FROM edge e
  WHERE e.ago_s BETWEEN -0.05 * e.both_s AND 1.05 * e.both_s;
END;
COMMENT ON FUNCTION volt_internal.power_edges(timestamptz[], double precision[], double precision) IS
  'When the power of one device rose or fell by at least half of what is usual, of its readings in the order of time with the '
  'energy since the last one (kWh; NULL: unknown), and how far apart they usually are, s. Only where two intervals before and '
  'two behind are known, each at most reach times the usual one.';

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.{device}_power_edges(of_{device} text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (at timestamptz, rises boolean, usual_s double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
  known volt.{device};
  ats timestamptz[];
  kwhs double precision[];
  register_ats timestamptz[];
  registers double precision[];
BEGIN
  SELECT array_agg(r.recorded_at ORDER BY r.recorded_at) FILTER (WHERE r.interval_kwh IS NOT NULL),
    array_agg(r.interval_kwh::double precision ORDER BY r.recorded_at) FILTER (WHERE r.interval_kwh IS NOT NULL),
    array_agg(r.recorded_at ORDER BY r.recorded_at) FILTER (WHERE r.register_kwh IS NOT NULL),
    array_agg(r.register_kwh ORDER BY r.recorded_at) FILTER (WHERE r.register_kwh IS NOT NULL)
  INTO ats, kwhs, register_ats, registers
  FROM volt_internal.{device}_energy_reading r
  WHERE r.{device}_id = of_{device} AND r.recorded_at >= from_at AND r.recorded_at < to_at;
  IF 2 * coalesce(cardinality(registers), 0) < cardinality(ats) THEN
    -- The energy of a reading that was lost is not in the next one.
    RETURN QUERY SELECT * FROM volt_internal.power_edges(ats, kwhs, 1.5);
    RETURN;
  END IF;
  SELECT v.* INTO known FROM volt.{device} v WHERE v.{device}_id = of_{device};
  RETURN QUERY
  SELECT e.*
  FROM (
    SELECT array_agg(c.recorded_at ORDER BY c.recorded_at) AS ats,
      array_agg(CASE WHEN c.verdict IN ('rise', 'jitter', 'session', 'reset') THEN c.credited_kwh::double precision END
        ORDER BY c.recorded_at) AS kwhs
    FROM volt_internal.register_curve(
      register_ats, registers, coalesce(known.max_power_kw::numeric, volt_internal.setting_number('efficiency_max_power_kw')),
      coalesce(known.register_kind, 'total')) c
    WHERE c.credited_kwh IS NOT NULL
  ) r
  CROSS JOIN LATERAL volt_internal.power_edges(r.ats, r.kwhs, 3) e;
END $$;
COMMENT ON FUNCTION volt_internal.{device}_power_edges(text, timestamptz, timestamptz) IS
  'volt_internal.power_edges of one {device} within [from, to): of its register, unless it has twice as many intervals.';
-- end

CREATE OR REPLACE FUNCTION volt.clock_offset(of_vehicle text, of_meter text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (offset_s numeric, edges bigint, vehicle_edges bigint, meter_edges bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
  furthest_s CONSTANT double precision := 3600;
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  RETURN QUERY
  WITH v AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY e.at) AS n, e.*
    FROM volt_internal.vehicle_power_edges(of_vehicle, from_at, to_at) e
  ), m AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY e.at) AS n, e.*
    FROM volt_internal.meter_power_edges(
      of_meter, from_at - make_interval(secs => furthest_s), to_at + make_interval(secs => furthest_s)) e
  ), counted AS (
    SELECT (SELECT count(*) FROM v) AS vehicle_edges, (SELECT count(*) FROM m) AS meter_edges,
      (SELECT greatest(2, max(s) / 4) FROM (SELECT usual_s FROM v UNION ALL SELECT usual_s FROM m) AS u (s)) AS agree_s
  ), pair AS MATERIALIZED (
    SELECT v.n AS v, m.n AS m, extract(epoch FROM m.at - v.at)::double precision AS off_s
    FROM v JOIN m ON m.rises = v.rises
      AND m.at BETWEEN v.at - make_interval(secs => furthest_s) AND v.at + make_interval(secs => furthest_s)
  ), tried AS MATERIALIZED (
    -- Each offset of a pair, and how many edges agree on it.
    SELECT c.off_s, least(count(DISTINCT p.v), count(DISTINCT p.m)) AS edges,
      percentile_cont(0.5) WITHIN GROUP (ORDER BY p.off_s) AS median_s
    FROM (SELECT DISTINCT off_s FROM pair) c
    JOIN pair p ON abs(p.off_s - c.off_s) <= (SELECT agree_s FROM counted)
    GROUP BY c.off_s
  ), best AS (
    SELECT * FROM tried ORDER BY edges DESC, abs(off_s) LIMIT 1
  )
  SELECT
    CASE WHEN b.edges >= 2 AND 2 * b.edges >= least(c.vehicle_edges, c.meter_edges) AND NOT EXISTS (
      SELECT FROM tried t WHERE t.edges = b.edges AND abs(t.off_s - b.off_s) > 4 * c.agree_s
    ) THEN round(b.median_s::numeric, 1) END,
    coalesce(b.edges, 0), c.vehicle_edges, c.meter_edges
  FROM counted c
  LEFT JOIN best b ON true;
END $$;
COMMENT ON FUNCTION volt.clock_offset(text, text, timestamptz, timestamptz) IS
  'How much later the clock of a meter dates the begins and ends of charging than the clock of a vehicle does, s, within '
  '[from, to), up to an hour; NULL: it cannot be known, as less than two of them agree on it, or less than half of those that '
  'the one with fewer has, or as many on another offset. edges: how many agree. vehicle_edges, meter_edges: how many there are; '
  'of the meter also within an hour before and behind the period.';
