-- What: rows one by one, as the database refuses some of a batch. Run by voltd/pipeline/write/isolate.py as volt_writer.
-- Why:  a function of the session inserts each under a savepoint at the server, so that a slice costs the same few
--       statements with one bad row as with nothing but bad ones.
-- Lock: ROW EXCLUSIVE on the readings.

-- name: create_vehicle_isolation
-- Made when the database refuses a row, for this transaction: rows with their place in the batch, and a function that
-- inserts them one by one. It returns the rows that were not new: refused with SQLSTATE and message, or there already,
-- and whether they filled in something. The conditions are the classes that voltd/database/sqlstate.py calls permanent (22, 23, 54).
-- vehicle_checked has the constraints without the chunks: a refused insert takes a chunk that it made away again, and
-- a day that begins with refused rows only would make one for each.
CREATE TEMP TABLE IF NOT EXISTS vehicle_isolation (LIKE volt.vehicle_reading, place integer NOT NULL) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS vehicle_checked (LIKE volt.vehicle_reading INCLUDING CONSTRAINTS) ON COMMIT DROP;
CREATE OR REPLACE FUNCTION pg_temp.isolate_vehicle_readings()
RETURNS TABLE (row_place integer, code text, message text, filled boolean) LANGUAGE plpgsql AS $$
DECLARE
  one pg_temp.vehicle_isolation;
BEGIN
  FOR one IN SELECT * FROM pg_temp.vehicle_isolation ORDER BY place LOOP
    row_place := one.place;
    code := NULL;
    message := NULL;
    filled := false;
    BEGIN
      INSERT INTO pg_temp.vehicle_checked (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at)
      VALUES (one.vehicle_id, one.recorded_at, one.soc_pct, one.speed_kmh, one.battery_temp_c, one.kwh_delivered_dc, one.dc_register_kwh, one.latitude, one.longitude, one.charging_status, one.odometer_km, one.kwh_returned_dc, one.dc_returned_register_kwh, one.diagnostics, one.received_at);
      INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at)
      VALUES (one.vehicle_id, one.recorded_at, one.soc_pct, one.speed_kmh, one.battery_temp_c, one.kwh_delivered_dc, one.dc_register_kwh, one.latitude, one.longitude, one.charging_status, one.odometer_km, one.kwh_returned_dc, one.dc_returned_register_kwh, one.diagnostics, one.received_at)
      ON CONFLICT DO NOTHING;
      CONTINUE WHEN FOUND;
      INSERT INTO volt.vehicle_reading AS r (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at)
      VALUES (one.vehicle_id, one.recorded_at, one.soc_pct, one.speed_kmh, one.battery_temp_c, one.kwh_delivered_dc, one.dc_register_kwh, one.latitude, one.longitude, one.charging_status, one.odometer_km, one.kwh_returned_dc, one.dc_returned_register_kwh, one.diagnostics, one.received_at)
      ON CONFLICT (vehicle_id, recorded_at) DO UPDATE SET
        -- include: vehicle_filled.sql
      WHERE (r.soc_pct IS NULL AND excluded.soc_pct IS NOT NULL)
        OR (r.speed_kmh IS NULL AND excluded.speed_kmh IS NOT NULL)
        OR (r.battery_temp_c IS NULL AND excluded.battery_temp_c IS NOT NULL)
        OR (r.kwh_delivered_dc IS NULL AND excluded.kwh_delivered_dc IS NOT NULL)
        OR (r.dc_register_kwh IS NULL AND excluded.dc_register_kwh IS NOT NULL)
        OR (r.latitude IS NULL AND excluded.latitude IS NOT NULL)
        OR (r.longitude IS NULL AND excluded.longitude IS NOT NULL)
        OR (r.charging_status IS NULL AND excluded.charging_status IS NOT NULL)
        OR (r.odometer_km IS NULL AND excluded.odometer_km IS NOT NULL)
        OR (r.kwh_returned_dc IS NULL AND excluded.kwh_returned_dc IS NOT NULL)
        OR (r.dc_returned_register_kwh IS NULL AND excluded.dc_returned_register_kwh IS NOT NULL)
        OR (r.diagnostics IS NULL AND excluded.diagnostics IS NOT NULL);
      filled := FOUND;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
      code := SQLSTATE;
      message := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;
END $$;

