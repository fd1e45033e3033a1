-- What: energy per device and hour, from interval energy or from registers.
-- Why:  the step of a register across the hour's start needs the last reading before it, from any earlier hour: a
--       look-up of one row, so the cost grows with the rows asked for and filters on device and hour reach the index.
--       Window functions are not allowed in a continuous aggregate, and over a view they would read all history.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

CREATE OR REPLACE VIEW volt.vehicle_energy_hourly AS
SELECT
  h.vehicle_id,
  h.hour,
  CASE
    WHEN h.register_readings = 0 THEN h.interval_kwh
    WHEN p.register_last_kwh IS NOT NULL
      THEN h.register_increase_kwh + volt.register_step(p.register_last_kwh::numeric, h.register_first_kwh::numeric)
    WHEN h.register_readings > 1 THEN h.register_increase_kwh
  END AS energy_kwh,
  h.readings,
  CASE WHEN h.register_readings > 0 THEN 'register' WHEN h.interval_readings > 0 THEN 'interval' END AS source
FROM volt.vehicle_hourly h
LEFT JOIN LATERAL (
  SELECT b.register_last_kwh
  FROM volt.vehicle_hourly b
  WHERE b.vehicle_id = h.vehicle_id AND b.hour < h.hour AND b.register_readings > 0 AND h.register_readings > 0
  ORDER BY b.hour DESC
  LIMIT 1
) p ON true;

CREATE OR REPLACE VIEW volt.meter_energy_hourly AS
SELECT
  h.meter_id,
  h.hour,
  CASE
    WHEN h.register_readings = 0 THEN h.interval_kwh
    WHEN p.register_last_kwh IS NOT NULL
      THEN h.register_increase_kwh + volt.register_step(p.register_last_kwh::numeric, h.register_first_kwh::numeric)
    WHEN h.register_readings > 1 THEN h.register_increase_kwh
  END AS energy_kwh,
  h.readings,
  CASE WHEN h.register_readings > 0 THEN 'register' WHEN h.interval_readings > 0 THEN 'interval' END AS source
FROM volt.meter_hourly h
LEFT JOIN LATERAL (
  SELECT b.register_last_kwh
  FROM volt.meter_hourly b
  WHERE b.meter_id = h.meter_id AND b.hour < h.hour AND b.register_readings > 0 AND h.register_readings > 0
  ORDER BY b.hour DESC
  LIMIT 1
) p ON true;
