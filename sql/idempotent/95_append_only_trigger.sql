-- What: the triggers that hold everybody to "a value may go from NULL to a value, nothing else".
-- Why:  last of all files, so that the lock on the readings ends at once: the files run in one transaction.
-- Lock: ACCESS EXCLUSIVE on the readings until COMMIT, only where the columns of a reading have changed.

-- The condition is checked without a function call, so that filling in a value costs next to nothing.
-- each device:
DO $$
DECLARE
  condition text := $condition$
    NEW.{device}_id <> OLD.{device}_id OR NEW.recorded_at <> OLD.recorded_at OR NEW.received_at <> OLD.received_at
    OR (OLD.filled_at IS NOT NULL AND NEW.filled_at IS NULL)
    -- each value: OR (OLD.{value} IS NOT NULL AND NEW.{value} IS DISTINCT FROM OLD.{value})
  $condition$;
  comment text := format('A value may go from NULL to a value, nothing else. Condition %s.', md5(condition));
BEGIN
  IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'volt.{device}_reading'::regclass
             AND tgname = '{device}_reading_append_only' AND obj_description(oid, 'pg_trigger') = comment) THEN
    RETURN;
  END IF;
  DROP TRIGGER IF EXISTS {device}_reading_append_only ON volt.{device}_reading;
  EXECUTE format('CREATE TRIGGER {device}_reading_append_only BEFORE UPDATE ON volt.{device}_reading FOR EACH ROW'
                 ' WHEN (%s) EXECUTE FUNCTION volt.guard_reading(''{device}'')', condition);
  EXECUTE format('COMMENT ON TRIGGER {device}_reading_append_only ON volt.{device}_reading IS %L', comment);
END $$;
-- end
