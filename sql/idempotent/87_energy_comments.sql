-- What: the meaning and unit of the kept energy and efficiency.
-- Why:  \d+ in psql is the reference.
-- Lock: SHARE UPDATE EXCLUSIVE on the tables, short.

-- each device:
COMMENT ON VIEW volt.{device}_quarter_hourly IS
  'Energy of {device}s by closed quarter hour, kWh, as volt.{device}_energy_quarters has it: up to 20 to 35 minutes ago. No row: nothing is known.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.{device}_id IS 'The {device}.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.quarter_hour IS 'Start of the quarter hour, UTC.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.energy_kwh IS 'Energy, kWh.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.coverage IS 'Share of the quarter hour for which it was measured, 0-1.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.low_kwh IS 'The least that it can be, kWh: nothing of a gap lies in here.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.high_kwh IS 'The most that it can be, kWh: all of a gap lies in here.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.estimated IS 'Whether energy of a gap, or of an interval of over a quarter hour, is shared out evenly.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.suspect IS 'Whether a step of the register is not counted.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.source IS 'register, interval or both; NULL: a step that is not counted, alone.';
COMMENT ON COLUMN volt.{device}_quarter_hourly.register_kwh IS 'The highest value of the register since it began, at the end of the quarter hour, kWh; NULL: no register.';
COMMENT ON VIEW volt.{device}_energy_hourly IS 'Energy of {device}s by hour, from the closed quarter hours.';
COMMENT ON COLUMN volt.{device}_energy_hourly.{device}_id IS 'The {device}.';
COMMENT ON COLUMN volt.{device}_energy_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.{device}_energy_hourly.energy_kwh IS 'Energy, kWh.';
COMMENT ON COLUMN volt.{device}_energy_hourly.coverage IS 'Share of the hour for which it was measured, 0-1.';
COMMENT ON COLUMN volt.{device}_energy_hourly.estimated IS 'Whether energy of a gap is shared out evenly.';
COMMENT ON COLUMN volt.{device}_energy_hourly.suspect IS 'Whether a step of the register is not counted.';
COMMENT ON TABLE volt_internal.{device}_quarter IS 'What volt.{device}_quarter_hourly shows.';
COMMENT ON COLUMN volt_internal.{device}_quarter.{device}_id IS 'The {device}.';
COMMENT ON COLUMN volt_internal.{device}_quarter.quarter_hour IS 'Start of the quarter hour.';
COMMENT ON COLUMN volt_internal.{device}_quarter.kwh IS 'Energy, kWh.';
COMMENT ON COLUMN volt_internal.{device}_quarter.covered_s IS 'For how long it was measured, s.';
COMMENT ON COLUMN volt_internal.{device}_quarter.gap_s IS 'How long it lies in a gap of the register, s.';
COMMENT ON COLUMN volt_internal.{device}_quarter.low_kwh IS 'The least energy, kWh.';
COMMENT ON COLUMN volt_internal.{device}_quarter.high_kwh IS 'The most energy, kWh.';
COMMENT ON COLUMN volt_internal.{device}_quarter.peak_kw IS 'The highest power of a piece, kW.';
COMMENT ON COLUMN volt_internal.{device}_quarter.gaps IS 'The gaps that it touches, each from end to end; NULL: none.';
COMMENT ON COLUMN volt_internal.{device}_quarter.suspect IS 'Whether a step of the register is not counted.';
COMMENT ON COLUMN volt_internal.{device}_quarter.source IS 'register, interval, both or NULL.';
COMMENT ON COLUMN volt_internal.{device}_quarter.register_kwh IS 'The highest value of the register since it began, at the end, kWh.';
-- vehicle: COMMENT ON COLUMN volt_internal.vehicle_quarter.moved IS 'Whether it drove (over 5 km/h) in the quarter hour.';

-- end
COMMENT ON VIEW volt.onboard_quarter_hourly IS
  'AC energy of vehicles'' on-board chargers by closed quarter hour, kWh, as volt.onboard_energy_quarters has it: up to 20 to 35 minutes ago. No row: nothing is known.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.quarter_hour IS 'Start of the quarter hour, UTC.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.energy_kwh IS 'Energy, kWh.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.coverage IS 'Share of the quarter hour for which it was measured, 0-1.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.low_kwh IS 'The least that it can be, kWh: nothing of a gap lies in here.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.high_kwh IS 'The most that it can be, kWh: all of a gap lies in here.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.estimated IS 'Whether energy of a gap is shared out evenly.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.suspect IS 'Whether a step of the register is not counted.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.source IS 'register; NULL: a step that is not counted, alone.';
