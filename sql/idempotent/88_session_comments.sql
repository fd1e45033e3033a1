-- What: comments of the charging sessions, for \d+ in psql.
-- Why:  the same words as in docs/sessions.md.
-- Lock: none on data.

COMMENT ON VIEW volt.charging_session IS
  'Charging sessions of all vehicles, kept by voltd: found within a minute or so, and corrected when late readings, corrections or links come; '
  'docs/sessions.md says what a session is. volt.charging_sessions finds those of one vehicle anew.';
COMMENT ON COLUMN volt.charging_session.session_id IS 'Stays the same while the session changes: made of the vehicle and the start as first found.';
COMMENT ON COLUMN volt.charging_session.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt.charging_session.fleet_id IS 'Its fleet at the start; NULL: none.';
COMMENT ON COLUMN volt.charging_session.meter_id IS 'Meters that fed it, separated by commas; NULL: none with readings.';
COMMENT ON COLUMN volt.charging_session.source IS 'Whose AC energy kwh is: meter; onboard (no meter is linked: the vehicle''s own charger); mixed; NULL: neither is known.';
COMMENT ON COLUMN volt.charging_session.start_date_time IS 'First sign of charging.';
COMMENT ON COLUMN volt.charging_session.end_date_time IS 'Last sign of charging; NULL while it may go on.';
COMMENT ON COLUMN volt.charging_session.status IS 'ACTIVE: it may go on. COMPLETED.';
COMMENT ON COLUMN volt.charging_session.kwh IS 'At the wall: AC energy of the linked meters from the first to the last sign, to the second, its share where others were fed too, or of the vehicle''s own charger; NULL: nothing measured it.';
COMMENT ON COLUMN volt.charging_session.dc_kwh IS 'DC energy that reached the vehicle, of the stretch within which it is known; NULL: nothing is known.';
COMMENT ON COLUMN volt.charging_session.ac_kwh IS 'AC energy of that stretch: longer than the session where the vehicle was silent at one end.';
COMMENT ON COLUMN volt.charging_session.comparable_dc_kwh IS 'What the efficiency is made of, as in What is compared.';
COMMENT ON COLUMN volt.charging_session.comparable_ac_kwh IS 'What the efficiency is made of, as in What is compared.';
COMMENT ON COLUMN volt.charging_session.efficiency_pct IS 'DC / AC of that stretch, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt.charging_session.efficiency_low_pct IS 'Its bounds, %.';
COMMENT ON COLUMN volt.charging_session.efficiency_high_pct IS 'Its bounds, %.';
COMMENT ON COLUMN volt.charging_session.quality IS 'As of vehicle_efficiency over that stretch; no_ac: no meter ran.';
COMMENT ON COLUMN volt.charging_session.dc_source IS 'Of what the energy is: register, interval or both.';
COMMENT ON COLUMN volt.charging_session.ac_source IS 'Of what the energy is: register, interval or both.';
COMMENT ON COLUMN volt.charging_session.last_charging_at IS 'Last sign of charging, also of an active session.';
COMMENT ON COLUMN volt.charging_session.duration_s IS 'From the first to the last sign, s.';
COMMENT ON COLUMN volt.charging_session.charging_s IS 'Of that, how long there were signs; holes of up to 5 minutes count, s.';
COMMENT ON COLUMN volt.charging_session.soc_start_pct IS 'State of charge: the newest before, the first after, within an hour and while it stood; else the first and last within.';
COMMENT ON COLUMN volt.charging_session.soc_end_pct IS 'State of charge: the newest before, the first after, within an hour and while it stood; else the first and last within.';
COMMENT ON COLUMN volt.charging_session.odometer_start_km IS 'Odometer, likewise.';
COMMENT ON COLUMN volt.charging_session.odometer_end_km IS 'Odometer, likewise.';
COMMENT ON COLUMN volt.charging_session.power_max_kw IS 'Highest chargingPower, or else highest mean power of a step or interval of at most 15 minutes, kW.';
COMMENT ON COLUMN volt.charging_session.battery_temp_max_c IS 'Highest battery temperature, °C.';
COMMENT ON COLUMN volt.charging_session.latitude IS 'Where it was at the start.';
COMMENT ON COLUMN volt.charging_session.longitude IS 'Where it was at the start.';
COMMENT ON COLUMN volt.charging_session.found_by IS 'The strongest sign: energy, meter, power, status.';
COMMENT ON COLUMN volt.charging_session.estimated IS 'It has energy of a silence of which nobody knows when it flowed: start or end may be off by that silence.';
COMMENT ON COLUMN volt.charging_session.changed_at IS 'When voltd last changed the row.';
