-- What: what each view and its columns mean, with units; readable in psql with \d+.
-- Why:  both editions share the names, so they share the words.
-- Lock: none on data.

COMMENT ON VIEW volt.vehicle_hourly IS
  'Readings of one vehicle in one hour.';
COMMENT ON COLUMN volt.vehicle_hourly.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.vehicle_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.vehicle_hourly.readings IS 'Readings.';
COMMENT ON COLUMN volt.vehicle_hourly.soc_first_pct IS 'First state of charge, %.';
COMMENT ON COLUMN volt.vehicle_hourly.soc_last_pct IS 'Last state of charge, %.';
COMMENT ON COLUMN volt.vehicle_hourly.soc_min_pct IS 'Lowest state of charge, %.';
COMMENT ON COLUMN volt.vehicle_hourly.soc_max_pct IS 'Highest state of charge, %.';
COMMENT ON COLUMN volt.vehicle_hourly.speed_max_kmh IS 'Highest speed, km/h.';
COMMENT ON COLUMN volt.vehicle_hourly.speed_sum_kmh IS 'Sum of speeds, km/h; over speed_readings it is the average.';
COMMENT ON COLUMN volt.vehicle_hourly.speed_readings IS 'Readings with a speed.';
COMMENT ON COLUMN volt.vehicle_hourly.battery_temp_min_c IS 'Lowest battery temperature, degrees Celsius.';
COMMENT ON COLUMN volt.vehicle_hourly.battery_temp_max_c IS 'Highest battery temperature, degrees Celsius.';
COMMENT ON COLUMN volt.vehicle_hourly.interval_kwh IS 'Sum of interval energy of readings without a register, kWh.';
COMMENT ON COLUMN volt.vehicle_hourly.interval_readings IS 'Readings with interval energy and without a register.';
COMMENT ON COLUMN volt.vehicle_hourly.register_first_kwh IS 'First reading of the register, kWh.';
COMMENT ON COLUMN volt.vehicle_hourly.register_last_kwh IS 'Last reading of the register, kWh.';
COMMENT ON COLUMN volt.vehicle_hourly.register_increase_kwh IS 'Increase of the register within, kWh (register_step); without the step from before.';
COMMENT ON COLUMN volt.vehicle_hourly.register_readings IS 'Readings with a register.';
COMMENT ON COLUMN volt.vehicle_hourly.odometer_first_km IS 'First odometer reading, km.';
COMMENT ON COLUMN volt.vehicle_hourly.odometer_last_km IS 'Last odometer reading, km.';
COMMENT ON COLUMN volt.vehicle_hourly.charging_power_max_kw IS 'Highest power into the battery, kW.';

COMMENT ON VIEW volt.meter_hourly IS
  'Readings of one meter in one hour.';
COMMENT ON COLUMN volt.meter_hourly.meter_id IS 'The meter.';
COMMENT ON COLUMN volt.meter_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.meter_hourly.readings IS 'Readings.';
COMMENT ON COLUMN volt.meter_hourly.interval_kwh IS 'Sum of interval energy of readings without a register, kWh.';
COMMENT ON COLUMN volt.meter_hourly.interval_readings IS 'Readings with interval energy and without a register.';
COMMENT ON COLUMN volt.meter_hourly.register_first_kwh IS 'First reading of the register, kWh.';
COMMENT ON COLUMN volt.meter_hourly.register_last_kwh IS 'Last reading of the register, kWh.';
COMMENT ON COLUMN volt.meter_hourly.register_increase_kwh IS 'Increase of the register within, kWh (register_step); without the step from before.';
COMMENT ON COLUMN volt.meter_hourly.register_readings IS 'Readings with a register.';
COMMENT ON COLUMN volt.meter_hourly.power_min_kw IS 'Lowest power, kW.';
COMMENT ON COLUMN volt.meter_hourly.power_max_kw IS 'Highest power, kW.';
COMMENT ON COLUMN volt.meter_hourly.voltage_min_v IS 'Lowest voltage, V.';
COMMENT ON COLUMN volt.meter_hourly.voltage_max_v IS 'Highest voltage, V.';
COMMENT ON COLUMN volt.meter_hourly.current_max_a IS 'Highest current, A.';

