-- What: the register of one device as a curve, from its raw readings and the decisions on them, and its events.
-- Why:  a register goes on through a period, so the readings around it are read, too. The inner functions run with their
--       owner's rights, as analysts have none in volt_internal.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

-- each device:
CREATE OR REPLACE VIEW volt_internal.{device}_energy_reading AS
SELECT
  r.{device}_id,
  r.recorded_at,
  -- vehicle: r.kwh_delivered_dc::numeric AS interval_kwh,
  -- vehicle: r.dc_register_kwh AS register_kwh,
  -- vehicle: r.kwh_returned_dc::numeric AS returned_interval_kwh,
  -- vehicle: r.dc_returned_register_kwh AS returned_register_kwh,
  -- vehicle: r.ac_register_kwh AS onboard_register_kwh
  -- meter: r.kwh_consumed_ac::numeric AS interval_kwh,
  -- meter: r.ac_register_kwh AS register_kwh,
  -- meter: r.kwh_returned_ac::numeric AS returned_interval_kwh,
  -- meter: r.ac_returned_register_kwh AS returned_register_kwh
FROM volt.{device}_reading r;
COMMENT ON VIEW volt_internal.{device}_energy_reading IS
  'Readings of {device}s with their energy under the same names for both devices.';
COMMENT ON COLUMN volt_internal.{device}_energy_reading.{device}_id IS 'The {device}.';
COMMENT ON COLUMN volt_internal.{device}_energy_reading.recorded_at IS 'When it measured.';
COMMENT ON COLUMN volt_internal.{device}_energy_reading.interval_kwh IS 'Energy of the interval that ended then, kWh.';
COMMENT ON COLUMN volt_internal.{device}_energy_reading.register_kwh IS 'What its register showed, kWh.';
COMMENT ON COLUMN volt_internal.{device}_energy_reading.returned_interval_kwh IS
  'Returned energy of the interval that ended then, kWh.';
COMMENT ON COLUMN volt_internal.{device}_energy_reading.returned_register_kwh IS
  'What its register of returned energy showed, kWh.';
-- vehicle: COMMENT ON COLUMN volt_internal.vehicle_energy_reading.onboard_register_kwh IS 'What the AC register of its on-board charger showed, kWh.';

-- Without SECURITY DEFINER and SET, as the planner looks into it only then.
CREATE OR REPLACE FUNCTION volt_internal.{device}_flow_reading(flow text)
RETURNS TABLE ({device}_id text, recorded_at timestamptz, interval_kwh numeric, register_kwh double precision)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT r.{device}_id, r.recorded_at,
    -- vehicle: CASE flow WHEN 'delivered' THEN r.interval_kwh WHEN 'returned' THEN r.returned_interval_kwh END,
    -- vehicle: CASE flow WHEN 'delivered' THEN r.register_kwh WHEN 'returned' THEN r.returned_register_kwh ELSE r.onboard_register_kwh END
    -- meter: CASE flow WHEN 'delivered' THEN r.interval_kwh WHEN 'returned' THEN r.returned_interval_kwh END,
    -- meter: CASE flow WHEN 'delivered' THEN r.register_kwh WHEN 'returned' THEN r.returned_register_kwh END
  FROM volt_internal.{device}_energy_reading r;
