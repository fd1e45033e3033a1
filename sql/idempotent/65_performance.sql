-- What: how one vehicle did over a period, in one document.
-- Why:  a function, so that callers need not know which of the views and aggregates answers fastest.
-- Lock: none on data.

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