COMMENT ON VIEW volt.vehicle_daily IS
  'Readings of one vehicle in one UTC day.';
COMMENT ON COLUMN volt.vehicle_daily.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.vehicle_daily.day IS 'Start of the day, UTC.';
COMMENT ON COLUMN volt.vehicle_daily.hours IS 'Hours of the day with readings.';
COMMENT ON COLUMN volt.vehicle_daily.readings IS 'Readings.';
COMMENT ON COLUMN volt.vehicle_daily.soc_first_pct IS 'First state of charge, %.';
COMMENT ON COLUMN volt.vehicle_daily.soc_last_pct IS 'Last state of charge, %.';
COMMENT ON COLUMN volt.vehicle_daily.soc_min_pct IS 'Lowest state of charge, %.';
COMMENT ON COLUMN volt.vehicle_daily.soc_max_pct IS 'Highest state of charge, %.';
COMMENT ON COLUMN volt.vehicle_daily.speed_max_kmh IS 'Highest speed, km/h.';
COMMENT ON COLUMN volt.vehicle_daily.speed_sum_kmh IS 'Sum of speeds, km/h; over speed_readings it is the average.';
COMMENT ON COLUMN volt.vehicle_daily.speed_readings IS 'Readings with a speed.';
COMMENT ON COLUMN volt.vehicle_daily.battery_temp_min_c IS 'Lowest battery temperature, degrees Celsius.';
COMMENT ON COLUMN volt.vehicle_daily.battery_temp_max_c IS 'Highest battery temperature, degrees Celsius.';
COMMENT ON COLUMN volt.vehicle_daily.interval_kwh IS 'Sum of interval energy of the hours without a register, kWh.';
COMMENT ON COLUMN volt.vehicle_daily.register_first_kwh IS 'First reading of the register, kWh.';
COMMENT ON COLUMN volt.vehicle_daily.register_last_kwh IS 'Last reading of the register, kWh.';
COMMENT ON COLUMN volt.vehicle_daily.register_increase_kwh IS 'Increase of the register within, kWh (register_step); without the step from before.';
COMMENT ON COLUMN volt.vehicle_daily.odometer_first_km IS 'First odometer reading, km.';
COMMENT ON COLUMN volt.vehicle_daily.odometer_last_km IS 'Last odometer reading, km.';
COMMENT ON COLUMN volt.vehicle_daily.charging_power_max_kw IS 'Highest power into the battery, kW.';

COMMENT ON VIEW volt.meter_daily IS
  'Readings of one meter in one UTC day.';
COMMENT ON COLUMN volt.meter_daily.meter_id IS 'The meter.';
COMMENT ON COLUMN volt.meter_daily.day IS 'Start of the day, UTC.';
COMMENT ON COLUMN volt.meter_daily.hours IS 'Hours of the day with readings.';
COMMENT ON COLUMN volt.meter_daily.readings IS 'Readings.';
COMMENT ON COLUMN volt.meter_daily.interval_kwh IS 'Sum of interval energy of the hours without a register, kWh.';
COMMENT ON COLUMN volt.meter_daily.register_first_kwh IS 'First reading of the register, kWh.';
COMMENT ON COLUMN volt.meter_daily.register_last_kwh IS 'Last reading of the register, kWh.';
COMMENT ON COLUMN volt.meter_daily.register_increase_kwh IS 'Increase of the register within, kWh (register_step); without the step from before.';
COMMENT ON COLUMN volt.meter_daily.power_min_kw IS 'Lowest power, kW.';
COMMENT ON COLUMN volt.meter_daily.power_max_kw IS 'Highest power, kW.';
COMMENT ON COLUMN volt.meter_daily.voltage_min_v IS 'Lowest voltage, V.';
COMMENT ON COLUMN volt.meter_daily.voltage_max_v IS 'Highest voltage, V.';
COMMENT ON COLUMN volt.meter_daily.current_max_a IS 'Highest current, A.';

