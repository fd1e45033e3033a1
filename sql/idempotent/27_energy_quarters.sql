-- What: energy of one device by quarter hour, from its raw readings, with what is certain of it.
-- Why:  a register is a curve, known from its first reading to its last, and interval energy lies before its stamp: both
--       become pieces of time over which energy is spread evenly, and every period is a cut through the pieces. The days
--       around the period are read, too: they say how long an interval is, and how a register goes on. The inner functions
--       run with their owner's rights, as analysts have none in volt_internal.
-- Lock: none on data.

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.{device}_energy_pieces(
  of_{device} text, from_at timestamptz, to_at timestamptz, flow text DEFAULT 'delivered'
)
RETURNS TABLE (began_at timestamptz, ended_at timestamptz, kwh numeric, most_kwh numeric, known text, gap tstzrange)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  of_registry interval := (SELECT make_interval(secs => v.interval_s) FROM volt.{device} v WHERE v.{device}_id = of_{device});
  ats timestamptz[];
  credited numeric[];
  verdicts text[];
  first_day timestamptz;
  last_day timestamptz;
BEGIN
  -- In a statement of its own: the next one is planned for the chunks of its period only if that is known.
  SELECT array_agg(c.recorded_at), array_agg(c.credited_kwh), array_agg(c.verdict),
    -- All intervals that may lie in a stretch of the register which the period cuts.
    max(c.recorded_at) FILTER (WHERE c.recorded_at <= from_at AND c.credited_kwh IS NOT NULL),
    min(c.recorded_at) FILTER (WHERE c.recorded_at >= to_at AND c.credited_kwh IS NOT NULL)
  INTO ats, credited, verdicts, first_day, last_day
  FROM volt_internal.{device}_register_curve(of_{device}, from_at, to_at, flow) c;
  -- A register that ends before the period, or begins behind it, has no stretch in it.
  IF first_day IS NULL OR NOT EXISTS (SELECT FROM unnest(ats) AS a (at) WHERE a.at > from_at) THEN
    first_day := from_at;
  END IF;
  IF last_day IS NULL OR NOT EXISTS (SELECT FROM unnest(ats) AS a (at) WHERE a.at < to_at) THEN
    last_day := to_at;
  END IF;
  first_day := date_trunc('day', least(from_at, first_day), 'UTC');
  last_day := date_trunc('day', greatest(to_at, last_day), 'UTC') + INTERVAL '2 days';
  RETURN QUERY
  WITH curve AS (
    SELECT * FROM unnest(ats, credited, verdicts) AS c (recorded_at, credited_kwh, verdict)
  ), register_spacing AS (
    SELECT s.day, percentile_disc(0.5) WITHIN GROUP (ORDER BY s.spacing) AS usual
    FROM (
      SELECT date_trunc('day', c.recorded_at, 'UTC') AS day,
        c.recorded_at - lag(c.recorded_at) OVER (
          PARTITION BY date_trunc('day', c.recorded_at, 'UTC') ORDER BY c.recorded_at) AS spacing
      FROM curve c
    ) s
    GROUP BY s.day
  ), stretch AS (
    SELECT c.since, c.recorded_at AS until, c.credited_kwh, l.is_long,
      c.verdict = 'impossible_step' OR (c.verdict = 'lower_start' AND l.is_long) AS is_suspect
    FROM (
      SELECT *, lag(recorded_at) OVER (ORDER BY recorded_at) AS since
      FROM curve WHERE credited_kwh IS NOT NULL
    ) c
    LEFT JOIN register_spacing s ON s.day = date_trunc('day', c.since, 'UTC')
    CROSS JOIN LATERAL (
      SELECT c.recorded_at - c.since > greatest(2 * coalesce(of_registry, s.usual, quarter), quarter) AS is_long
    ) l
    WHERE c.since IS NOT NULL
  ), interval_reading AS (
    SELECT r.recorded_at, r.interval_kwh, date_trunc('day', r.recorded_at, 'UTC') AS day,
      r.recorded_at - lag(r.recorded_at) OVER (
        PARTITION BY date_trunc('day', r.recorded_at, 'UTC') ORDER BY r.recorded_at) AS spacing
    FROM volt_internal.{device}_flow_reading(flow) r
    WHERE r.{device}_id = of_{device} AND r.interval_kwh IS NOT NULL
      AND r.recorded_at >= first_day AND r.recorded_at < last_day
  ), interval_spacing AS (
    SELECT i.day, coalesce(of_registry, make_interval(secs =>
      percentile_disc(0.5) WITHIN GROUP (ORDER BY volt_internal.whole_seconds(i.spacing))), quarter) AS usual
    FROM interval_reading i GROUP BY i.day
  ), reading AS (
    SELECT i.recorded_at - s.usual AS since, i.recorded_at AS until, i.interval_kwh, s.usual > quarter AS is_wide
    FROM interval_reading i JOIN interval_spacing s USING (day)
  ), stretch_filled AS (
    -- In a stretch of over a quarter hour interval readings say when some of the energy flowed; the rest is shared out.
    SELECT s.*, f.covered, s.credited_kwh - coalesce(f.kwh, 0) AS rest_kwh
    FROM stretch s
    LEFT JOIN LATERAL (
      SELECT range_agg(i.part) AS covered,
        sum(i.kwh * extract(epoch FROM upper(i.part) - lower(i.part)) / i.whole_s) AS kwh
      FROM (
        SELECT tstzrange(greatest(r.since, s.since), least(r.until, s.until)) AS part, r.interval_kwh AS kwh,
          extract(epoch FROM r.until - r.since) AS whole_s
        FROM reading r
        WHERE s.until - s.since > quarter AND NOT s.is_suspect AND r.since < s.until AND r.until > s.since
      ) i
    ) f ON true
  ), by_register AS (
    SELECT p.part AS during, tstzrange(s.since, s.until) AS whole, s.is_suspect, s.is_long,
      CASE WHEN s.covered IS NULL THEN s.credited_kwh ELSE s.rest_kwh END AS rest_kwh,
      sum(extract(epoch FROM upper(p.part) - lower(p.part))) OVER (PARTITION BY s.since) AS rest_s
    FROM stretch_filled s
    CROSS JOIN LATERAL unnest(
      tstzmultirange(tstzrange(s.since, s.until)) - coalesce(s.covered, '{}'::tstzmultirange)) AS p (part)
    WHERE s.covered IS NULL OR s.rest_kwh > 0
  ), taken AS (
    SELECT coalesce(range_agg(b.during), '{}'::tstzmultirange) AS by_register
    FROM by_register b WHERE NOT b.is_suspect
  )
  SELECT lower(b.during), upper(b.during),
    b.rest_kwh * extract(epoch FROM upper(b.during) - lower(b.during)) / b.rest_s,
    b.rest_kwh,
    CASE WHEN b.is_suspect THEN 'suspect' WHEN b.is_long AND b.rest_kwh > 0 THEN 'gap' ELSE 'register' END,
    CASE WHEN NOT b.is_suspect AND b.is_long AND b.rest_kwh > 0 THEN b.whole END
  FROM by_register b
  WHERE lower(b.during) < to_at AND upper(b.during) > from_at
  UNION ALL
  SELECT lower(p.part), upper(p.part),
    r.interval_kwh * extract(epoch FROM upper(p.part) - lower(p.part)) / extract(epoch FROM r.until - r.since),
    r.interval_kwh,
    CASE WHEN r.is_wide THEN 'wide' ELSE 'interval' END,
    CASE WHEN r.is_wide AND r.interval_kwh > 0 THEN tstzrange(r.since, r.until) END
  FROM reading r
  CROSS JOIN taken t
  CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(r.since, r.until)) - t.by_register) AS p (part)
  WHERE lower(p.part) < to_at AND upper(p.part) > from_at;
