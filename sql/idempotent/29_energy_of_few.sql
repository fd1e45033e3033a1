-- What: the energy of few devices in closed quarter hours, computed again by sums where these tell it.
-- Why:  the definition reads days of readings around a late one. Most devices report regularly: 28_energy_kept tells theirs
--       from the readings of the period, in one statement for all of them.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.keep_few_{device}s(
  of_{device}s text[], from_at timestamptz, to_at timestamptz, not_before timestamptz
) RETURNS text[] LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET constraint_exclusion = off AS $$
DECLARE
  -- A piece of energy reaches into the quarter hours around the readings.
  around CONSTANT interval := INTERVAL '30 minutes';
  reach CONSTANT interval := volt_internal.piece_reach();
  watermark CONSTANT timestamptz := (SELECT s.energy_watermark FROM volt_internal.rollup_state s);
  begins_at CONSTANT timestamptz := volt_internal.quarter_hour(from_at - around);
  ends_at CONSTANT timestamptz := least(volt_internal.quarter_hour(to_at + around), watermark);
  slice_from timestamptz := begins_at;
  slice_to timestamptz;
  plain text[];
  by_register text[];
BEGIN
  IF begins_at - reach <= not_before THEN
    RETURN of_{device}s;
  END IF;
  -- Sums build on the quarter hour before, and know of intervals behind midnight only what the day before says.
  plain := ARRAY(
    SELECT o.id FROM unnest(of_{device}s) AS o (id)
    WHERE NOT EXISTS (
      SELECT FROM volt_internal.energy_dirty d WHERE d.device_type = '{device}' AND d.device_id = o.id AND d.from_at < ends_at)
    AND NOT EXISTS (
      SELECT FROM generate_series(date_trunc('day', begins_at, 'UTC'), ends_at + reach, INTERVAL '1 day') AS n (day)
      LEFT JOIN volt_internal.device_interval k ON k.device_type = '{device}' AND k.device_id = o.id AND k.day = n.day
      HAVING min(coalesce(k.usual_s, 900)) < max(coalesce(k.usual_s, 900)) OR count(k.day) NOT IN (0, count(*))));
  by_register := volt_internal.{device}s_by_register(plain, begins_at, ends_at);
  WHILE slice_from < ends_at AND cardinality(plain) > 0 LOOP
    slice_to := least(date_trunc('day', slice_from, 'UTC') + INTERVAL '1 day', ends_at);
    plain := ARRAY(
      SELECT unnest(plain) EXCEPT SELECT unnest(volt_internal.keep_{device}_quarters(slice_from, slice_to, plain)));
    slice_from := slice_to;
  END LOOP;
  plain := ARRAY(SELECT unnest(plain) EXCEPT SELECT unnest(volt_internal.going_on_{device}s(plain, by_register, begins_at, ends_at)));
  PERFORM volt_internal.mark_cut_{device}s(plain, begins_at, ends_at);
  RETURN ARRAY(SELECT unnest(of_{device}s) EXCEPT SELECT unnest(plain));
END $$;
COMMENT ON FUNCTION volt_internal.keep_few_{device}s(text[], timestamptz, timestamptz, timestamptz) IS
  'Computes the kept energy of few {device}s in a period again, and returns those of which only the definition tells it. '
  'not_before: from when on raw readings are there.';

CREATE OR REPLACE FUNCTION volt_internal.{device}s_by_register(of_{device}s text[], from_at timestamptz, to_at timestamptz)
RETURNS text[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  RETURN ARRAY(
    SELECT o.id FROM unnest(of_{device}s) AS o (id)
    WHERE (
      SELECT bool_or(q.source IS DISTINCT FROM 'interval') FROM volt_internal.{device}_quarter q
      WHERE q.{device}_id = o.id AND q.quarter_hour >= from_at AND q.quarter_hour < to_at));
END $$;
COMMENT ON FUNCTION volt_internal.{device}s_by_register(text[], timestamptz, timestamptz) IS
  'Those of some {device}s of which a register tells kept quarter hours of a period.';

-- Then its energy is shared out over all of the time until it does.
CREATE OR REPLACE FUNCTION volt_internal.going_on_{device}s(
  of_{device}s text[], by_register text[], from_at timestamptz, to_at timestamptz
) RETURNS text[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET constraint_exclusion = off AS $$
BEGIN
  RETURN ARRAY(
    SELECT o.id FROM unnest(of_{device}s) AS o (id)
    WHERE NOT EXISTS (
      SELECT FROM volt.{device}_reading r
      WHERE r.{device}_id = o.id AND r.recorded_at >= to_at AND r.recorded_at <= to_at + volt_internal.piece_reach()
        -- vehicle: AND r.dc_register_kwh IS NOT NULL
        -- meter: AND r.ac_register_kwh IS NOT NULL
    )
    -- vehicle: AND NOT EXISTS (SELECT FROM volt.vehicle_current c WHERE c.vehicle_id = o.id AND c.dc_register_at < to_at)
    -- meter: AND NOT EXISTS (SELECT FROM volt.meter_current c WHERE c.meter_id = o.id AND c.ac_register_at < to_at)
    AND (o.id = ANY (by_register) OR (
      SELECT bool_and(q.source = 'interval') FROM volt_internal.{device}_quarter q
      WHERE q.{device}_id = o.id AND q.quarter_hour >= from_at AND q.quarter_hour < to_at) IS NOT TRUE));
END $$;
COMMENT ON FUNCTION volt_internal.going_on_{device}s(text[], text[], timestamptz, timestamptz) IS
  'Those of some {device}s whose register may go on further behind a period than sums look; by_register: those that have '
  'one.';

CREATE OR REPLACE FUNCTION volt_internal.mark_cut_{device}s(of_{device}s text[], from_at timestamptz, to_at timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM volt_internal.mark_efficiency('{device}', array_agg(DISTINCT d.id), volt_internal.quarter_hour(b.at),
    volt_internal.quarter_hour(b.at) + INTERVAL '15 minutes')
  FROM unnest(of_{device}s) AS d (id)
  -- vehicle: JOIN volt.vehicle_meter o ON o.vehicle_id = d.id
  -- vehicle: JOIN volt.vehicle_meter l ON l.meter_id = o.meter_id
  -- meter: JOIN volt.vehicle_meter l ON l.meter_id = d.id
  CROSS JOIN LATERAL unnest(ARRAY[lower(l.valid), upper(l.valid)]) AS b (at)
  WHERE b.at > from_at AND b.at < to_at AND b.at <> volt_internal.quarter_hour(b.at)
  GROUP BY volt_internal.quarter_hour(b.at);
END $$;
COMMENT ON FUNCTION volt_internal.mark_cut_{device}s(text[], timestamptz, timestamptz) IS
  'Marks the efficiency of quarter hours in which a link of these {device}s begins or ends: a part of one may have other '
  'energy while the whole has the same.';

-- end