COMMENT ON VIEW volt.vehicle_energy_hourly IS
  'DC energy delivered to one vehicle in one hour, kWh, from its register where it has one, else from interval energy.';
COMMENT ON COLUMN volt.vehicle_energy_hourly.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.vehicle_energy_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.vehicle_energy_hourly.energy_kwh IS 'Energy, kWh; NULL: unknown (nothing measured, or the first register reading ever).';
COMMENT ON COLUMN volt.vehicle_energy_hourly.readings IS 'Readings.';
COMMENT ON COLUMN volt.vehicle_energy_hourly.source IS 'register or interval; NULL: no energy was measured.';

COMMENT ON VIEW volt.meter_energy_hourly IS
  'AC energy consumed at one meter in one hour, kWh, from its register where it has one, else from interval energy.';
COMMENT ON COLUMN volt.meter_energy_hourly.meter_id IS 'The meter.';
COMMENT ON COLUMN volt.meter_energy_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.meter_energy_hourly.energy_kwh IS 'Energy, kWh; NULL: unknown (nothing measured, or the first register reading ever).';
COMMENT ON COLUMN volt.meter_energy_hourly.readings IS 'Readings.';
COMMENT ON COLUMN volt.meter_energy_hourly.source IS 'register or interval; NULL: no energy was measured.';

COMMENT ON VIEW volt.efficiency_hourly IS
  'Charging efficiency of one vehicle in one hour, and how far to trust it. Hours without energy on either side are left out.';
COMMENT ON COLUMN volt.efficiency_hourly.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.efficiency_hourly.fleet_id IS 'Fleet of the vehicle as the hour began (fleet_membership); NULL: none.';
COMMENT ON COLUMN volt.efficiency_hourly.meter_id IS 'Meter linked in the hour, several in the order of their links; NULL: none with readings.';
COMMENT ON COLUMN volt.efficiency_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.efficiency_hourly.dc_kwh IS 'DC energy delivered to the vehicle, kWh; NULL: unknown.';
COMMENT ON COLUMN volt.efficiency_hourly.ac_kwh IS 'AC energy consumed at the linked meters, whole hours, kWh; NULL: unknown.';
COMMENT ON COLUMN volt.efficiency_hourly.efficiency_pct IS '100 x dc_kwh / ac_kwh, %; NULL: a side is missing or ac_kwh is 0.';
COMMENT ON COLUMN volt.efficiency_hourly.dc_readings IS 'Readings of the vehicle; NULL: none.';
COMMENT ON COLUMN volt.efficiency_hourly.ac_readings IS 'Readings of the linked meters; NULL: none.';
COMMENT ON COLUMN volt.efficiency_hourly.expected_readings IS 'Readings expected of each side in an hour.';
COMMENT ON COLUMN volt.efficiency_hourly.coverage IS 'Share of the expected readings that arrived, of the poorer side, 0-1.';
COMMENT ON COLUMN volt.efficiency_hourly.quality IS 'In this order: no_ac, no_dc (a side is missing), shared_meter (linked to another vehicle too), suspect (over 100 % or under 20 %), partial (coverage under 0.8), ok.';

COMMENT ON COLUMN volt.efficiency_hourly.efficiency_low_pct IS 'The least that the efficiency can have been, %.';
COMMENT ON COLUMN volt.efficiency_hourly.efficiency_high_pct IS 'The most that the efficiency can have been, %.';
COMMENT ON COLUMN volt.efficiency_hourly.unassigned_kwh IS 'AC energy that no vehicle took, kWh.';

COMMENT ON VIEW volt.efficiency_daily IS
  'Charging efficiency of one vehicle in one UTC day, of the hours where both sides are known; a row for each fleet it was in.';