END;
COMMENT ON FUNCTION volt_internal.{device}_flow_reading(text) IS
  -- vehicle: 'Readings of vehicles with one flow of their energy, kWh: delivered, returned, or onboard (AC into the on-board charger).';
  -- meter: 'Readings of meters with one flow of their energy, kWh: delivered or returned.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_register_curve(
  of_{device} text, from_at timestamptz, to_at timestamptz, flow text DEFAULT 'delivered'
)
RETURNS TABLE (
  recorded_at timestamptz, register_kwh numeric, credited_kwh numeric, verdict text, taken_for text
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
  first_day timestamptz := date_trunc('day', from_at - INTERVAL '1 day', 'UTC');
  last_day timestamptz := date_trunc('day', to_at, 'UTC') + INTERVAL '2 days';
  has_register boolean;
  decided_as CONSTANT text := CASE flow WHEN 'delivered' THEN '{device}' WHEN 'onboard' THEN 'onboard' END;
  known volt.{device};
  ats timestamptz[];
  registers double precision[];
  further interval;
  earlier_ats timestamptz[];
  earlier double precision[];
  ignored timestamptz[];
  decisions text[];
  starts double precision[];
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  SELECT array_agg(r.recorded_at ORDER BY r.recorded_at), array_agg(r.register_kwh ORDER BY r.recorded_at)
  INTO ats, registers
  FROM volt_internal.{device}_flow_reading(flow) r
  WHERE r.{device}_id = of_{device} AND r.recorded_at >= first_day AND r.recorded_at < last_day
    AND r.register_kwh IS NOT NULL;
  -- Without this a device that never had a register would be searched through all of its history.
  has_register := ats IS NOT NULL OR EXISTS (
    SELECT FROM volt.{device}_current c WHERE c.{device}_id = of_{device}
      -- vehicle: AND CASE flow WHEN 'delivered' THEN c.dc_register_kwh WHEN 'returned' THEN c.dc_returned_register_kwh ELSE c.ac_register_kwh END IS NOT NULL
      -- meter: AND CASE flow WHEN 'delivered' THEN c.ac_register_kwh ELSE c.ac_returned_register_kwh END IS NOT NULL
  );
  IF NOT has_register THEN
    RETURN;
  END IF;
  SELECT coalesce(array_agg(d.recorded_at), '{}') INTO ignored
  FROM volt.register_decision d
  WHERE d.device_type = decided_as AND d.device_id = of_{device} AND d.decision = 'ignore';
  -- The two readings before, and the two behind; first in a week, as few chunks are planned faster.
  FOREACH further IN ARRAY ARRAY[INTERVAL '7 days', NULL] LOOP
    SELECT array_agg(x.recorded_at ORDER BY x.recorded_at), array_agg(x.register_kwh ORDER BY x.recorded_at)
    INTO earlier_ats, earlier
    FROM (
      SELECT r.recorded_at, r.register_kwh FROM volt_internal.{device}_flow_reading(flow) r
      WHERE r.{device}_id = of_{device} AND r.recorded_at < first_day AND r.register_kwh IS NOT NULL
        AND r.recorded_at <> ALL (ignored)
        AND (further IS NULL OR r.recorded_at >= first_day - further)
      ORDER BY r.recorded_at DESC LIMIT 2
    ) x;
    EXIT WHEN cardinality(earlier_ats) = 2;
  END LOOP;
  SELECT array_agg(x.recorded_at ORDER BY x.recorded_at), array_agg(x.register_kwh ORDER BY x.recorded_at)
  INTO ats, registers
  FROM (
    SELECT * FROM unnest(earlier_ats, earlier)
    UNION ALL
    SELECT * FROM unnest(ats, registers)
    UNION ALL
    (SELECT r.recorded_at, r.register_kwh FROM volt_internal.{device}_flow_reading(flow) r
     WHERE r.{device}_id = of_{device} AND r.recorded_at >= last_day AND r.register_kwh IS NOT NULL
       AND r.recorded_at <> ALL (ignored)
     ORDER BY r.recorded_at LIMIT 2)
  ) AS x (recorded_at, register_kwh);
  IF EXISTS (SELECT FROM volt.register_decision d WHERE d.device_type = decided_as AND d.device_id = of_{device}) THEN
    SELECT array_agg(d.decision ORDER BY a.at), array_agg(d.start_kwh ORDER BY a.at) INTO decisions, starts
    FROM unnest(ats) AS a (at)
    LEFT JOIN volt.register_decision d
      ON d.device_type = decided_as AND d.device_id = of_{device} AND d.recorded_at = a.at;
  END IF;
  SELECT v.* INTO known FROM volt.{device} v WHERE v.{device}_id = of_{device};
  RETURN QUERY SELECT c.* FROM volt_internal.register_curve(
    ats, registers, coalesce(known.max_power_kw::numeric, volt_internal.setting_number('efficiency_max_power_kw')),
    -- vehicle: coalesce(CASE flow WHEN 'onboard' THEN known.onboard_register_kind ELSE known.register_kind END, 'total'), decisions, starts) c;
    -- meter: coalesce(known.register_kind, 'total'), decisions, starts) c;
END $$;
COMMENT ON FUNCTION volt_internal.{device}_register_curve(text, timestamptz, timestamptz, text) IS
  'volt_internal.register_curve of one {device}''s register of one flow of energy (flow_reading), from a day before the '
  'period to a day after it, with the two readings before and behind that.';

CREATE OR REPLACE FUNCTION volt.{device}_register_events(of_{device} text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  recorded_at timestamptz, event text, previous_kwh numeric, register_kwh numeric, credited_kwh numeric, decision text
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.recorded_at, c.taken_for, c.previous_kwh, c.register_kwh, coalesce(c.credited_kwh, 0), d.decision
  FROM (
    SELECT *, lag(register_kwh) OVER (ORDER BY recorded_at) AS previous_kwh
    FROM volt_internal.{device}_register_curve(of_{device}, from_at, to_at)
  ) c
  LEFT JOIN volt.register_decision d
    ON d.device_type = '{device}' AND d.device_id = of_{device} AND d.recorded_at = c.recorded_at
  WHERE c.recorded_at >= from_at AND c.recorded_at < to_at
    AND (d.decision IS NOT NULL
         OR c.taken_for IN ('contradicted', 'undecided', 'impossible_step', 'reset', 'session', 'lower_start'))
  ORDER BY c.recorded_at;
END;
COMMENT ON FUNCTION volt.{device}_register_events(text, timestamptz, timestamptz) IS
  'What one {device}''s register did within [from, to) other than rise, and what is counted for it (kWh): contradicted (a '
  'single value that the next reading takes back: none), undecided (the next reading will tell), impossible_step (faster '
  'than max_power_kw allows: 0), reset (it began again near zero: what it shows), session (likewise, of a register '
  'that counts sessions), lower_start (a lower value that was held: 0). decision: what somebody decided on the reading '
  '(volt.register_decision), and then that is what is counted, also of a reading that is otherwise first, rise or jitter.';

-- end
