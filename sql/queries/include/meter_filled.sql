-- A stored row r with what it lacks from the row excluded.
kwh_consumed_ac = coalesce(r.kwh_consumed_ac, excluded.kwh_consumed_ac),
ac_register_kwh = coalesce(r.ac_register_kwh, excluded.ac_register_kwh),
voltage_v = coalesce(r.voltage_v, excluded.voltage_v),
current_a = coalesce(r.current_a, excluded.current_a),
power_kw = coalesce(r.power_kw, excluded.power_kw),
kwh_returned_ac = coalesce(r.kwh_returned_ac, excluded.kwh_returned_ac),
ac_returned_register_kwh = coalesce(r.ac_returned_register_kwh, excluded.ac_returned_register_kwh),
filled_at = greatest(r.filled_at, excluded.received_at)
