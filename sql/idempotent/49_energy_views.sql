-- What: the kept energy and efficiency under their public names.
-- Why:  plain reads of tables, so a filter on device, fleet or time reaches an index whatever else is asked.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

-- each device:
CREATE OR REPLACE VIEW volt.{device}_quarter_hourly AS
SELECT
  q.{device}_id, q.quarter_hour, q.kwh AS energy_kwh, round(q.covered_s / 900, 4) AS coverage, q.low_kwh, q.high_kwh,
  q.gaps IS NOT NULL AS estimated, q.suspect, q.source, q.register_kwh
FROM volt_internal.{device}_quarter q;

CREATE OR REPLACE VIEW volt.{device}_energy_hourly AS
SELECT
  q.{device}_id, date_trunc('hour', q.quarter_hour, 'UTC') AS hour, sum(q.kwh) AS energy_kwh,
  round(sum(q.covered_s) / 3600, 4) AS coverage, bool_or(q.gaps IS NOT NULL) AS estimated, bool_or(q.suspect) AS suspect
FROM volt_internal.{device}_quarter q
GROUP BY q.{device}_id, date_trunc('hour', q.quarter_hour, 'UTC');
-- end

CREATE OR REPLACE VIEW volt.onboard_quarter_hourly AS
SELECT
  q.vehicle_id, q.quarter_hour, q.kwh AS energy_kwh, round(q.covered_s / 900, 4) AS coverage, q.low_kwh, q.high_kwh,
  q.gaps IS NOT NULL AS estimated, q.suspect, q.source, q.register_kwh
FROM volt_internal.onboard_quarter q;

CREATE OR REPLACE VIEW volt.efficiency_hourly AS
SELECT
  e.vehicle_id, e.fleet_id, e.meter_id, e.hour, e.dc_kwh, e.ac_kwh, e.comparable_dc_kwh, e.comparable_ac_kwh,
  e.efficiency_pct, e.efficiency_low_pct, e.efficiency_high_pct, e.standby_kwh, e.unassigned_kwh, e.quality,
  CASE WHEN e.onboard AND e.meter_id IS NOT NULL THEN 'mixed' WHEN e.onboard THEN 'onboard'
       WHEN e.meter_id IS NOT NULL THEN 'meter' END AS source
FROM volt_internal.efficiency_hour e;

CREATE OR REPLACE VIEW volt.efficiency_daily AS
SELECT
  e.vehicle_id, e.fleet_id, e.meter_id, e.day, e.began_at, e.ended_at, e.dc_kwh, e.ac_kwh, e.comparable_dc_kwh,
  e.comparable_ac_kwh, e.efficiency_pct, e.efficiency_low_pct, e.efficiency_high_pct, e.standby_kwh, e.unassigned_kwh, e.quality,
  CASE WHEN e.onboard AND e.meter_id IS NOT NULL THEN 'mixed' WHEN e.onboard THEN 'onboard'
       WHEN e.meter_id IS NOT NULL THEN 'meter' END AS source
FROM volt_internal.efficiency_day e;
