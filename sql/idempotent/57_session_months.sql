-- What: the charging sessions of a month, by the calendar of their fleet, and their totals a vehicle.
-- Why:  people settle by month, and a month begins at another moment in another time zone. The functions read the setting
--       timezone with their owner's rights, as analysts have none in volt_internal.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt.sessions_of_month(of_month date, of_fleet text DEFAULT NULL)
RETURNS TABLE (time_zone text, start_local timestamp, end_local timestamp, session volt.charging_session)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  -- Days more at either end than any time zone is off.
  first_at CONSTANT timestamptz := (date_trunc('month', of_month::timestamp) - INTERVAL '2 days') AT TIME ZONE 'UTC';
  last_at CONSTANT timestamptz := (date_trunc('month', of_month::timestamp) + INTERVAL '1 month 2 days') AT TIME ZONE 'UTC';
  usual CONSTANT text := coalesce((SELECT s.value FROM volt_internal.setting s WHERE s.name = 'timezone'), 'UTC');
BEGIN
  RETURN QUERY
  SELECT z.name, k.start_date_time AT TIME ZONE z.name, k.end_date_time AT TIME ZONE z.name, k
  FROM volt.charging_session k
  LEFT JOIN volt.fleet f ON f.fleet_id = k.fleet_id
  CROSS JOIN LATERAL (SELECT coalesce(f.timezone, usual) AS name) z
  WHERE k.start_date_time >= first_at AND k.start_date_time < last_at AND (of_fleet IS NULL OR k.fleet_id = of_fleet)
    AND date_trunc('month', k.start_date_time AT TIME ZONE z.name) = date_trunc('month', of_month::timestamp)
  ORDER BY k.vehicle_id, k.start_date_time;
END $$;
COMMENT ON FUNCTION volt.sessions_of_month(date, text) IS
  'The charging sessions that start in the month of a date, by the calendar of their fleet at the start, of one fleet or '
  '(NULL) of all: the time zone, start and end in it, and the row of volt.charging_session.';

CREATE OR REPLACE FUNCTION volt.session_totals_of_month(of_month date, of_fleet text DEFAULT NULL)
RETURNS TABLE (
  vehicle_id text, fleet_id text, sessions bigint, active bigint, without_kwh bigint, kwh numeric, dc_kwh numeric,
  efficiency_pct numeric, duration_s numeric, charging_s numeric
)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT (m.session).vehicle_id, (m.session).fleet_id, count(*), count(*) FILTER (WHERE (m.session).status = 'ACTIVE'),
    count(*) FILTER (WHERE (m.session).kwh IS NULL), sum((m.session).kwh), sum((m.session).dc_kwh),
    round(100 * sum((m.session).comparable_dc_kwh) / nullif(sum((m.session).comparable_ac_kwh), 0), 2),
    sum((m.session).duration_s), sum((m.session).charging_s)
  FROM volt.sessions_of_month(of_month, of_fleet) m
  GROUP BY (m.session).vehicle_id, (m.session).fleet_id
  ORDER BY (m.session).vehicle_id, (m.session).fleet_id;
END;
COMMENT ON FUNCTION volt.session_totals_of_month(date, text) IS
  'What volt.sessions_of_month comes to, a vehicle and fleet: how many sessions, how many of them may go on, of how many no '
  'meter measured, energy at the wall and into the battery (kWh), efficiency weighed by energy (%), duration (s).';