COMMENT ON COLUMN volt.onboard_quarter_hourly.register_kwh IS 'The highest value of the register since it began, at the end of the quarter hour, kWh.';
COMMENT ON TABLE volt_internal.onboard_quarter IS 'What volt.onboard_quarter_hourly shows.';
COMMENT ON COLUMN volt_internal.onboard_quarter.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.onboard_quarter.quarter_hour IS 'Start of the quarter hour.';
COMMENT ON COLUMN volt_internal.onboard_quarter.kwh IS 'Energy, kWh.';
COMMENT ON COLUMN volt_internal.onboard_quarter.covered_s IS 'For how long it was measured, s.';
COMMENT ON COLUMN volt_internal.onboard_quarter.gap_s IS 'How long it lies in a gap of the register, s.';
COMMENT ON COLUMN volt_internal.onboard_quarter.low_kwh IS 'The least energy, kWh.';
COMMENT ON COLUMN volt_internal.onboard_quarter.high_kwh IS 'The most energy, kWh.';
COMMENT ON COLUMN volt_internal.onboard_quarter.peak_kw IS 'The highest power of a piece, kW.';
COMMENT ON COLUMN volt_internal.onboard_quarter.gaps IS 'The gaps that it touches, each from end to end; NULL: none.';
COMMENT ON COLUMN volt_internal.onboard_quarter.suspect IS 'Whether a step of the register is not counted.';
COMMENT ON COLUMN volt_internal.onboard_quarter.source IS 'register or NULL.';
COMMENT ON COLUMN volt_internal.onboard_quarter.register_kwh IS 'The highest value of the register since it began, at the end, kWh.';

COMMENT ON VIEW volt.efficiency_hourly IS
  'Charging efficiency of vehicles by closed hour, where energy was measured on either side; as volt.vehicle_efficiency has it for one vehicle until now.';
COMMENT ON COLUMN volt.efficiency_hourly.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.efficiency_hourly.fleet_id IS 'Its fleet as the hour began; NULL: none.';
COMMENT ON COLUMN volt.efficiency_hourly.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt.efficiency_hourly.meter_id IS 'Meters that fed it, separated by commas; NULL: none with readings.';
COMMENT ON COLUMN volt.efficiency_hourly.dc_kwh IS 'DC energy that reached the vehicle, all that was measured, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt.efficiency_hourly.ac_kwh IS 'AC energy of the linked meters, its share where others were fed too, or of its on-board charger, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt.efficiency_hourly.comparable_dc_kwh IS 'DC energy where both sides were measured, each quarter hour scaled to full, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt.efficiency_hourly.comparable_ac_kwh IS 'AC energy of the same quarter hours, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt.efficiency_hourly.efficiency_pct IS '100 x comparable_dc_kwh / comparable_ac_kwh, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt.efficiency_hourly.efficiency_low_pct IS 'The same with what was not measured of DC as nothing and of AC as the highest power, %.';
COMMENT ON COLUMN volt.efficiency_hourly.efficiency_high_pct IS 'The same the other way round, %.';
COMMENT ON COLUMN volt.efficiency_hourly.standby_kwh IS 'AC energy at or below standby while nothing was delivered, kWh; of an on-board charger all of it.';
COMMENT ON COLUMN volt.efficiency_hourly.unassigned_kwh IS 'AC energy of meters above standby that no vehicle took, kWh: a stranger, or leakage.';
COMMENT ON COLUMN volt.efficiency_hourly.quality IS 'ok; partial: less than 80 % of the DC energy could be compared; shared_meter; suspect; estimated: only within a longer gap, or at an edge of the link; no_ac; no_dc; unassigned; idle.';
COMMENT ON COLUMN volt.efficiency_hourly.source IS 'Whose AC energy it is: meter, onboard (no meter is linked: the vehicle''s on-board charger), mixed (the one for a part of the time, the other for the rest); NULL: neither is known.';

