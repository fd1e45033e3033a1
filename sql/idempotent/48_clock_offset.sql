-- What: how far the clock of a meter is off that of a vehicle.
-- Why:  the times of nearest readings say nothing of clocks: of two devices that report each minute at different seconds
--       they are always up to 30 s apart. What both clocks date is the moment in which charging begins or ends. Between
--       two readings it follows from the energy: the part of the interval in which power flowed. So it is known to about
--       a second however seldom they report, where power rises and falls at once. One such edge may be anybody's; the
--       offset is known where at least two agree on it and no other offset has as many.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.power_edges(begins timestamptz[], ends timestamptz[], kwhs numeric[])
RETURNS TABLE (at timestamptz, rises boolean, usual_s double precision)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH given AS (
    SELECT p.*, lag(p.ended_at) OVER (ORDER BY p.ended_at) AS before
    FROM unnest(begins, ends, kwhs) AS p (began_at, ended_at, kwh)
  ), piece AS (
    -- Readings do not come to the second: a piece that begins about where the last one ended begins there.
    SELECT g.ended_at, g.kwh::double precision AS kwh, f.follows,
      extract(epoch FROM g.ended_at - CASE WHEN f.follows THEN g.before ELSE g.began_at END)::double precision AS s
    FROM given g
    CROSS JOIN LATERAL (
      SELECT coalesce(g.before < g.ended_at
        AND greatest(g.before - g.began_at, g.began_at - g.before) <= (g.ended_at - g.began_at) / 2, false) AS follows
    ) f
  ), powered AS (
    SELECT *, 3600 * kwh / s AS kw FROM piece WHERE s > 0
  ), usual AS (
    -- Half of the energy flowed at no more than this power: neither standby nor a wrong value moves it.
    SELECT min(kw) FILTER (WHERE 2 * up_to_kwh >= all_kwh AND all_kwh > 0) AS kw, percentile_cont(0.5) WITHIN GROUP (ORDER BY s) AS s
    FROM (SELECT kw, s, sum(kwh) OVER (ORDER BY kw) AS up_to_kwh, sum(kwh) OVER () AS all_kwh FROM powered) p
  ), beside AS (
    SELECT p.*, lag(kw) OVER w AS last_kw, lag(kwh) OVER w AS last_kwh, lag(s) OVER w AS last_s, lag(kw, 2) OVER w AS from_kw,
      lead(kw) OVER w AS to_kw, follows AND lag(follows) OVER w AND lead(follows) OVER w AS unbroken
    FROM powered p
    WINDOW w AS (ORDER BY ended_at)
  ), edge AS (
    SELECT b.ended_at, b.to_kw > b.from_kw AS rises, u.s AS usual_s, b.s + b.last_s AS both_s,
      -- How long before the end of the two pieces the power changed.
      (3600 * (b.kwh + b.last_kwh) - b.from_kw * (b.s + b.last_s)) / nullif(b.to_kw - b.from_kw, 0) AS ago_s
    FROM beside b
    CROSS JOIN usual u
    WHERE b.unbroken AND (b.kw > u.kw / 2) <> (b.last_kw > u.kw / 2) AND (b.kw > b.last_kw) = (b.to_kw > b.from_kw)
      AND abs(b.to_kw - b.from_kw) >= u.kw / 2
  )
  SELECT e.ended_at - make_interval(secs => e.ago_s), e.rises, e.usual_s
  FROM edge e
  WHERE e.ago_s BETWEEN -0.05 * e.both_s AND 1.05 * e.both_s;
END;
COMMENT ON FUNCTION volt_internal.power_edges(timestamptz[], timestamptz[], numeric[]) IS
  'When the power of one device rose or fell by at least half of what is usual, of pieces of time with their energy (kWh), and '
  'how long its pieces usually are, s. Only where two pieces before and two behind follow one another.';

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
    FROM (
      SELECT array_agg(p.began_at) AS begins, array_agg(p.ended_at) AS ends, array_agg(p.kwh) AS kwhs
      FROM volt_internal.vehicle_energy_pieces(of_vehicle, from_at, to_at) p
      WHERE p.known IN ('register', 'interval', 'wide')
    ) p
    CROSS JOIN LATERAL volt_internal.power_edges(p.begins, p.ends, p.kwhs) e
  ), m AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY e.at) AS n, e.*
    FROM (
      SELECT array_agg(p.began_at) AS begins, array_agg(p.ended_at) AS ends, array_agg(p.kwh) AS kwhs
      FROM volt_internal.meter_energy_pieces(
        of_meter, from_at - make_interval(secs => furthest_s), to_at + make_interval(secs => furthest_s)) p
      WHERE p.known IN ('register', 'interval', 'wide')
    ) p
    CROSS JOIN LATERAL volt_internal.power_edges(p.begins, p.ends, p.kwhs) e
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
