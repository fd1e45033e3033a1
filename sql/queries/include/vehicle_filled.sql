-- A stored row r with what it lacks from the row excluded.
soc_pct = coalesce(r.soc_pct, excluded.soc_pct),
speed_kmh = coalesce(r.speed_kmh, excluded.speed_kmh),
battery_temp_c = coalesce(r.battery_temp_c, excluded.battery_temp_c),
kwh_delivered_dc = coalesce(r.kwh_delivered_dc, excluded.kwh_delivered_dc),
dc_register_kwh = coalesce(r.dc_register_kwh, excluded.dc_register_kwh),
latitude = coalesce(r.latitude, excluded.latitude),
longitude = coalesce(r.longitude, excluded.longitude),
charging_status = coalesce(r.charging_status, excluded.charging_status),
odometer_km = coalesce(r.odometer_km, excluded.odometer_km),
kwh_returned_dc = coalesce(r.kwh_returned_dc, excluded.kwh_returned_dc),
dc_returned_register_kwh = coalesce(r.dc_returned_register_kwh, excluded.dc_returned_register_kwh),
diagnostics = coalesce(r.diagnostics, excluded.diagnostics),
filled_at = greatest(r.filled_at, excluded.received_at)
