-- What: the energy of one device in closed quarter hours, computed again by the definition: what came late, what was
--       corrected or decided, and devices that are not as regular as 28_energy_kept needs them.
-- Why:  one reading more may change the course of a register up to the readings around it, so the period is widened to
--       those. Only rows that differ are written, and only they have the efficiency of their vehicles computed again.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

CREATE OR REPLACE FUNCTION volt_internal.computable_since() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (SELECT s.dropped_before + INTERVAL '1 day' FROM volt_internal.rollup_state s);
COMMENT ON FUNCTION volt_internal.computable_since() IS
  'From when on energy can be computed again: a day after what the retention has dropped of the raw readings.';

CREATE OR REPLACE FUNCTION volt_internal.mark_efficiency(of_type text, of_devices text[], from_at timestamptz, to_at timestamptz)
RETURNS void LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO volt_internal.efficiency_dirty (vehicle_id, from_at, to_at)
  SELECT v.vehicle_id, mark_efficiency.from_at, mark_efficiency.to_at
  FROM (
    SELECT unnest(of_devices) AS vehicle_id WHERE of_type = 'vehicle'
    UNION
    -- Vehicles at one meter share its energy.
    SELECT o.vehicle_id
    FROM volt.vehicle_meter l
    JOIN volt.vehicle_meter o ON o.meter_id = l.meter_id
    WHERE of_type = 'vehicle' AND l.vehicle_id = ANY (of_devices) AND l.valid && tstzrange(mark_efficiency.from_at, mark_efficiency.to_at)
      AND o.valid && tstzrange(mark_efficiency.from_at, mark_efficiency.to_at)
    UNION
    SELECT l.vehicle_id FROM volt.vehicle_meter l
    WHERE of_type = 'meter' AND l.meter_id = ANY (of_devices) AND l.valid && tstzrange(mark_efficiency.from_at, mark_efficiency.to_at)
  ) v;
END;
COMMENT ON FUNCTION volt_internal.mark_efficiency(text, text[], timestamptz, timestamptz) IS
  'Marks the efficiency of all vehicles that the energy of these devices in a period may concern.';

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.keep_{device}_again(
  of_{device} text, from_at timestamptz, to_at timestamptz, not_before timestamptz
) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  watermark CONSTANT timestamptz := (SELECT s.energy_watermark FROM volt_internal.rollup_state s);
  widest CONSTANT interval := make_interval(secs => greatest(
    (SELECT x.interval_s FROM volt.{device} x WHERE x.{device}_id = of_{device}),
    coalesce((
      SELECT max(k.usual_s) FROM volt_internal.device_interval k
      WHERE k.device_type = '{device}' AND k.device_id = of_{device}
        AND k.day IN (date_trunc('day', from_at, 'UTC'), date_trunc('day', to_at, 'UTC'))), 900)));
  ats timestamptz[];
  verdicts text[];
  registers numeric[];
  began_at timestamptz;
  ended_at timestamptz;
  changed_from timestamptz;
  changed_to timestamptz;
