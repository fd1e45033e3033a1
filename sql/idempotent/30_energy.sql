-- What: energy per device and hour, from interval energy or from registers.
-- Why:  the step of a register across the hour's start needs the last register reading before it, from any earlier hour.
--       In the stored half that is one look-up on an index, and none for a device without register, so the cost grows with the rows asked for and filters on
--       device and hour reach the index; lag() over all of it would read the whole history for one day of the fleet. The
--       live half is a few hours: lag() within it, and the look-up for each device's first hour.
-- Lock: ACCESS EXCLUSIVE on the views while they are replaced.

CREATE OR REPLACE FUNCTION volt_internal.hour_energy(
  register_readings bigint, interval_kwh numeric, increase_kwh numeric, previous_kwh double precision,
  first_kwh double precision
) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN register_readings = 0 THEN interval_kwh
  WHEN previous_kwh IS NOT NULL THEN increase_kwh + volt.register_step(previous_kwh::numeric, first_kwh::numeric)
  WHEN register_readings > 1 THEN increase_kwh
END;
COMMENT ON FUNCTION volt_internal.hour_energy(bigint, numeric, numeric, double precision, double precision) IS
  'Energy of one device-hour, kWh: where there are register readings, their increase and the step from the last one '
  'before the hour; otherwise the sum of interval energy. Of the first register reading ever the energy is not known: NULL.';

-- each device:
CREATE OR REPLACE VIEW volt.{device}_energy_hourly AS
SELECT
  h.{device}_id,
  h.hour,
  volt_internal.hour_energy(h.register_readings, h.interval_kwh, h.register_increase_kwh, p.kwh, h.register_first_kwh) AS energy_kwh,
  h.readings,
  CASE WHEN h.register_readings > 0 THEN 'register' WHEN h.interval_readings > 0 THEN 'interval' END AS source
FROM volt_internal.{device}_hourly_stored h
LEFT JOIN LATERAL (
  SELECT b.register_last_kwh AS kwh
  FROM volt_internal.{device}_hourly_stored b
  WHERE h.register_readings > 0 AND b.{device}_id = h.{device}_id AND b.hour < h.hour AND b.register_readings > 0
  ORDER BY b.hour DESC
  LIMIT 1
) p ON true
UNION ALL
SELECT
  h.{device}_id,
  h.hour,
  volt_internal.hour_energy(h.register_readings, h.interval_kwh, h.register_increase_kwh, p.kwh, h.register_first_kwh),
  h.readings,
  CASE WHEN h.register_readings > 0 THEN 'register' WHEN h.interval_readings > 0 THEN 'interval' END
FROM (
  SELECT
    *,
    -- Hours without a register are a partition of their own, so lag() passes over them.
    lag(register_last_kwh) OVER (PARTITION BY {device}_id, register_readings > 0 ORDER BY hour) AS live_kwh
  FROM volt_internal.{device}_hourly_live
) h
LEFT JOIN LATERAL (
  SELECT coalesce(h.live_kwh, (
    SELECT b.register_last_kwh
    FROM volt_internal.{device}_hourly_stored b
    WHERE h.register_readings > 0 AND b.{device}_id = h.{device}_id AND b.hour < h.hour AND b.register_readings > 0
    ORDER BY b.hour DESC
    LIMIT 1
  )) AS kwh
) p ON true;

-- end
