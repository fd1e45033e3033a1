-- What: refuses a link of a vehicle and a meter that overlaps another one of the two, and says what to do.
-- Why:  the constraint vehicle_meter_no_overlap only names two ranges. It stays: it holds against two sessions at once,
--       and ON CONFLICT DO NOTHING can repeat a link that is there.
-- Lock: SHARE ROW EXCLUSIVE on vehicle_meter while the trigger is made.

CREATE OR REPLACE FUNCTION volt_internal.check_link() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  other volt.vehicle_meter;
BEGIN
  SELECT l.* INTO other FROM volt.vehicle_meter l
  WHERE l.vehicle_id = NEW.vehicle_id AND l.meter_id = NEW.meter_id AND l.valid && NEW.valid AND l.valid <> NEW.valid
    AND (l.vehicle_id, l.meter_id, l.valid) IS DISTINCT FROM (OLD.vehicle_id, OLD.meter_id, OLD.valid)
  ORDER BY l.valid LIMIT 1;
  IF FOUND THEN
    RAISE exclusion_violation USING
      MESSAGE = format('%s is linked to %s already, from %s to %s', other.vehicle_id, other.meter_id,
                       coalesce(lower(other.valid)::text, 'always'), coalesce(upper(other.valid)::text, 'now on')),
      HINT = CASE WHEN lower(NEW.valid) > coalesce(lower(other.valid), '-infinity') THEN format(
        'end that link where the new one begins: UPDATE volt.vehicle_meter SET valid = tstzrange(lower(valid), %L)', lower(NEW.valid))
        ELSE 'delete that link, or let the new one end where it begins: DELETE FROM volt.vehicle_meter' END
        || format(' WHERE vehicle_id = %L AND meter_id = %L AND valid = %L', other.vehicle_id, other.meter_id, other.valid),
      CONSTRAINT = 'vehicle_meter_no_overlap', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION volt_internal.check_link() IS
  'Trigger: refuses a link that overlaps another one of the same vehicle and meter, and says how to end that.';

CREATE OR REPLACE TRIGGER vehicle_meter_no_overlap BEFORE INSERT OR UPDATE OF vehicle_id, meter_id, valid
  ON volt.vehicle_meter FOR EACH ROW EXECUTE FUNCTION volt_internal.check_link();
-- Its trigger has the owner's rights: nobody else may attach the function to a table.
REVOKE EXECUTE ON FUNCTION volt_internal.check_link() FROM PUBLIC;