COMMENT ON VIEW volt.efficiency_quarter_hourly IS
  'Charging efficiency of vehicles by closed quarter hour, where energy was measured on either side; computed as it is read, so filter by vehicle or fleet, and time. What a gap of a register has is compared by the hour or day that contains it.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.fleet_id IS 'Its fleet as the hour began; NULL: none.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.quarter_hour IS 'Start of the quarter hour, UTC.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.meter_id IS 'Meter that fed it; NULL: none with readings.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.dc_kwh IS 'DC energy that reached the vehicle, all that was measured, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.ac_kwh IS 'AC energy of the linked meters, its share where others were fed too, or of its on-board charger, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.comparable_dc_kwh IS 'dc_kwh scaled to the whole quarter hour, where both sides were measured, kWh; NULL: they cannot be compared.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.comparable_ac_kwh IS 'The same of ac_kwh.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.efficiency_pct IS '100 x comparable_dc_kwh / comparable_ac_kwh, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.efficiency_low_pct IS 'The same with what was not measured of DC as nothing and of AC as the highest power, %.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.efficiency_high_pct IS 'The same the other way round, %.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.standby_kwh IS 'AC energy at or below standby while nothing was delivered, kWh; of an on-board charger all of it.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.unassigned_kwh IS 'AC energy of meters above standby that no vehicle took, kWh: a stranger, or leakage.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.quality IS 'ok; partial: too little was measured to compare; shared_meter; suspect; estimated: within a longer gap, or at an edge of the link; no_ac; no_dc; unassigned; idle.';
COMMENT ON COLUMN volt.efficiency_quarter_hourly.source IS 'Whose AC energy it is: meter, or onboard (no meter is linked: the vehicle''s on-board charger); NULL: neither is known.';

COMMENT ON TABLE volt_internal.efficiency_hour IS 'What volt.efficiency_hourly shows.';
COMMENT ON COLUMN volt_internal.efficiency_hour.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.efficiency_hour.fleet_id IS 'Its fleet as the hour began; NULL: none.';
COMMENT ON COLUMN volt_internal.efficiency_hour.hour IS 'Start of the hour, UTC.';
COMMENT ON COLUMN volt_internal.efficiency_hour.meter_id IS 'Meters that fed it, separated by commas; NULL: none with readings.';
COMMENT ON COLUMN volt_internal.efficiency_hour.dc_kwh IS 'DC energy that reached the vehicle, all that was measured, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt_internal.efficiency_hour.ac_kwh IS 'AC energy of the linked meters, its share where others were fed too, or of its on-board charger, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt_internal.efficiency_hour.comparable_dc_kwh IS 'DC energy where both sides were measured, each quarter hour scaled to full, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt_internal.efficiency_hour.comparable_ac_kwh IS 'AC energy of the same quarter hours, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt_internal.efficiency_hour.efficiency_pct IS '100 x comparable_dc_kwh / comparable_ac_kwh, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt_internal.efficiency_hour.efficiency_low_pct IS 'The same with what was not measured of DC as nothing and of AC as the highest power, %.';
COMMENT ON COLUMN volt_internal.efficiency_hour.efficiency_high_pct IS 'The same the other way round, %.';
COMMENT ON COLUMN volt_internal.efficiency_hour.standby_kwh IS 'AC energy at or below standby while nothing was delivered, kWh; of an on-board charger all of it.';
COMMENT ON COLUMN volt_internal.efficiency_hour.unassigned_kwh IS 'AC energy of meters above standby that no vehicle took, kWh: a stranger, or leakage.';
COMMENT ON COLUMN volt_internal.efficiency_hour.quality IS 'ok; partial: less than 80 % of the DC energy could be compared; shared_meter; suspect; estimated: only within a longer gap, or at an edge of the link; no_ac; no_dc; unassigned; idle.';
COMMENT ON COLUMN volt_internal.efficiency_hour.onboard IS 'Whether its on-board charger is the AC side, of all of the time or of a part.';

COMMENT ON VIEW volt.efficiency_daily IS
  'Charging efficiency of vehicles by day in the time zone of their fleet; today as far as its hours are closed. It compares what a gap of hours has as a whole, so it may know more than the sum of its hours.';
