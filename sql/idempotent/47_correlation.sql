-- What: readings of a vehicle and of the meters that fed it, side by side.
-- Why:  an audit wants to see which reading met which, and how many met none. Arrays and two pointers, as a look-up
--       on an index for each reading is slow across chunks.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.nearest_pairs(ours timestamptz[], theirs timestamptz[], tolerance interval)
RETURNS TABLE (ours_index integer, theirs_index integer)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n integer := coalesce(cardinality(ours), 0);
  m integer := coalesce(cardinality(theirs), 0);
  j integer := 1;
  candidate integer;        -- the reading of ours for which theirs[j] was the nearest so far
  candidate_off interval;
  off interval;
BEGIN
  -- Each of ours in turn has its nearest of theirs; of several with the same one the nearest keeps it, the earlier of two.
  FOR i IN 1 .. n LOOP
    -- Over equal times, too: two of theirs at once must not stop it.
    WHILE j < m AND (
      greatest(theirs[j + 1] - ours[i], ours[i] - theirs[j + 1]) < greatest(theirs[j] - ours[i], ours[i] - theirs[j])
      OR (theirs[j + 1] = theirs[j] AND theirs[j] < ours[i])
    ) LOOP
      IF candidate IS NOT NULL THEN
        ours_index := candidate;
        theirs_index := j;
        RETURN NEXT;
        candidate := NULL;
      END IF;
      j := j + 1;
    END LOOP;
    EXIT WHEN m = 0;
    off := greatest(theirs[j] - ours[i], ours[i] - theirs[j]);
    IF off <= tolerance AND (candidate IS NULL OR off < candidate_off) THEN
      candidate := i;
      candidate_off := off;
    END IF;
  END LOOP;
  IF candidate IS NOT NULL THEN
    ours_index := candidate;
    theirs_index := j;
    RETURN NEXT;
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.nearest_pairs(timestamptz[], timestamptz[], interval) IS
  'Pairs of two ascending lists of times, each time in one pair at most: the nearest to each other, no further apart than '
  'the tolerance.';

CREATE OR REPLACE FUNCTION volt.correlated_readings(
  of_vehicle text, from_at timestamptz, to_at timestamptz, tolerance interval DEFAULT '5 seconds'
) RETURNS TABLE (
  vehicle_recorded_at timestamptz, meter_id text, meter_recorded_at timestamptz, offset_s numeric, soc_pct double precision,
  dc_kwh double precision, dc_register_kwh double precision, ac_kwh double precision, ac_register_kwh double precision,
  power_kw double precision
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  RETURN QUERY
  WITH v AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY r.recorded_at) AS n, r.recorded_at, r.soc_pct, r.kwh_delivered_dc, r.dc_register_kwh
    FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at AND r.recorded_at < to_at
      AND (r.kwh_delivered_dc IS NOT NULL OR r.dc_register_kwh IS NOT NULL)
  ), m AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY r.recorded_at, r.meter_id) AS n, r.meter_id, r.recorded_at, r.kwh_consumed_ac,
      r.ac_register_kwh, r.power_kw
    FROM volt.meter_reading r
    WHERE r.recorded_at >= from_at AND r.recorded_at < to_at
      AND (r.kwh_consumed_ac IS NOT NULL OR r.ac_register_kwh IS NOT NULL)
      AND r.meter_id = ANY (ARRAY(SELECT l.meter_id FROM volt.vehicle_meter l WHERE l.vehicle_id = of_vehicle))
      AND EXISTS (SELECT FROM volt.vehicle_meter l
                  WHERE l.vehicle_id = of_vehicle AND l.meter_id = r.meter_id AND l.valid @> r.recorded_at)
  ), pair AS (
    SELECT * FROM volt_internal.nearest_pairs(
      (SELECT array_agg(v.recorded_at ORDER BY v.n) FROM v), (SELECT array_agg(m.recorded_at ORDER BY m.n) FROM m), tolerance)
  )
  SELECT
    v.recorded_at, m.meter_id, m.recorded_at, round(extract(epoch FROM m.recorded_at - v.recorded_at), 3), v.soc_pct,
    v.kwh_delivered_dc, v.dc_register_kwh, m.kwh_consumed_ac, m.ac_register_kwh, m.power_kw
  FROM v
  LEFT JOIN pair p ON p.ours_index = v.n
  FULL JOIN m ON m.n = p.theirs_index
  ORDER BY coalesce(v.recorded_at, m.recorded_at), m.meter_id;
END $$;
COMMENT ON FUNCTION volt.correlated_readings(text, timestamptz, timestamptz, interval) IS
  'Readings with energy of one vehicle and of the meters linked to it at that time, within [from, to), side by side: each with '
  'the nearest of the other side that is no further off than the tolerance, one to one; alone, the other side is NULL. '
  'offset_s: how much later the meter measured, s. Energies in kWh, soc_pct in %, power in kW.';

CREATE OR REPLACE FUNCTION volt.correlation(
  of_vehicle text, from_at timestamptz, to_at timestamptz, tolerance interval DEFAULT '5 seconds'
) RETURNS TABLE (
  vehicle_readings bigint, meter_readings bigint, matched bigint, correlation_pct numeric, median_offset_s double precision,
  matched_dc_kwh numeric, matched_ac_kwh numeric
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT
    count(c.vehicle_recorded_at), count(c.meter_recorded_at), count(c.offset_s),
    round(100.0 * count(c.offset_s) / nullif(count(c.vehicle_recorded_at), 0), 2),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY c.offset_s::double precision),
    sum(c.dc_kwh::numeric) FILTER (WHERE c.offset_s IS NOT NULL), sum(c.ac_kwh::numeric) FILTER (WHERE c.offset_s IS NOT NULL)
  FROM volt.correlated_readings(of_vehicle, from_at, to_at, tolerance) c;
END;
COMMENT ON FUNCTION volt.correlation(text, timestamptz, timestamptz, interval) IS
  'How many readings of volt.correlated_readings met: of the vehicle, of its meters, matched, the share of the vehicle''s (%), by '
  'how much the meter measured later (the median, s), and the interval energy of those that met, kWh.';
