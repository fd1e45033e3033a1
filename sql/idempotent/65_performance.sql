-- What: what one vehicle did in a period, as one JSON document for programs.
-- Why:  energy and efficiency come from the same quarter hours for the period and for each of its hours, so that the hours
--       add up to the period.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.vehicle_distance_km(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  -- An odometer is a register, and no vehicle is faster than 400 km/h.
  RETURN (
    SELECT sum(c.credited_kwh)
    FROM (
      SELECT array_agg(r.recorded_at ORDER BY r.recorded_at) AS ats, array_agg(r.odometer_km ORDER BY r.recorded_at) AS km
      FROM (
        -- With the one before the period, so that days add up.
        (SELECT recorded_at, odometer_km FROM volt.vehicle_reading
         WHERE vehicle_id = of_vehicle AND recorded_at >= from_at - INTERVAL '7 days' AND recorded_at < from_at
           AND odometer_km IS NOT NULL
         ORDER BY recorded_at DESC LIMIT 1)
        UNION ALL
        SELECT recorded_at, odometer_km FROM volt.vehicle_reading
        WHERE vehicle_id = of_vehicle AND recorded_at >= from_at AND recorded_at < to_at AND odometer_km IS NOT NULL
      ) r
    ) o
    CROSS JOIN LATERAL volt_internal.register_curve(o.ats, o.km, 400, 'total') c);
END $$;
COMMENT ON FUNCTION volt_internal.vehicle_distance_km(text, timestamptz, timestamptz) IS
  'How far a vehicle went within [from, to), km, by its odometer from the last reading before the period (within a week) on.';

CREATE OR REPLACE FUNCTION volt_internal.vehicle_measured(
  of_vehicle text, from_at timestamptz, to_at timestamptz,
  OUT readings bigint, OUT average_c numeric, OUT highest_c double precision, OUT lowest_c double precision,
  OUT returned bigint, OUT distance_km numeric
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET constraint_exclusion = off
SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
  before_km double precision;
  last_km double precision;
  rises boolean;
BEGIN
  -- One scan, with the hour before, in which the odometer of most vehicles has its last reading before the period. Most
  -- values stay for many readings, so what is asked of them is asked once a value.
  WITH value AS (
    SELECT r.odometer_km, r.battery_temp_c, r.recorded_at >= from_at AS is_in, count(*) AS readings,
      count(r.kwh_returned_dc) + count(r.dc_returned_register_kwh) AS returned, min(r.recorded_at) AS first_at,
      max(r.recorded_at) AS last_at
    FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at - INTERVAL '1 hour' AND r.recorded_at < to_at
    GROUP BY 1, 2, 3
  ), odometer AS (
    SELECT v.odometer_km, min(v.first_at) AS first_at, max(v.last_at) AS last_at FROM value v
    WHERE v.odometer_km IS NOT NULL
    GROUP BY v.odometer_km
  ), step AS (
    SELECT o.first_at - lag(o.last_at) OVER w AS since, o.odometer_km - lag(o.odometer_km) OVER w AS km FROM odometer o
    WINDOW w AS (ORDER BY o.odometer_km)
  )
  SELECT coalesce(sum(v.readings) FILTER (WHERE v.is_in), 0),
    sum(v.battery_temp_c::numeric * v.readings) FILTER (WHERE v.is_in)
      / nullif(sum(v.readings) FILTER (WHERE v.is_in AND v.battery_temp_c IS NOT NULL), 0),
    max(v.battery_temp_c) FILTER (WHERE v.is_in), min(v.battery_temp_c) FILTER (WHERE v.is_in),
    coalesce(sum(v.returned) FILTER (WHERE v.is_in), 0),
    max(v.odometer_km) FILTER (WHERE NOT v.is_in), max(v.odometer_km),
    (SELECT coalesce(bool_and(s.since > INTERVAL '0' AND s.km <= 400 * date_part('epoch', s.since) / 3600), true)
     FROM step s WHERE s.since IS NOT NULL)
  INTO readings, average_c, highest_c, lowest_c, returned, before_km, last_km, rises
  FROM value v;
  IF before_km IS NOT NULL AND rises THEN
    distance_km := last_km::numeric - before_km::numeric;
  ELSIF last_km IS NOT NULL OR EXISTS (
    SELECT FROM volt.vehicle_current c WHERE c.vehicle_id = of_vehicle AND c.odometer_at IS NOT NULL) THEN
    distance_km := volt_internal.vehicle_distance_km(of_vehicle, from_at, to_at);
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.vehicle_measured(text, timestamptz, timestamptz) IS
  'Of one vehicle within [from, to): how many readings, temperatures of the battery (degrees Celsius), how many readings of '
  'returned energy, and the distance (km).';

CREATE OR REPLACE FUNCTION volt.vehicle_performance(
  of_vehicle text, from_at timestamptz DEFAULT now() - INTERVAL '24 hours', to_at timestamptz DEFAULT now()
) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  starts timestamptz[];
  ends timestamptz[];
  whole record;
  measured record;
  returned_kwh numeric;
BEGIN
  PERFORM volt_internal.check_period(from_at, to_at);
  measured := volt_internal.vehicle_measured(of_vehicle, from_at, to_at);
  IF measured.readings = 0 AND NOT EXISTS (SELECT FROM volt.vehicle v WHERE v.vehicle_id = of_vehicle)
     AND NOT EXISTS (SELECT FROM volt.vehicle_current c WHERE c.vehicle_id = of_vehicle) THEN
    RETURN NULL;
  END IF;

  -- Few vehicles return energy, and its quarter hours take as long as those of all that is delivered.
  IF measured.returned > 0 OR EXISTS (
    SELECT FROM volt.vehicle_current c
    WHERE c.vehicle_id = of_vehicle AND (c.kwh_returned_dc IS NOT NULL OR c.dc_returned_register_kwh IS NOT NULL)
  ) THEN
    SELECT sum(q.kwh) INTO returned_kwh FROM volt_internal.vehicle_energy_quarters(of_vehicle, from_at, to_at, 'returned') q;
  END IF;

  SELECT array_agg(h.at ORDER BY h.at), array_agg(h.until ORDER BY h.at) INTO starts, ends
  FROM (
    SELECT greatest(n.at, from_at) AS at, least(n.at + INTERVAL '1 hour', to_at) AS until
    FROM generate_series(date_trunc('hour', from_at, 'UTC'), to_at, INTERVAL '1 hour') AS n (at)
    WHERE n.at < to_at
  ) h;
  WITH period AS MATERIALIZED (
    SELECT * FROM volt_internal.vehicle_periods(of_vehicle, from_at || starts, to_at || ends, false)
  ), hour AS (
    SELECT jsonb_agg(jsonb_build_object(
      'hour', date_trunc('hour', h.at, 'UTC'),
      'acConsumed', p.ac_kwh,
      'dcDelivered', p.dc_kwh,
      'efficiency', round(p.efficiency_pct / 100, 4),
      'source', p.source,
      'quality', p.quality) ORDER BY h.at) AS rows
    FROM unnest(starts, ends) AS h (at, until)
    LEFT JOIN period p ON p.began_at = h.at AND p.ended_at = h.until
  )
  SELECT p.*, hour.rows AS hours INTO whole
  FROM hour LEFT JOIN period p ON p.began_at = from_at AND p.ended_at = to_at
  LIMIT 1;

  RETURN jsonb_build_object(
    'vehicleId', of_vehicle,
    'period', jsonb_build_object('start', from_at, 'end', to_at),
    'energyMetrics', jsonb_build_object(
      'totalAcConsumed', whole.ac_kwh,
      'totalDcDelivered', whole.dc_kwh,
      'comparableAc', round(whole.comparable_ac_kwh, 9),
      'comparableDc', round(whole.comparable_dc_kwh, 9),
      'efficiencyRatio', round(whole.efficiency_pct / 100, 4),
      'powerLoss', round(whole.comparable_ac_kwh - whole.comparable_dc_kwh, 9),
      'standby', whole.standby_kwh,
      'returned', returned_kwh),
    'batteryMetrics', jsonb_build_object(
      'avgTemperature', round(measured.average_c, 2), 'maxTemperature', measured.highest_c, 'minTemperature', measured.lowest_c),
    'hourlyBreakdown', whole.hours,
    'distanceKm', measured.distance_km,
    'source', whole.source,
    'quality', coalesce(whole.quality, 'no_data'));
END $$;
COMMENT ON FUNCTION volt.vehicle_performance(text, timestamptz, timestamptz) IS
  'One vehicle within [from, to), by default the last 24 hours, at most 366 days: energy in kWh as '
  'volt.vehicle_efficiency has it, efficiencyRatio and efficiency from 0 to 1 (comparableDc / comparableAc), powerLoss what was '
  'compared and did not arrive, kWh; returned what flowed out of the battery, kWh, and is no part of the others; temperatures in degrees Celsius; distanceKm by the odometer, from the last reading before the period (within a week) on; source: meter, onboard, mixed or null, as volt.vehicle_efficiency has it; every hour (UTC), the first and '
  'the last as far as they lie in the period. Null: unknown. NULL: an unknown vehicle.';
