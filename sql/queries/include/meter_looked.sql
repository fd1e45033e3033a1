-- What a staged row s is to the stored row r: see look_at_meter_staging.
array_agg(s.place) FILTER (WHERE r.meter_id IS NULL),
array_agg(s.place) FILTER (WHERE r.meter_id IS NOT NULL AND (
  (r.kwh_consumed_ac IS NULL AND s.kwh_consumed_ac IS NOT NULL)
  OR (r.ac_register_kwh IS NULL AND s.ac_register_kwh IS NOT NULL)
  OR (r.voltage_v IS NULL AND s.voltage_v IS NOT NULL)
  OR (r.current_a IS NULL AND s.current_a IS NOT NULL)
  OR (r.power_kw IS NULL AND s.power_kw IS NOT NULL)
  OR (r.kwh_returned_ac IS NULL AND s.kwh_returned_ac IS NOT NULL)
  OR (r.ac_returned_register_kwh IS NULL AND s.ac_returned_register_kwh IS NOT NULL))),
array_agg(s.place) FILTER (WHERE
  s.kwh_consumed_ac <> r.kwh_consumed_ac
  OR s.ac_register_kwh <> r.ac_register_kwh
  OR s.voltage_v <> r.voltage_v
  OR s.current_a <> r.current_a
  OR s.power_kw <> r.power_kw
  OR s.kwh_returned_ac <> r.kwh_returned_ac
  OR s.ac_returned_register_kwh <> r.ac_returned_register_kwh)
