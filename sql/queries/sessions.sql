-- What: keeps charging sessions. Run by voltd/database/sessions.py.
-- Why:  what has changed is marked, and one runner looks at the marks.
-- Lock: ROW EXCLUSIVE on the tables that are kept.

-- name: mark_sessions
-- Marks the vehicles whose current state says that a session begins or ends. How many.
SELECT volt_internal.mark_sessions()

-- name: keep_sessions
-- at_once int: of at most so many vehicles. How many marks were worked off; 0: none is due.
SELECT volt_internal.keep_sessions(%(at_once)s::int)

-- name: fleet_exists
-- fleet text. A row if there is that fleet.
SELECT fleet_id FROM volt.fleet WHERE fleet_id = %(fleet)s::text

-- name: sessions_of_month
-- month date, fleet text (NULL: all). Its sessions, kWh to the watt-hour, with start and end in the fleet's time zone.
SELECT m.time_zone, m.start_local, m.end_local, (m.session).start_date_time AS started_at, (m.session).end_date_time AS ended_at,
  (m.session).session_id, (m.session).vehicle_id, (m.session).fleet_id, (m.session).meter_id, (m.session).source, (m.session).status,
  round((m.session).kwh, 3) AS kwh, round((m.session).dc_kwh, 3) AS dc_kwh, (m.session).efficiency_pct,
  (m.session).efficiency_low_pct, (m.session).efficiency_high_pct, (m.session).quality, (m.session).dc_source,
  (m.session).ac_source, round((m.session).duration_s) AS duration_s, round((m.session).charging_s) AS charging_s,
  (m.session).soc_start_pct, (m.session).soc_end_pct, (m.session).odometer_start_km, (m.session).odometer_end_km,
  (m.session).power_max_kw, (m.session).battery_temp_max_c, (m.session).latitude, (m.session).longitude,
  (m.session).found_by, (m.session).estimated
FROM volt.sessions_of_month(%(month)s::date, %(fleet)s::text) m

-- name: session_totals_of_month
-- month date, fleet text (NULL: all). What they come to, a vehicle and fleet.
SELECT t.vehicle_id, t.fleet_id, t.sessions, t.active, t.without_kwh, round(t.kwh, 3) AS kwh, round(t.dc_kwh, 3) AS dc_kwh,
  t.efficiency_pct, round(t.duration_s) AS duration_s, round(t.charging_s) AS charging_s
FROM volt.session_totals_of_month(%(month)s::date, %(fleet)s::text) t