END $$;
COMMENT ON FUNCTION volt_internal.{device}_energy_pieces(text, timestamptz, timestamptz, text) IS
  'The pieces of time that touch a period, each with the energy (kWh) of one flow that is spread evenly over it, the most that can lie '
  'in a part of it, and how it is known: '
  'register, interval; wide (an interval of over a quarter hour), gap (between two readings of a register that lie far '
  'apart), suspect (a step that is not counted). gap: from where to where only the total is known.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_energy_quarters(
  of_{device} text, from_at timestamptz, to_at timestamptz, flow text DEFAULT 'delivered'
)
RETURNS TABLE (
  quarter_hour timestamptz, length_s numeric, kwh numeric, covered_s numeric, gap_s numeric, low_kwh numeric,
  high_kwh numeric, peak_kw numeric, gaps tstzrange[], suspect boolean, source text
)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH part AS (
    SELECT
      q.quarter, p.kwh AS whole_kwh, p.most_kwh, p.known, p.gap,
      tstzrange(
        greatest(p.began_at, q.quarter, from_at), least(p.ended_at, q.quarter + INTERVAL '15 minutes', to_at)) AS during,
      extract(epoch FROM p.ended_at - p.began_at) AS whole_s
    FROM volt_internal.{device}_energy_pieces(of_{device}, from_at, to_at, flow) p
    CROSS JOIN LATERAL generate_series(
      volt_internal.quarter_hour(greatest(p.began_at, from_at)),
      volt_internal.quarter_hour(least(p.ended_at, to_at) - INTERVAL '1 microsecond'),
      INTERVAL '15 minutes') AS q (quarter)
  ), shared AS (
    SELECT *, whole_kwh * extract(epoch FROM upper(during) - lower(during)) / whole_s AS kwh FROM part
  ), piece AS (
    -- What is left of a gap may lie in one quarter hour, and is known then.
    SELECT s.quarter, s.during, s.whole_kwh, s.whole_s, s.kwh, CASE WHEN s.is_first THEN s.most_kwh ELSE 0 END AS most_kwh,
      CASE WHEN NOT s.is_whole THEN s.gap END AS gap,
      CASE WHEN s.is_whole AND s.known = 'gap' THEN 'register' ELSE s.known END AS known
    FROM (
      SELECT *,
        gap IS NOT NULL AND abs(sum(kwh) OVER (PARTITION BY quarter, gap) - most_kwh) < 1e-9 AS is_whole,
        row_number() OVER (PARTITION BY quarter, gap ORDER BY during) = 1 AS is_first
      FROM shared
    ) s
  )
  SELECT
    quarter,
    extract(epoch FROM least(quarter + INTERVAL '15 minutes', to_at) - greatest(quarter, from_at)),
    round(sum(kwh), 9),
    (SELECT coalesce(sum(extract(epoch FROM upper(c) - lower(c))), 0)
     FROM unnest(range_agg(during) FILTER (WHERE known IN ('register', 'interval', 'wide'))) AS c),
    coalesce(sum(extract(epoch FROM upper(during) - lower(during))) FILTER (WHERE known = 'gap'), 0),
    round(coalesce(sum(kwh) FILTER (WHERE gap IS NULL), 0), 9),
    round(sum(CASE WHEN gap IS NULL THEN kwh ELSE most_kwh END), 9),
    coalesce(max(3600 * whole_kwh / whole_s) FILTER (WHERE gap IS NULL), 0),
    array_agg(DISTINCT gap) FILTER (WHERE gap IS NOT NULL),
    bool_or(known = 'suspect'),
    CASE WHEN bool_or(known IN ('register', 'gap')) AND bool_or(known IN ('interval', 'wide')) THEN 'both'
         WHEN bool_or(known IN ('interval', 'wide')) THEN 'interval'
         WHEN bool_or(known IN ('register', 'gap')) THEN 'register' END
  FROM piece
  GROUP BY quarter;
