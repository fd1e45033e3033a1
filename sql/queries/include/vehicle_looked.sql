-- What a staged row s is to the stored row r: see look_at_vehicle_staging.
array_agg(s.place) FILTER (WHERE r.vehicle_id IS NULL),
array_agg(s.place) FILTER (WHERE r.vehicle_id IS NOT NULL AND (
  (r.soc_pct IS NULL AND s.soc_pct IS NOT NULL)
  OR (r.speed_kmh IS NULL AND s.speed_kmh IS NOT NULL)
  OR (r.battery_temp_c IS NULL AND s.battery_temp_c IS NOT NULL)
  OR (r.kwh_delivered_dc IS NULL AND s.kwh_delivered_dc IS NOT NULL)
  OR (r.dc_register_kwh IS NULL AND s.dc_register_kwh IS NOT NULL)
  OR (r.latitude IS NULL AND s.latitude IS NOT NULL)
  OR (r.longitude IS NULL AND s.longitude IS NOT NULL)
  OR (r.charging_status IS NULL AND s.charging_status IS NOT NULL)
  OR (r.odometer_km IS NULL AND s.odometer_km IS NOT NULL)
  OR (r.kwh_returned_dc IS NULL AND s.kwh_returned_dc IS NOT NULL)
  OR (r.dc_returned_register_kwh IS NULL AND s.dc_returned_register_kwh IS NOT NULL)
  OR (r.diagnostics IS NULL AND s.diagnostics IS NOT NULL))),
array_agg(s.place) FILTER (WHERE
  s.soc_pct <> r.soc_pct
  OR s.speed_kmh <> r.speed_kmh
  OR s.battery_temp_c <> r.battery_temp_c
  OR s.kwh_delivered_dc <> r.kwh_delivered_dc
  OR s.dc_register_kwh <> r.dc_register_kwh
  OR s.latitude <> r.latitude
  OR s.longitude <> r.longitude
  OR s.charging_status <> r.charging_status
  OR s.odometer_km <> r.odometer_km
  OR s.kwh_returned_dc <> r.kwh_returned_dc
  OR s.dc_returned_register_kwh <> r.dc_returned_register_kwh
  OR s.diagnostics <> r.diagnostics),
array_agg(s.place) FILTER (WHERE r.vehicle_id IS NOT NULL AND (
  (s.latitude IS NULL) <> (s.longitude IS NULL) OR s.latitude <> r.latitude OR s.longitude <> r.longitude)),
array_agg(r.latitude) FILTER (WHERE r.vehicle_id IS NOT NULL AND (
  (s.latitude IS NULL) <> (s.longitude IS NULL) OR s.latitude <> r.latitude OR s.longitude <> r.longitude)),
array_agg(r.longitude) FILTER (WHERE r.vehicle_id IS NOT NULL AND (
  (s.latitude IS NULL) <> (s.longitude IS NULL) OR s.latitude <> r.latitude OR s.longitude <> r.longitude))
