-- What: what programs ask about one vehicle.
-- Why:  functions, so that callers need not know which of the tables answers fastest.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt.vehicle_latest(of_vehicle text) RETURNS SETOF volt.vehicle_current
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.* FROM volt.vehicle_current c WHERE c.vehicle_id = of_vehicle;
END;
COMMENT ON FUNCTION volt.vehicle_latest(text) IS 'Newest known state of one vehicle; no row: never heard of. Units as in vehicle_current.';

CREATE OR REPLACE FUNCTION volt.vehicle_history(
  of_vehicle text, before timestamptz DEFAULT NULL, page_size integer DEFAULT 100
) RETURNS SETOF volt.vehicle_reading
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT r.* FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at < coalesce(before, 'infinity')
    ORDER BY r.recorded_at DESC
    LIMIT least(greatest(page_size, 1), 10000);
END $$;
COMMENT ON FUNCTION volt.vehicle_history(text, timestamptz, integer) IS
  'Raw readings of one vehicle, newest first, a page at a time (1-10000 rows): pass the last recorded_at of a page as '
  '"before" to get the next. Units as in vehicle_reading.';

CREATE OR REPLACE FUNCTION volt.vehicle_performance(of_vehicle text, from_at timestamptz, to_at timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  drive record;
  energy record;
  charge record;
BEGIN
  SELECT
    count(*) AS hours, sum(h.readings)::bigint AS readings,
    min(h.soc_min_pct) AS soc_min, max(h.soc_max_pct) AS soc_max,
    max(h.speed_max_kmh) AS speed_max, round(sum(h.speed_sum_kmh) / nullif(sum(h.speed_readings), 0), 2) AS speed_avg,
    min(h.battery_temp_min_c) AS temp_min, max(h.battery_temp_max_c) AS temp_max,
    max(h.charging_power_max_kw) AS charging_max,
    max(h.odometer_last_km)::numeric - min(h.odometer_first_km)::numeric AS distance
  INTO drive
  FROM volt.vehicle_hourly h
  WHERE h.vehicle_id = of_vehicle AND h.hour >= from_at AND h.hour < to_at;
  IF drive.hours = 0 THEN
    RETURN NULL;
  END IF;

  SELECT sum(e.energy_kwh) AS kwh INTO energy
  FROM volt.vehicle_energy_hourly e
  WHERE e.vehicle_id = of_vehicle AND e.hour >= from_at AND e.hour < to_at;

  SELECT sum(f.ac_kwh) AS ac_kwh, round(100 * sum(f.dc_kwh) / nullif(sum(f.ac_kwh), 0), 2) AS efficiency INTO charge
  FROM volt.efficiency_hourly f
  WHERE f.vehicle_id = of_vehicle AND f.hour >= from_at AND f.hour < to_at AND f.efficiency_pct IS NOT NULL;

  RETURN jsonb_build_object(
    'vehicle_id', of_vehicle, 'from', from_at, 'to', to_at, 'hours', drive.hours, 'readings', drive.readings,
    'dc_kwh', energy.kwh, 'ac_kwh', charge.ac_kwh, 'efficiency_pct', charge.efficiency,
    'distance_km', drive.distance, 'speed_max_kmh', drive.speed_max, 'speed_avg_kmh', drive.speed_avg,
    'soc_min_pct', drive.soc_min, 'soc_max_pct', drive.soc_max,
    'battery_temp_min_c', drive.temp_min, 'battery_temp_max_c', drive.temp_max,
    'charging_power_max_kw', drive.charging_max);
END $$;
COMMENT ON FUNCTION volt.vehicle_performance(text, timestamptz, timestamptz) IS
  'One vehicle over the whole hours that begin within [from, to): energy in kWh, distance in km, efficiency in % (of the '
  'hours where both sides are known), SOC in %, speed in km/h, power in kW, temperature in degrees Celsius; what is unknown is null, '
  'NULL: no readings.';