COMMENT ON COLUMN volt.efficiency_daily.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.efficiency_daily.fleet_id IS 'Its fleet then; NULL: none. On the day of a change each fleet has a row.';
COMMENT ON COLUMN volt.efficiency_daily.day IS 'The date, in the time zone of the fleet.';
COMMENT ON COLUMN volt.efficiency_daily.began_at IS 'When the day, or the time in the fleet, began.';
COMMENT ON COLUMN volt.efficiency_daily.ended_at IS 'When it ends, excluded.';
COMMENT ON COLUMN volt.efficiency_daily.meter_id IS 'Meters that fed it, separated by commas; NULL: none with readings.';
COMMENT ON COLUMN volt.efficiency_daily.dc_kwh IS 'DC energy that reached the vehicle, all that was measured, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt.efficiency_daily.ac_kwh IS 'AC energy of the linked meters, its share where others were fed too, or of its on-board charger, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt.efficiency_daily.comparable_dc_kwh IS 'DC energy where both sides were measured, each quarter hour scaled to full, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt.efficiency_daily.comparable_ac_kwh IS 'AC energy of the same quarter hours, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt.efficiency_daily.efficiency_pct IS '100 x comparable_dc_kwh / comparable_ac_kwh, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt.efficiency_daily.efficiency_low_pct IS 'The same with what was not measured of DC as nothing and of AC as the highest power, %.';
COMMENT ON COLUMN volt.efficiency_daily.efficiency_high_pct IS 'The same the other way round, %.';
COMMENT ON COLUMN volt.efficiency_daily.standby_kwh IS 'AC energy at or below standby while nothing was delivered, kWh; of an on-board charger all of it.';
COMMENT ON COLUMN volt.efficiency_daily.unassigned_kwh IS 'AC energy of meters above standby that no vehicle took, kWh: a stranger, or leakage.';
COMMENT ON COLUMN volt.efficiency_daily.quality IS 'ok; partial: less than 80 % of the DC energy could be compared; shared_meter; suspect; estimated: only within a longer gap, or at an edge of the link; no_ac; no_dc; unassigned; idle.';
COMMENT ON COLUMN volt.efficiency_daily.source IS 'Whose AC energy it is: meter, onboard (no meter is linked: the vehicle''s on-board charger), mixed (the one for a part of the time, the other for the rest); NULL: neither is known.';

COMMENT ON TABLE volt_internal.efficiency_day IS 'What volt.efficiency_daily shows.';
COMMENT ON COLUMN volt_internal.efficiency_day.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.efficiency_day.fleet_id IS 'Its fleet then; NULL: none. On the day of a change each fleet has a row.';
COMMENT ON COLUMN volt_internal.efficiency_day.day IS 'The date, in the time zone of the fleet.';
COMMENT ON COLUMN volt_internal.efficiency_day.began_at IS 'When the day, or the time in the fleet, began.';
COMMENT ON COLUMN volt_internal.efficiency_day.ended_at IS 'When it ends, excluded.';
COMMENT ON COLUMN volt_internal.efficiency_day.meter_id IS 'Meters that fed it, separated by commas; NULL: none with readings.';
COMMENT ON COLUMN volt_internal.efficiency_day.dc_kwh IS 'DC energy that reached the vehicle, all that was measured, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt_internal.efficiency_day.ac_kwh IS 'AC energy of the linked meters, its share where others were fed too, or of its on-board charger, kWh; NULL: nothing is known.';
COMMENT ON COLUMN volt_internal.efficiency_day.comparable_dc_kwh IS 'DC energy where both sides were measured, each quarter hour scaled to full, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt_internal.efficiency_day.comparable_ac_kwh IS 'AC energy of the same quarter hours, kWh; NULL: nowhere.';
COMMENT ON COLUMN volt_internal.efficiency_day.efficiency_pct IS '100 x comparable_dc_kwh / comparable_ac_kwh, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt_internal.efficiency_day.efficiency_low_pct IS 'The same with what was not measured of DC as nothing and of AC as the highest power, %.';
COMMENT ON COLUMN volt_internal.efficiency_day.efficiency_high_pct IS 'The same the other way round, %.';
COMMENT ON COLUMN volt_internal.efficiency_day.standby_kwh IS 'AC energy at or below standby while nothing was delivered, kWh; of an on-board charger all of it.';
COMMENT ON COLUMN volt_internal.efficiency_day.unassigned_kwh IS 'AC energy of meters above standby that no vehicle took, kWh: a stranger, or leakage.';
COMMENT ON COLUMN volt_internal.efficiency_day.quality IS 'ok; partial: less than 80 % of the DC energy could be compared; shared_meter; suspect; estimated: only within a longer gap, or at an edge of the link; no_ac; no_dc; unassigned; idle.';
COMMENT ON COLUMN volt_internal.efficiency_day.onboard IS 'Whether its on-board charger is the AC side, of all of the time or of a part.';