BEGIN
  SELECT array_agg(c.recorded_at), array_agg(c.verdict), array_agg(c.register_kwh) INTO ats, verdicts, registers
  FROM volt_internal.{device}_register_curve(of_{device}, from_at, to_at) c;
  -- The second reading of its register before the period, and the second behind it.
  SELECT min(x.at) INTO began_at FROM (
    SELECT a.at FROM unnest(ats, verdicts) AS a (at, verdict)
    WHERE a.at < from_at AND a.verdict <> 'ignore' ORDER BY a.at DESC LIMIT 2) x;
  SELECT max(x.at) INTO ended_at FROM (
    SELECT a.at FROM unnest(ats, verdicts) AS a (at, verdict)
    WHERE a.at >= to_at AND a.verdict <> 'ignore' ORDER BY a.at LIMIT 2) x;
  began_at := greatest(
    volt_internal.quarter_hour(least(began_at, from_at - widest)), from_at - INTERVAL '180 days', not_before);
  ended_at := least(volt_internal.quarter_hour(greatest(ended_at, to_at) + quarter), to_at + INTERVAL '180 days', watermark);
  IF began_at >= ended_at THEN
    RETURN;
  END IF;
  WITH fresh AS MATERIALIZED (
    SELECT q.*, h.register_kwh
    FROM volt_internal.{device}_energy_quarters(of_{device}, began_at, ended_at) q
    LEFT JOIN LATERAL (
      SELECT c.register_kwh FROM unnest(ats, verdicts, registers) AS c (at, verdict, register_kwh)
      WHERE c.at <= q.quarter_hour + quarter AND c.verdict NOT IN ('jitter', 'contradicted', 'undecided', 'ignore')
      ORDER BY c.at DESC LIMIT 1
    ) h ON true
  ), gone AS (
    DELETE FROM volt_internal.{device}_quarter k
    WHERE k.{device}_id = of_{device} AND k.quarter_hour >= began_at AND k.quarter_hour < ended_at
      AND NOT EXISTS (SELECT FROM fresh f WHERE f.quarter_hour = k.quarter_hour)
    RETURNING k.quarter_hour
  -- vehicle: ), moving AS (
    -- vehicle: SELECT DISTINCT volt_internal.quarter_hour(r.recorded_at) AS quarter_hour FROM volt.vehicle_reading r WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= began_at AND r.recorded_at < ended_at AND r.speed_kmh > 5
  ), put AS (
    INSERT INTO volt_internal.{device}_quarter AS k ({device}_id, quarter_hour, kwh, covered_s, gap_s, low_kwh, high_kwh,
      -- vehicle: moved,
      peak_kw, gaps, suspect, source, register_kwh)
    SELECT of_{device}, f.quarter_hour, f.kwh, round(f.covered_s, 6), round(f.gap_s, 6), f.low_kwh, f.high_kwh,
      -- vehicle: EXISTS (SELECT FROM moving m WHERE m.quarter_hour = f.quarter_hour),
      round(f.peak_kw, 6), f.gaps, f.suspect, f.source, f.register_kwh
    FROM fresh f
    -- include: quarter_differs.sql
    RETURNING k.quarter_hour
  )
  SELECT min(c.quarter_hour), max(c.quarter_hour) + quarter INTO changed_from, changed_to
  FROM (
    SELECT quarter_hour FROM gone
    UNION ALL
    SELECT quarter_hour FROM put
    UNION ALL
    -- Of a quarter hour that a link cuts a part may be another while the whole is the same.
    SELECT volt_internal.quarter_hour(b.at)
    FROM volt.vehicle_meter l
    -- vehicle: JOIN volt.vehicle_meter o ON o.meter_id = l.meter_id AND o.vehicle_id = of_vehicle
    CROSS JOIN LATERAL unnest(ARRAY[lower(l.valid), upper(l.valid)]) AS b (at)
    WHERE b.at > began_at AND b.at < ended_at AND b.at <> volt_internal.quarter_hour(b.at)
      -- meter: AND l.meter_id = of_meter
  ) c;
  IF changed_from IS NOT NULL THEN
    PERFORM volt_internal.mark_efficiency('{device}', ARRAY[of_{device}], changed_from, changed_to);
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.keep_{device}_again(text, timestamptz, timestamptz, timestamptz) IS
  'Computes the kept energy of one {device} again, in a period and as far around it as it depends on readings there, but '
  'not before the time from which on raw readings are there.';

-- Many at once, as after an outage: those of which sums tell the energy need not be computed one by one.
CREATE OR REPLACE FUNCTION volt_internal.keep_many_{device}s(of_{device}s text[], from_at timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- A piece of energy reaches into the quarter hours around the readings.
  around CONSTANT interval := INTERVAL '30 minutes';
  begins_at CONSTANT timestamptz := from_at - around;
  watermark CONSTANT timestamptz := (SELECT s.energy_watermark FROM volt_internal.rollup_state s);
  ends_at CONSTANT timestamptz := least(to_at + around, watermark);
  slice_from timestamptz := begins_at;
  slice_to timestamptz;
  day_ends timestamptz;
  others text[];
  left_{device}s text[] := of_{device}s;
  by_register CONSTANT text[] := volt_internal.{device}s_by_register(of_{device}s, begins_at, ends_at);
BEGIN
  WHILE slice_from < ends_at AND cardinality(left_{device}s) > 0 LOOP
    slice_to := least(date_trunc('hour', slice_from, 'UTC') + INTERVAL '1 hour', ends_at);
    day_ends := date_trunc('day', slice_from, 'UTC') + INTERVAL '1 day';
    others := volt_internal.keep_{device}_quarters(slice_from, slice_to, left_{device}s);
    -- From here on, as sums must not build on what is still to be computed.
    INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at, irregular)
    SELECT '{device}', o.id, p.from_at, p.to_at, true
    FROM unnest(others) AS o (id)
    CROSS JOIN (VALUES (slice_from, least(day_ends, ends_at)), (day_ends, ends_at)) AS p (from_at, to_at)
    WHERE p.from_at < p.to_at;
    left_{device}s := ARRAY(SELECT unnest(left_{device}s) EXCEPT SELECT unnest(others));
    slice_from := slice_to;
  END LOOP;
  others := volt_internal.going_on_{device}s(left_{device}s, by_register, begins_at, ends_at);
  INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at, irregular)
  SELECT '{device}', o.id, from_at, to_at, true FROM unnest(others) AS o (id);
  left_{device}s := ARRAY(SELECT unnest(left_{device}s) EXCEPT SELECT unnest(others));
  -- Nor must the sums of the next quarter hour.
  IF ends_at = watermark THEN
    DELETE FROM volt_internal.{device}_quarter k
    WHERE k.{device}_id = ANY (of_{device}s) AND k.{device}_id <> ALL (left_{device}s)
      AND k.quarter_hour >= ends_at - INTERVAL '15 minutes' AND k.quarter_hour < watermark;
  END IF;
  PERFORM volt_internal.mark_cut_{device}s(of_{device}s, begins_at, ends_at);