-- name: copy_vehicle_isolation
-- Rows that are to be inserted one by one.
COPY pg_temp.vehicle_isolation (vehicle_id, recorded_at, soc_pct, speed_kmh, battery_temp_c, kwh_delivered_dc, dc_register_kwh, latitude, longitude, charging_status, odometer_km, kwh_returned_dc, dc_returned_register_kwh, diagnostics, received_at, place) FROM STDIN (FORMAT BINARY);

-- name: isolate_vehicle_readings
-- Inserts them; the rows that were not new.
SELECT row_place, code, message, filled FROM pg_temp.isolate_vehicle_readings();

-- name: clear_vehicle_isolation
-- Between parts of one batch.
DELETE FROM pg_temp.vehicle_isolation;

-- name: create_meter_isolation
-- Made when the database refuses a row, for this transaction: rows with their place in the batch, and a function that
-- inserts them one by one. It returns the rows that were not new: refused with SQLSTATE and message, or there already,
-- and whether they filled in something. The conditions are the classes that voltd/database/sqlstate.py calls permanent (22, 23, 54).
-- meter_checked has the constraints without the chunks: a refused insert takes a chunk that it made away again, and
-- a day that begins with refused rows only would make one for each.
CREATE TEMP TABLE IF NOT EXISTS meter_isolation (LIKE volt.meter_reading, place integer NOT NULL) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS meter_checked (LIKE volt.meter_reading INCLUDING CONSTRAINTS) ON COMMIT DROP;
CREATE OR REPLACE FUNCTION pg_temp.isolate_meter_readings()
RETURNS TABLE (row_place integer, code text, message text, filled boolean) LANGUAGE plpgsql AS $$
DECLARE
  one pg_temp.meter_isolation;
BEGIN
  FOR one IN SELECT * FROM pg_temp.meter_isolation ORDER BY place LOOP
    row_place := one.place;
    code := NULL;
    message := NULL;
    filled := false;
    BEGIN
      INSERT INTO pg_temp.meter_checked (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at)
      VALUES (one.meter_id, one.recorded_at, one.kwh_consumed_ac, one.ac_register_kwh, one.voltage_v, one.current_a, one.power_kw, one.kwh_returned_ac, one.ac_returned_register_kwh, one.received_at);
      INSERT INTO volt.meter_reading (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at)
      VALUES (one.meter_id, one.recorded_at, one.kwh_consumed_ac, one.ac_register_kwh, one.voltage_v, one.current_a, one.power_kw, one.kwh_returned_ac, one.ac_returned_register_kwh, one.received_at)
      ON CONFLICT DO NOTHING;
      CONTINUE WHEN FOUND;
      INSERT INTO volt.meter_reading AS r (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at)
      VALUES (one.meter_id, one.recorded_at, one.kwh_consumed_ac, one.ac_register_kwh, one.voltage_v, one.current_a, one.power_kw, one.kwh_returned_ac, one.ac_returned_register_kwh, one.received_at)
      ON CONFLICT (meter_id, recorded_at) DO UPDATE SET
        -- include: meter_filled.sql
      WHERE (r.kwh_consumed_ac IS NULL AND excluded.kwh_consumed_ac IS NOT NULL)
        OR (r.ac_register_kwh IS NULL AND excluded.ac_register_kwh IS NOT NULL)
        OR (r.voltage_v IS NULL AND excluded.voltage_v IS NOT NULL)
        OR (r.current_a IS NULL AND excluded.current_a IS NOT NULL)
        OR (r.power_kw IS NULL AND excluded.power_kw IS NOT NULL)
        OR (r.kwh_returned_ac IS NULL AND excluded.kwh_returned_ac IS NOT NULL)
        OR (r.ac_returned_register_kwh IS NULL AND excluded.ac_returned_register_kwh IS NOT NULL);
      filled := FOUND;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
      code := SQLSTATE;
      message := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;
END $$;

-- name: copy_meter_isolation
-- Rows that are to be inserted one by one.
COPY pg_temp.meter_isolation (meter_id, recorded_at, kwh_consumed_ac, ac_register_kwh, voltage_v, current_a, power_kw, kwh_returned_ac, ac_returned_register_kwh, received_at, place) FROM STDIN (FORMAT BINARY);

-- name: isolate_meter_readings
-- Inserts them; the rows that were not new.
SELECT row_place, code, message, filled FROM pg_temp.isolate_meter_readings();

-- name: clear_meter_isolation
-- Between parts of one batch.
DELETE FROM pg_temp.meter_isolation;
