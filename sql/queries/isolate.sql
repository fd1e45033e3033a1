-- What: rows one by one, as the database refuses some of a batch. Run by voltd/pipeline/write/isolate.py as volt_writer.
-- Why:  a function of the session inserts each under a savepoint at the server, so that a slice costs the same few
--       statements with one bad row as with nothing but bad ones.
-- Lock: ROW EXCLUSIVE on the readings.

-- each device:

-- name: create_{device}_isolation
-- Made when the database refuses a row, for this transaction: rows with their place in the batch, and a function that
-- inserts them one by one. It returns the rows that were not new: refused with SQLSTATE and message, or there already,
-- and whether they filled in something. The conditions are the classes that voltd/database/sqlstate.py calls permanent (22, 23, 54).
-- {device}_checked has the constraints without the chunks: a refused insert takes a chunk that it made away again, and
-- a day that begins with refused rows only would make one for each.
CREATE TEMP TABLE IF NOT EXISTS {device}_isolation (LIKE volt.{device}_reading, place integer NOT NULL) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS {device}_checked (LIKE volt.{device}_reading INCLUDING CONSTRAINTS) ON COMMIT DROP;
CREATE OR REPLACE FUNCTION pg_temp.isolate_{device}_readings()
RETURNS TABLE (row_place integer, code text, message text, filled boolean) LANGUAGE plpgsql AS $$
DECLARE
  one pg_temp.{device}_isolation;
BEGIN
  FOR one IN SELECT * FROM pg_temp.{device}_isolation ORDER BY place LOOP
    row_place := one.place;
    code := NULL;
    message := NULL;
    filled := false;
    BEGIN
      INSERT INTO pg_temp.{device}_checked ({columns})
      VALUES ({one.columns});
      INSERT INTO volt.{device}_reading ({columns})
      VALUES ({one.columns})
      ON CONFLICT DO NOTHING;
      CONTINUE WHEN FOUND;
      INSERT INTO volt.{device}_reading AS r ({columns})
      VALUES ({one.columns})
      ON CONFLICT ({device}_id, recorded_at) DO UPDATE SET
        -- include: filled.sql
      WHERE false
        -- each value: OR (r.{value} IS NULL AND excluded.{value} IS NOT NULL)
      ;
      filled := FOUND;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
      code := SQLSTATE;
      message := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;
END $$;

-- name: copy_{device}_isolation
-- Rows that are to be inserted one by one.
COPY pg_temp.{device}_isolation ({columns}, place) FROM STDIN (FORMAT BINARY);

-- name: isolate_{device}_readings
-- Inserts them; the rows that were not new.
SELECT row_place, code, message, filled FROM pg_temp.isolate_{device}_readings();

-- name: clear_{device}_isolation
-- Between parts of one batch.
DELETE FROM pg_temp.{device}_isolation;

-- end
