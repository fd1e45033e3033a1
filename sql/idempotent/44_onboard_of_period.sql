-- What: AC energy of one vehicle's on-board charger by quarter hour in a period, and when it is the AC side of its efficiency.
-- Why:  as 44_energy_of_period for the registers of devices: closed quarter hours as they are kept, the rest from the readings
--       around it where these are enough, else by the definition.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.time_without_meter(of_vehicle text) RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
RETURN (
  SELECT '{(,)}'::tstzmultirange - coalesce(range_agg(tstzrange(
    CASE WHEN isfinite(lower(l.valid)) THEN volt_internal.quarter_hour(lower(l.valid)) END,
    CASE WHEN isfinite(upper(l.valid)) THEN volt_internal.quarter_hour(upper(l.valid) + INTERVAL '899.999999 seconds') END)), '{}')
  FROM volt.vehicle_meter l WHERE l.vehicle_id = of_vehicle);
COMMENT ON FUNCTION volt_internal.time_without_meter(text) IS
  'The quarter hours that no link of a vehicle touches: in these its on-board charger is the AC side.';

-- No connector of alternating current has more than 63 A in three phases at 400 V, 44 kW. 0.05 kWh: the resolution of registers.
CREATE OR REPLACE FUNCTION volt_internal.is_fast_charge(dc_kwh numeric, ac_kwh numeric, length_s numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN dc_kwh > coalesce(ac_kwh, 0) + 0.05 OR dc_kwh > 44 * length_s / 3600;
COMMENT ON FUNCTION volt_internal.is_fast_charge(numeric, numeric, numeric) IS
  'Whether more DC energy reached a vehicle in a time (s) than its on-board charger took (kWh) or any can take.';

CREATE OR REPLACE FUNCTION volt_internal.onboard_quarters_from_raw(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  -- include: quarter_columns.sql
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT q.*, false FROM volt_internal.vehicle_energy_quarters(of_vehicle, from_at, to_at, 'onboard') q;
END;
COMMENT ON FUNCTION volt_internal.onboard_quarters_from_raw(text, timestamptz, timestamptz) IS
  'AC energy of an on-board charger by the definition, with the columns of vehicle_quarters_from_raw; moved is false.';

CREATE OR REPLACE FUNCTION volt_internal.onboard_kept(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS volt_internal.onboard_quarter[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  RETURN (
    SELECT array_agg(q) FROM volt_internal.onboard_quarter q
    WHERE q.vehicle_id = of_vehicle AND q.quarter_hour >= from_at AND q.quarter_hour < to_at);
END $$;
COMMENT ON FUNCTION volt_internal.onboard_kept(text, timestamptz, timestamptz) IS
  'The kept quarter hours of one vehicle''s on-board charger in a period.';

CREATE OR REPLACE FUNCTION volt_internal.onboard_readings_near(
  of_vehicle text, from_at timestamptz, to_at timestamptz,
  OUT ats timestamptz[], OUT kwhs numeric[], OUT registers double precision[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  SELECT array_agg(r.recorded_at), array_agg(NULL::numeric), array_agg(r.ac_register_kwh)
  INTO ats, kwhs, registers
  FROM (
    SELECT r.recorded_at, r.ac_register_kwh
    FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at AND r.recorded_at <= to_at AND r.ac_register_kwh IS NOT NULL
    ORDER BY r.recorded_at
  ) r;
END $$;
COMMENT ON FUNCTION volt_internal.onboard_readings_near(text, timestamptz, timestamptz) IS
  'Readings of the AC register of one vehicle''s on-board charger from one time to another, both included; kwhs is empty of energy.';

CREATE OR REPLACE FUNCTION volt_internal.onboard_quarters_of(of_vehicle text, from_at timestamptz, to_at timestamptz, from_raw boolean)
RETURNS TABLE (
  -- include: quarter_columns.sql
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  first_at CONSTANT timestamptz := volt_internal.quarter_hour(from_at + INTERVAL '899.999999 seconds');
  closed_at timestamptz;  -- the kept quarter hours are from the first to this one
  known_until timestamptz;
  known record;
  kept volt_internal.onboard_quarter[];
  near record;
  cut record;
  shown_kwh numeric;
  of_source text;
BEGIN
  SELECT s.energy_watermark AS watermark, c.ac_register_at AS register_at,
    coalesce(v.max_power_kw, volt_internal.setting_number('efficiency_max_power_kw')::double precision) AS max_power_kw,
    ARRAY(SELECT d.recorded_at FROM volt.register_decision d
          WHERE d.device_type = 'onboard' AND d.device_id = of_vehicle) AS decided,
    EXISTS (SELECT FROM volt_internal.energy_dirty d WHERE d.device_type = 'onboard' AND d.device_id = of_vehicle) AS is_marked,
    EXISTS (SELECT FROM volt_internal.energy_provisional p
            WHERE p.device_type = 'onboard' AND p.device_id = of_vehicle AND p.day < to_at) AS is_provisional
  INTO known
  FROM volt_internal.rollup_state s
  LEFT JOIN volt.vehicle v ON v.vehicle_id = of_vehicle
  LEFT JOIN volt.vehicle_current c ON c.vehicle_id = of_vehicle;
  IF from_raw OR NOT isfinite(known.watermark) OR known.is_marked OR known.is_provisional THEN
    RETURN QUERY SELECT * FROM volt_internal.onboard_quarters_from_raw(of_vehicle, from_at, to_at);
    RETURN;
  END IF;
  closed_at := least(volt_internal.quarter_hour(to_at), known.watermark);
  kept := volt_internal.onboard_kept(of_vehicle, least(volt_internal.quarter_hour(from_at), closed_at) - quarter, closed_at);

  -- What came after the watermark tells also of what is closed: how the register goes on.
  known_until := greatest(known.watermark, to_at) + INTERVAL '2 days';
  near := volt_internal.onboard_readings_near(of_vehicle, known.watermark - quarter, known_until);
  IF near.ats IS NULL THEN
    -- It has not gone on: nothing is known behind its last reading.
    of_source := CASE WHEN known.register_at < known.watermark - quarter THEN 'register' END;
  ELSIF NOT coalesce(known.decided && near.ats, false) AND known.register_at <= known_until THEN
    shown_kwh := (
      SELECT k.register_kwh
      FROM unnest(CASE WHEN closed_at = known.watermark THEN kept
                       ELSE volt_internal.onboard_kept(of_vehicle, known.watermark - quarter, known.watermark) END) AS k
      WHERE k.quarter_hour = known.watermark - quarter);
    of_source := volt_internal.plain_source(
      near.ats, near.kwhs, near.registers, known.watermark, greatest(known.watermark, to_at), 900, known.max_power_kw,
      shown_kwh, known.register_at);
  END IF;
  IF of_source IS NULL THEN
    RETURN QUERY SELECT * FROM volt_internal.onboard_quarters_from_raw(of_vehicle, from_at, to_at);
    RETURN;
  END IF;
  IF to_at > known.watermark AND near.ats IS NOT NULL THEN
    RETURN QUERY SELECT * FROM volt_internal.plain_quarters(
      near.ats, near.kwhs, near.registers, NULL::timestamptz[], greatest(from_at, known.watermark), to_at, 900, of_source);
  END IF;
  RETURN QUERY
  SELECT k.quarter_hour, 900::numeric, k.kwh, k.covered_s, k.gap_s, k.low_kwh, k.high_kwh, k.peak_kw, k.gaps, k.suspect, k.source,
    false
  FROM unnest(kept) AS k
  WHERE k.quarter_hour >= first_at;

  -- The closed quarter hours that the period cuts.
  FOR cut IN
    SELECT c.began_at, c.ended_at, volt_internal.quarter_hour(c.began_at) AS quarter_hour
    FROM (VALUES (from_at, least(first_at, to_at, known.watermark)),
      (greatest(closed_at, first_at), least(to_at, known.watermark))) AS c (began_at, ended_at)
    WHERE c.began_at < c.ended_at
  LOOP
    RETURN QUERY SELECT * FROM volt_internal.onboard_quarters_from_raw(of_vehicle, cut.began_at, cut.ended_at);
  END LOOP;
END $$;
COMMENT ON FUNCTION volt_internal.onboard_quarters_of(text, timestamptz, timestamptz, boolean) IS
  'The same as onboard_quarters_from_raw, from what is kept as far as that is certain to be the same; from_raw: by that itself.';