COMMENT ON COLUMN volt.efficiency_daily.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.efficiency_daily.fleet_id IS 'Fleet of the vehicle in these hours; NULL: none.';
COMMENT ON COLUMN volt.efficiency_daily.day IS 'Start of the day, UTC.';
COMMENT ON COLUMN volt.efficiency_daily.dc_kwh IS 'DC energy delivered to the vehicle, kWh.';
COMMENT ON COLUMN volt.efficiency_daily.ac_kwh IS 'AC energy consumed at the linked meters, kWh.';
COMMENT ON COLUMN volt.efficiency_daily.efficiency_pct IS '100 x dc_kwh / ac_kwh, %.';
COMMENT ON COLUMN volt.efficiency_daily.hours IS 'Hours where both sides are known.';
COMMENT ON COLUMN volt.efficiency_daily.quality IS 'The worst of its hours: shared_meter, suspect, partial, ok.';

COMMENT ON VIEW volt.fleet_soc_distribution IS
  'Number of vehicles by fleet and state of charge; without retired ones.';
COMMENT ON COLUMN volt.fleet_soc_distribution.fleet_id IS 'The fleet; NULL: vehicles without one.';
COMMENT ON COLUMN volt.fleet_soc_distribution.bucket IS 'State of charge, %: 0-10 is 0 to below 10, the last one includes 100.';
COMMENT ON COLUMN volt.fleet_soc_distribution.vehicles IS 'Number of vehicles.';

COMMENT ON VIEW volt.device_liveness IS
  'When each device was last heard; NULL for registered devices that never were.';
COMMENT ON COLUMN volt.device_liveness.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.device_liveness.device_id IS 'The device.';
COMMENT ON COLUMN volt.device_liveness.fleet_id IS 'Fleet of the vehicle, or of a vehicle that the meter is linked to now; NULL: none.';
COMMENT ON COLUMN volt.device_liveness.last_seen_at IS 'When voltd last received a reading that the broker had not retained; NULL: never.';
COMMENT ON COLUMN volt.device_liveness.seconds_since IS 'How long ago that was, s.';
COMMENT ON COLUMN volt.device_liveness.status IS 'Status in the registry: active, maintenance, retired; NULL: not registered.';
COMMENT ON COLUMN volt.device_liveness.usual_interval_s IS
  'How long it is usually inactive, s: the second longest interval, driving or not as it was last heard; NULL: not known yet.';
COMMENT ON COLUMN volt.device_liveness.refused_since IS
  'Since when it sends and everything is refused; NULL: it does not send, or something was stored since.';
COMMENT ON COLUMN volt.device_liveness.refused_reason IS 'Why the latest message was refused, as in dead_letter.';
COMMENT ON COLUMN volt.device_liveness.refused_detail IS 'What was wrong with it, as in dead_letter.';

DO $$
DECLARE
  device text;
  half text;
  described record;
BEGIN
  FOREACH device IN ARRAY ARRAY['vehicle', 'meter'] LOOP
    FOREACH half IN ARRAY ARRAY['stored', 'live', 'rollup'] LOOP
      CONTINUE WHEN to_regclass(format('volt_internal.%s_hourly_%s', device, half)) IS NULL;
      EXECUTE format(
        'COMMENT ON %s volt_internal.%I IS %L',
        CASE half WHEN 'rollup' THEN 'TABLE' ELSE 'VIEW' END, format('%s_hourly_%s', device, half),
        CASE half
          WHEN 'stored' THEN format('The stored half of %s_hourly: hours before the watermark.', device)
          WHEN 'live' THEN format('The live half of %s_hourly: hours from the watermark on, computed when asked.', device)
          ELSE format('Where %s_hourly is stored on TimescaleDB''s Apache-2 edition.', device)
        END);
      FOR described IN
        SELECT attname, col_description(attrelid, attnum) AS text
        FROM pg_attribute
        WHERE attrelid = format('volt.%s_hourly', device)::regclass AND attnum > 0
      LOOP
        EXECUTE format('COMMENT ON COLUMN volt_internal.%I.%I IS %L',
                       format('%s_hourly_%s', device, half), described.attname, described.text);
      END LOOP;
    END LOOP;
  END LOOP;
END $$;