END $$;
COMMENT ON FUNCTION volt_internal.keep_many_{device}s(text[], timestamptz, timestamptz) IS
  'Computes the kept energy of many {device}s in a period again; those that need the definition are marked.';

CREATE OR REPLACE FUNCTION volt_internal.keep_marked_{device}s(at_once integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  many CONSTANT integer := 200;
  quarter CONSTANT interval := INTERVAL '15 minutes';
  watermark CONSTANT timestamptz := (SELECT s.energy_watermark FROM volt_internal.rollup_state s);
  not_before CONSTANT timestamptz := volt_internal.computable_since();
  marked record;
  others text[];
  one text;
BEGIN
  -- A day that so many devices are marked in, as far as it is computable; else some devices of a day.
  WITH chosen AS (
    SELECT date_trunc('day', d.from_at, 'UTC') AS day, d.irregular, array_agg(DISTINCT d.device_id) AS ids
    FROM (
      SELECT * FROM volt_internal.energy_dirty WHERE device_type = '{device}' ORDER BY from_at LIMIT 100 * at_once) d
    GROUP BY 1, 2
    ORDER BY 1, 2 LIMIT 1
  ), allowed AS (
    SELECT c.day, c.irregular, m.are_many, CASE WHEN m.are_many THEN c.ids ELSE c.ids[:at_once] END AS ids
    FROM chosen c
    CROSS JOIN LATERAL (SELECT cardinality(c.ids) >= many AND NOT c.irregular AS are_many) m
  ), taken AS (
    DELETE FROM volt_internal.energy_dirty d USING allowed a
    WHERE d.device_type = '{device}' AND d.device_id = ANY (a.ids) AND d.from_at >= a.day
      AND d.from_at < a.day + INTERVAL '1 day' AND d.irregular = a.irregular
    RETURNING d.device_id, a.day, a.irregular, a.are_many, d.from_at, d.to_at
  )
  SELECT t.day, t.irregular, t.are_many, array_agg(DISTINCT t.device_id) AS ids,
    -- A reading right behind the watermark tells of the quarter hour before it.
    CASE WHEN min(t.from_at) < watermark + volt_internal.piece_reach() THEN least(min(t.from_at), watermark - quarter) END AS from_at,
    least(max(t.to_at), watermark) AS to_at
  INTO marked
  FROM taken t GROUP BY t.day, t.irregular, t.are_many;
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  IF marked.from_at IS NULL OR marked.to_at <= not_before THEN
    RETURN cardinality(marked.ids);
  END IF;
  PERFORM volt_internal.learn_{device}_day(marked.ids, marked.day, watermark);
  IF marked.day + INTERVAL '1 day' > watermark THEN
    INSERT INTO volt_internal.energy_provisional (device_type, device_id, day)
    SELECT '{device}', i.id, marked.day FROM unnest(marked.ids) AS i (id)
    ON CONFLICT DO NOTHING;
  END IF;
  IF marked.are_many AND marked.from_at > not_before THEN
    PERFORM volt_internal.keep_many_{device}s(marked.ids, marked.from_at, marked.to_at);
  ELSE
    others := CASE WHEN marked.irregular THEN marked.ids
                   ELSE volt_internal.keep_few_{device}s(marked.ids, marked.from_at, marked.to_at, not_before) END;
    FOREACH one IN ARRAY others LOOP
      PERFORM volt_internal.keep_{device}_again(one, marked.from_at, marked.to_at, not_before);
    END LOOP;
  END IF;
  RETURN cardinality(marked.ids);
END $$;
COMMENT ON FUNCTION volt_internal.keep_marked_{device}s(integer) IS
  'Computes the kept energy of marked {device}s again, of one UTC day, one by one so many or, where there are hundreds, all '
  'at once; how many, 0: nothing is left.';

-- end

CREATE OR REPLACE FUNCTION volt_internal.mark_hour(of_hour timestamptz) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO volt_internal.efficiency_dirty (vehicle_id, from_at, to_at)
  SELECT v.vehicle_id, of_hour, of_hour + INTERVAL '1 hour'
  FROM (
    SELECT q.vehicle_id FROM volt_internal.vehicle_quarter q
    WHERE q.quarter_hour >= of_hour AND q.quarter_hour < of_hour + INTERVAL '1 hour' AND q.kwh > 0
    UNION
    SELECT q.vehicle_id FROM volt_internal.onboard_quarter q
    WHERE q.quarter_hour >= of_hour AND q.quarter_hour < of_hour + INTERVAL '1 hour' AND q.kwh > 0
    UNION
    SELECT l.vehicle_id FROM volt_internal.meter_quarter q
    JOIN volt.vehicle_meter l ON l.meter_id = q.meter_id AND l.valid && tstzrange(of_hour, of_hour + INTERVAL '1 hour')
    WHERE q.quarter_hour >= of_hour AND q.quarter_hour < of_hour + INTERVAL '1 hour' AND q.kwh > 0
  ) v;
END;
COMMENT ON FUNCTION volt_internal.mark_hour(timestamptz) IS 'Marks the efficiency of all vehicles with energy in an hour.';

CREATE OR REPLACE FUNCTION volt_internal.end_days(before timestamptz) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH ended AS (
    DELETE FROM volt_internal.energy_provisional p WHERE p.day < before RETURNING p.device_type, p.device_id, p.day
  )
  INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
  SELECT e.device_type, e.device_id, e.day, e.day + INTERVAL '1 day' FROM ended e;
  DELETE FROM volt_internal.device_interval k
  WHERE k.day < before - make_interval(days => volt_internal.setting_number('raw_retention_days')::int + 3);
END;
COMMENT ON FUNCTION volt_internal.end_days(timestamptz) IS
  'Marks what was provisional of the days before a UTC midnight, and forgets what no raw readings are left for.';

CREATE OR REPLACE FUNCTION volt_internal.keep_energy() RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state volt_internal.rollup_state;
  slice_from timestamptz;
  slice_to timestamptz;
  first_at timestamptz;
  others text[];
BEGIN
  SELECT * INTO state FROM volt_internal.rollup_state FOR UPDATE;
  -- Skips gaps: the next quarter hour that a chunk of raw readings covers.
  SELECT min(greatest(c.range_start, state.energy_watermark)) FILTER (WHERE c.range_end > state.energy_watermark),
    min(c.range_start)
  INTO slice_from, first_at
  FROM timescaledb_information.chunks c
  WHERE c.hypertable_schema = 'volt' AND c.hypertable_name IN ('vehicle_reading', 'meter_reading');
  -- Chunks that were there are gone: what is kept of their time cannot be computed again.
  IF first_at IS DISTINCT FROM state.raw_since THEN
    UPDATE volt_internal.rollup_state s SET
      raw_since = first_at, dropped_before = CASE WHEN first_at > state.raw_since THEN greatest(s.dropped_before, first_at)
                                                  ELSE s.dropped_before END;
  END IF;
  IF slice_from IS NULL OR slice_from >= state.closing_watermark THEN
    slice_to := greatest(state.energy_watermark, state.closing_watermark);
  ELSE
    -- An hour at most, and within one UTC day.
    slice_to := least(date_trunc('hour', slice_from, 'UTC') + INTERVAL '1 hour', state.closing_watermark);
-- each device:
    others := volt_internal.keep_{device}_quarters(slice_from, slice_to);
    INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at, irregular)
    SELECT '{device}', o.id, slice_from, slice_to, true FROM unnest(others) AS o (id);
-- end
    others := volt_internal.keep_onboard_quarters(slice_from, slice_to);
    INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at, irregular)
    SELECT 'onboard', o.id, slice_from, slice_to, true FROM unnest(others) AS o (id);
    IF slice_to = date_trunc('hour', slice_to, 'UTC') THEN
      PERFORM volt_internal.mark_hour(slice_to - INTERVAL '1 hour');
    END IF;
  END IF;
  UPDATE volt_internal.rollup_state SET energy_watermark = slice_to;
  IF date_trunc('day', slice_to, 'UTC') > date_trunc('day', state.energy_watermark, 'UTC') THEN
    PERFORM volt_internal.end_days(date_trunc('day', slice_to, 'UTC'));
  END IF;
  RETURN slice_to < state.closing_watermark;
END $$;
COMMENT ON FUNCTION volt_internal.keep_energy() IS
  'Computes the energy of the next closed quarter hours, at most of an hour, and marks the devices and vehicles of which more '
  'is to be computed; false: nothing is left.';
