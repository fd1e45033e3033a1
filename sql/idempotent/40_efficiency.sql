-- What: charging efficiency: DC energy that reached the vehicle over AC energy of the meter linked to it, by hour and day.
-- Why:  each side is aggregated alone and only then joined by hour: joining raw rows would multiply them. The two
--       sides meet in a GROUP BY over UNION ALL and not in a FULL JOIN, because a filter on hour does not pass a FULL
--       JOIN; the GROUP BY inside LATERAL keeps the link's meter as an index look-up. The setting is read from its table,
--       which a view may for analysts; a function would read it with their rights.
--       Each side has its fleet before they meet, so that a filter on fleet_id leaves out the other vehicles before their
--       energy is computed. The members' energy is asked for vehicle by vehicle for that reason; the hours in which a
--       vehicle was in no fleet are a part of their own, which such a filter leaves out at once.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

CREATE OR REPLACE VIEW volt.efficiency_hourly AS
WITH side AS (
  SELECT
    f.vehicle_id, f.fleet_id, v.hour, v.energy_kwh AS dc_kwh, v.readings AS dc_readings,
    NULL::text AS meter_id, NULL::timestamptz AS linked_at, NULL::numeric AS ac_kwh, NULL::bigint AS ac_readings,
    NULL::boolean AS shared
  FROM volt.fleet_membership f
  CROSS JOIN LATERAL (
    SELECT e.hour, max(e.energy_kwh) AS energy_kwh, max(e.readings) AS readings
    FROM volt.vehicle_energy_hourly e
    WHERE e.vehicle_id = f.vehicle_id
    GROUP BY e.hour
  ) v
  WHERE f.valid @> v.hour
  UNION ALL
  SELECT v.vehicle_id, NULL, v.hour, v.energy_kwh, v.readings, NULL, NULL, NULL, NULL, NULL
  FROM volt.vehicle_energy_hourly v
  WHERE NOT EXISTS (SELECT FROM volt.fleet_membership f WHERE f.vehicle_id = v.vehicle_id AND f.valid @> v.hour)
  UNION ALL
  SELECT
    l.vehicle_id, f.fleet_id, m.hour, NULL, NULL,
    l.meter_id, lower(l.valid * tstzmultirange(tstzrange(m.hour, m.hour + INTERVAL '1 hour'))), m.energy_kwh, m.readings,
    coalesce(l.shared && tstzrange(m.hour, m.hour + INTERVAL '1 hour'), false)
  FROM (
    -- One row a vehicle and meter: a meter linked twice within an hour counts once.
    SELECT
      a.vehicle_id, a.meter_id, range_agg(a.valid) AS valid,
      (SELECT range_agg(o.valid) FROM volt.vehicle_meter o WHERE o.meter_id = a.meter_id AND o.vehicle_id <> a.vehicle_id)
        AS shared
    FROM volt.vehicle_meter a
    GROUP BY a.vehicle_id, a.meter_id
  ) l
  CROSS JOIN LATERAL (
    SELECT e.hour, max(e.energy_kwh) AS energy_kwh, max(e.readings) AS readings
    FROM volt.meter_energy_hourly e
    WHERE e.meter_id = l.meter_id
    GROUP BY e.hour
  ) m
  LEFT JOIN volt.fleet_membership f ON f.vehicle_id = l.vehicle_id AND f.valid @> m.hour
  WHERE l.valid && tstzrange(m.hour, m.hour + INTERVAL '1 hour')
), both_sides AS (
  SELECT
    vehicle_id, fleet_id, hour, max(dc_kwh) AS dc_kwh, max(dc_readings) AS dc_readings, sum(ac_kwh) AS ac_kwh,
    sum(ac_readings)::bigint AS ac_readings, string_agg(meter_id, ', ' ORDER BY linked_at, meter_id) AS meter_id,
    bool_or(shared) AS shared
  FROM side
  GROUP BY vehicle_id, fleet_id, hour
), rated AS (
  SELECT
    b.*,
    round(100 * b.dc_kwh / nullif(b.ac_kwh, 0), 2) AS efficiency_pct,
    x.expected AS expected_readings,
    round(least(1, coalesce(b.dc_readings, 0) / x.expected, coalesce(b.ac_readings, 0) / x.expected), 3) AS coverage
  FROM both_sides b
  CROSS JOIN (
    SELECT 3600 / (SELECT s.value::numeric FROM volt_internal.setting s WHERE s.name = 'expected_interval_s') AS expected
  ) x
  WHERE b.dc_kwh > 0 OR b.ac_kwh > 0
)
SELECT
  r.vehicle_id,
  r.fleet_id,
  r.meter_id,
  r.hour,
  r.dc_kwh,
  r.ac_kwh,
  r.efficiency_pct,
  r.dc_readings,
  r.ac_readings,
  round(r.expected_readings)::int AS expected_readings,
  r.coverage,
  CASE
    WHEN r.ac_kwh IS NULL OR r.ac_kwh = 0 THEN 'no_ac'
    WHEN r.dc_kwh IS NULL THEN 'no_dc'
    WHEN r.shared THEN 'shared_meter'
    WHEN r.efficiency_pct NOT BETWEEN 20 AND 100 THEN 'suspect'
    WHEN r.coverage < 0.8 THEN 'partial'
    ELSE 'ok'
  END AS quality,
  r.efficiency_pct AS efficiency_low_pct,
  r.efficiency_pct AS efficiency_high_pct,
  CASE WHEN coalesce(r.dc_kwh, 0) = 0 THEN coalesce(r.ac_kwh, 0) ELSE 0 END AS unassigned_kwh
FROM rated r;

CREATE OR REPLACE VIEW volt.efficiency_daily AS
SELECT
  vehicle_id,
  fleet_id,
  date_trunc('day', hour, 'UTC') AS day,
  sum(dc_kwh) AS dc_kwh,
  sum(ac_kwh) AS ac_kwh,
  round(100 * sum(dc_kwh) / sum(ac_kwh), 2) AS efficiency_pct,
  count(*) AS hours,
  -- The worst quality of its hours, in this order.
  (ARRAY['ok', 'partial', 'suspect', 'shared_meter'])[
    max(array_position(ARRAY['ok', 'partial', 'suspect', 'shared_meter'], quality))] AS quality
FROM volt.efficiency_hourly
WHERE efficiency_pct IS NOT NULL
GROUP BY vehicle_id, fleet_id, date_trunc('day', hour, 'UTC');