END;
COMMENT ON FUNCTION volt_internal.{device}_energy_quarters(text, timestamptz, timestamptz, text) IS
  'What volt.{device}_energy_quarters, volt.{device}_returned_energy and the efficiency are made of: of each quarter hour its length within the period (s), '
  'its energy (kWh), for how long it was measured, how long it lies in a gap of a register (s), the least and the most '
  'energy (kWh), the highest power of a piece (kW), and the gaps that it touches, each from end to end.';

CREATE OR REPLACE FUNCTION volt.{device}_energy_quarters(of_{device} text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  quarter_hour timestamptz, energy_kwh numeric, coverage numeric, low_kwh numeric, high_kwh numeric,
  estimated boolean, suspect boolean, source text
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT q.quarter_hour, q.kwh, round(q.covered_s / q.length_s, 4), q.low_kwh, q.high_kwh, q.gaps IS NOT NULL, q.suspect,
    q.source
  FROM volt_internal.{device}_energy_quarters(of_{device}, from_at, to_at) q
  ORDER BY q.quarter_hour;
END;
COMMENT ON FUNCTION volt.{device}_energy_quarters(text, timestamptz, timestamptz) IS
  'Energy of one {device} by quarter hour (UTC) within [from, to), exact to the second, from its raw readings; kWh. '
  'coverage: share of the quarter hour, as far as it lies in the period, for which it was measured. estimated: a gap '
  'of a register or an interval of over a quarter hour is cut, and its energy shared out evenly; low_kwh and high_kwh: '
  'none and all of that energy lies in here. suspect: a step of the register is not counted. source: register, '
  'interval, both or (a suspect step alone) NULL. No row: nothing is known of the quarter hour.';

-- end
