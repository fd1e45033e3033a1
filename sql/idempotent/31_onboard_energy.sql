-- What: AC energy of vehicles' on-board chargers, by their registers: what is defined, what is kept, and what is computed again.
-- Why:  a register of one more flow, by the definition of all registers (26_register_of_device, 27_energy_quarters). Few
--       vehicles have one, so only those that do are looked at, each by its readings. Of most the register only rises: for
--       these one statement makes the sums, and the definition is asked for the others.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

CREATE OR REPLACE FUNCTION volt.onboard_register_events(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  recorded_at timestamptz, event text, previous_kwh numeric, register_kwh numeric, credited_kwh numeric, decision text
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.recorded_at, c.taken_for, c.previous_kwh, c.register_kwh, coalesce(c.credited_kwh, 0), d.decision
  FROM (
    SELECT *, lag(register_kwh) OVER (ORDER BY recorded_at) AS previous_kwh
    FROM volt_internal.vehicle_register_curve(of_vehicle, from_at, to_at, 'onboard')
  ) c
  LEFT JOIN volt.register_decision d
    ON d.device_type = 'onboard' AND d.device_id = of_vehicle AND d.recorded_at = c.recorded_at
  WHERE c.recorded_at >= from_at AND c.recorded_at < to_at
    AND (d.decision IS NOT NULL
         OR c.taken_for IN ('contradicted', 'undecided', 'impossible_step', 'reset', 'session', 'lower_start'))
  ORDER BY c.recorded_at;
END;
COMMENT ON FUNCTION volt.onboard_register_events(text, timestamptz, timestamptz) IS
  'What the AC register of one vehicle''s on-board charger did within [from, to) other than rise, and what is counted for it '
  '(kWh); events as in volt.vehicle_register_events. decision: what somebody decided on the reading (volt.register_decision '
  'with device_type onboard and the vehicle as device_id).';

CREATE OR REPLACE FUNCTION volt.onboard_energy_quarters(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  quarter_hour timestamptz, energy_kwh numeric, coverage numeric, low_kwh numeric, high_kwh numeric,
  estimated boolean, suspect boolean, source text
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT q.quarter_hour, q.kwh, round(q.covered_s / q.length_s, 4), q.low_kwh, q.high_kwh, q.gaps IS NOT NULL, q.suspect,
    q.source
  FROM volt_internal.vehicle_energy_quarters(of_vehicle, from_at, to_at, 'onboard') q
  ORDER BY q.quarter_hour;
END;
COMMENT ON FUNCTION volt.onboard_energy_quarters(text, timestamptz, timestamptz) IS
  'AC energy of one vehicle''s on-board charger by quarter hour (UTC) within [from, to), exact to the second, from its raw '
  'readings; kWh. Columns as in volt.vehicle_energy_quarters.';

CREATE OR REPLACE FUNCTION volt_internal.keep_onboard_quarters(from_at timestamptz, to_at timestamptz) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  reach CONSTANT interval := volt_internal.piece_reach();
  most_kw CONSTANT numeric := volt_internal.setting_number('efficiency_max_power_kw');
  -- A register without a reading behind the beginning says nothing of the slice.
  vehicles CONSTANT text[] := (
    SELECT array_agg(c.vehicle_id) FROM volt.vehicle_current c WHERE c.ac_register_at > from_at);
  others text[];
BEGIN
  IF vehicles IS NULL THEN
    RETURN '{}';
  END IF;
  WITH reading AS MATERIALIZED (
    SELECT r.vehicle_id, r.recorded_at, r.ac_register_kwh::numeric AS register_kwh, lag(r.recorded_at) OVER w AS since,
      lag(r.ac_register_kwh::numeric) OVER w AS before_kwh
    FROM volt.vehicle_reading r
    WHERE r.vehicle_id = ANY (vehicles) AND r.recorded_at >= from_at - reach AND r.recorded_at <= to_at + reach
      AND r.ac_register_kwh IS NOT NULL
    WINDOW w AS (PARTITION BY r.vehicle_id COLLATE "C" ORDER BY r.recorded_at)
  ), looked AS MATERIALIZED (
    SELECT r.vehicle_id, min(r.recorded_at) AS first_at, max(r.recorded_at) AS last_at,
      max(r.register_kwh) FILTER (WHERE r.recorded_at <= from_at) AS began_kwh,
      bool_and(r.since IS NULL OR (r.recorded_at - r.since <= quarter AND r.register_kwh >= r.before_kwh
        AND 3600 * (r.register_kwh - r.before_kwh)
          <= coalesce(v.max_power_kw::numeric, most_kw) * extract(epoch FROM r.recorded_at - r.since))) AS rises
    FROM reading r LEFT JOIN volt.vehicle v USING (vehicle_id)
    GROUP BY r.vehicle_id
    HAVING max(r.recorded_at) > from_at
  ), device AS MATERIALIZED (
    SELECT l.vehicle_id, coalesce(l.first_at <= from_at AND l.last_at >= to_at AND l.rises AND q.register_kwh = l.began_kwh
      AND NOT EXISTS (
        SELECT FROM volt.register_decision x
        WHERE x.device_type = 'onboard' AND x.device_id = l.vehicle_id
          AND x.recorded_at >= from_at - reach AND x.recorded_at <= to_at + reach), false) AS sums_do
    FROM looked l
    LEFT JOIN volt_internal.onboard_quarter q ON q.vehicle_id = l.vehicle_id AND q.quarter_hour = from_at - quarter
  ), figure AS (
    SELECT r.vehicle_id, q.at AS quarter_hour, sum(p.rise_kwh * s.inside / p.whole) AS kwh, sum(s.inside) AS covered_s,
      max(3600 * p.rise_kwh / p.whole) AS peak_kw,
      max(CASE WHEN r.recorded_at <= q.at + quarter THEN r.register_kwh ELSE r.before_kwh END) AS register_kwh
    FROM reading r
    JOIN device d ON d.vehicle_id = r.vehicle_id AND d.sums_do
    CROSS JOIN LATERAL (
      SELECT r.register_kwh - r.before_kwh AS rise_kwh, extract(epoch FROM r.recorded_at - r.since) AS whole) p
    CROSS JOIN LATERAL generate_series(
      volt_internal.quarter_hour(greatest(r.since, from_at)),
      volt_internal.quarter_hour(least(r.recorded_at, to_at) - INTERVAL '1 microsecond'), quarter) AS q (at)
    CROSS JOIN LATERAL (
      SELECT extract(epoch FROM least(r.recorded_at, q.at + quarter) - greatest(r.since, q.at)) AS inside) s
    WHERE r.since < to_at AND r.recorded_at > from_at
    GROUP BY r.vehicle_id, q.at
  ), kept AS (
    INSERT INTO volt_internal.onboard_quarter AS k (vehicle_id, quarter_hour, kwh, covered_s, gap_s, low_kwh, high_kwh, peak_kw,
      gaps, suspect, source, register_kwh)
    SELECT f.vehicle_id, f.quarter_hour, e.kwh, round(f.covered_s, 6), 0, e.kwh, e.kwh, round(f.peak_kw, 6), NULL, false,
      'register', f.register_kwh
    FROM figure f CROSS JOIN LATERAL (SELECT round(f.kwh, 9) AS kwh) e
    -- include: onboard_differs.sql
  )
  SELECT array_agg(d.vehicle_id) FILTER (WHERE NOT d.sums_do) INTO others FROM device d;
  RETURN coalesce(others, '{}');
END $$;
COMMENT ON FUNCTION volt_internal.keep_onboard_quarters(timestamptz, timestamptz) IS
  'Computes the AC energy of all on-board chargers in a slice of closed quarter hours, where sums tell it, and returns the '
  'other vehicles whose registers reported: these are irregular, or do more than rise.';

CREATE OR REPLACE FUNCTION volt_internal.keep_onboard_again(
  of_vehicle text, from_at timestamptz, to_at timestamptz, not_before timestamptz
) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  watermark CONSTANT timestamptz := (SELECT s.energy_watermark FROM volt_internal.rollup_state s);
  ats timestamptz[];
  verdicts text[];
  registers numeric[];
  began_at timestamptz;
  ended_at timestamptz;
BEGIN
  SELECT array_agg(c.recorded_at), array_agg(c.verdict), array_agg(c.register_kwh) INTO ats, verdicts, registers
  FROM volt_internal.vehicle_register_curve(of_vehicle, from_at, to_at, 'onboard') c;
  -- One reading more may change the course up to the second one before the period, and the second one behind it.
  SELECT min(x.at) INTO began_at FROM (
    SELECT a.at FROM unnest(ats, verdicts) AS a (at, verdict)
    WHERE a.at < from_at AND a.verdict <> 'ignore' ORDER BY a.at DESC LIMIT 2) x;
  SELECT max(x.at) INTO ended_at FROM (
    SELECT a.at FROM unnest(ats, verdicts) AS a (at, verdict)
    WHERE a.at >= to_at AND a.verdict <> 'ignore' ORDER BY a.at LIMIT 2) x;
  began_at := greatest(
    volt_internal.quarter_hour(least(began_at, from_at - quarter)), from_at - INTERVAL '180 days', not_before);
  ended_at := least(volt_internal.quarter_hour(greatest(ended_at, to_at) + quarter), to_at + INTERVAL '180 days', watermark);
  IF began_at >= ended_at THEN
    RETURN;
  END IF;
  WITH fresh AS MATERIALIZED (
    SELECT q.*, h.register_kwh
    FROM volt_internal.vehicle_energy_quarters(of_vehicle, began_at, ended_at, 'onboard') q
    LEFT JOIN LATERAL (
      SELECT c.register_kwh FROM unnest(ats, verdicts, registers) AS c (at, verdict, register_kwh)
      WHERE c.at <= q.quarter_hour + quarter AND c.verdict NOT IN ('jitter', 'contradicted', 'undecided', 'ignore')
      ORDER BY c.at DESC LIMIT 1
    ) h ON true
  ), gone AS (
    DELETE FROM volt_internal.onboard_quarter k
    WHERE k.vehicle_id = of_vehicle AND k.quarter_hour >= began_at AND k.quarter_hour < ended_at
      AND NOT EXISTS (SELECT FROM fresh f WHERE f.quarter_hour = k.quarter_hour)
    RETURNING k.quarter_hour
  ), put AS (
    INSERT INTO volt_internal.onboard_quarter AS k (vehicle_id, quarter_hour, kwh, covered_s, gap_s, low_kwh, high_kwh, peak_kw,
      gaps, suspect, source, register_kwh)
    SELECT of_vehicle, f.quarter_hour, f.kwh, round(f.covered_s, 6), round(f.gap_s, 6), f.low_kwh, f.high_kwh,
      round(f.peak_kw, 6), f.gaps, f.suspect, f.source, f.register_kwh
    FROM fresh f
    -- include: onboard_differs.sql
    RETURNING k.quarter_hour
  ), changed AS (
    SELECT quarter_hour FROM gone
    UNION ALL
    SELECT quarter_hour FROM put
  )
  INSERT INTO volt_internal.efficiency_dirty (vehicle_id, from_at, to_at)
  SELECT of_vehicle, min(c.quarter_hour), max(c.quarter_hour) + quarter FROM changed c
  HAVING count(*) > 0;
END $$;
COMMENT ON FUNCTION volt_internal.keep_onboard_again(text, timestamptz, timestamptz, timestamptz) IS
  'Computes the kept AC energy of one vehicle''s on-board charger again, in a period and as far around it as it depends on '
  'readings there, but not before the time from which on raw readings are there.';

CREATE OR REPLACE FUNCTION volt_internal.keep_marked_onboards(at_once integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  watermark CONSTANT timestamptz := (SELECT s.energy_watermark FROM volt_internal.rollup_state s);
  not_before CONSTANT timestamptz := volt_internal.computable_since();
  of_day CONSTANT timestamptz := (
    SELECT date_trunc('day', min(d.from_at), 'UTC') FROM volt_internal.energy_dirty d WHERE d.device_type = 'onboard');
  marked record;
  computed integer := 0;
BEGIN
  IF of_day IS NULL THEN
    RETURN 0;
  END IF;
  FOR marked IN
    WITH chosen AS (
      SELECT DISTINCT d.device_id FROM volt_internal.energy_dirty d
      WHERE d.device_type = 'onboard' AND d.from_at >= of_day AND d.from_at < of_day + INTERVAL '1 day' LIMIT at_once
    ), taken AS (
      DELETE FROM volt_internal.energy_dirty d USING chosen c
      WHERE d.device_type = 'onboard' AND d.device_id = c.device_id AND d.from_at >= of_day AND d.from_at < of_day + INTERVAL '1 day'
      RETURNING d.device_id, d.from_at, d.to_at
    )
    -- A reading right behind the watermark tells of the quarter hour before it.
    SELECT t.device_id, least(max(t.to_at), watermark) AS to_at,
      CASE WHEN min(t.from_at) < watermark + volt_internal.piece_reach()
           THEN least(min(t.from_at), watermark - INTERVAL '15 minutes') END AS from_at
    FROM taken t GROUP BY t.device_id
  LOOP
    computed := computed + 1;
    CONTINUE WHEN marked.from_at IS NULL OR marked.to_at <= not_before;
    IF of_day + INTERVAL '1 day' > watermark THEN
      INSERT INTO volt_internal.energy_provisional (device_type, device_id, day) VALUES ('onboard', marked.device_id, of_day)
      ON CONFLICT DO NOTHING;
    END IF;
    PERFORM volt_internal.keep_onboard_again(marked.device_id, marked.from_at, marked.to_at, not_before);
  END LOOP;
  RETURN computed;
END $$;
COMMENT ON FUNCTION volt_internal.keep_marked_onboards(integer) IS
  'Computes the kept AC energy of at most so many marked on-board chargers again, of one UTC day; how many, 0: nothing is left.';
