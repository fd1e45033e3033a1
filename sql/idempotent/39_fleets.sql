-- What: keeps fleet_membership in step with vehicle.fleet_id, and time zones of fleets to those that PostgreSQL knows.
-- Why:  vehicle.fleet_id stays the fleet of now, which people and programs set; the past must follow without their help.
--       A CHECK instead of the trigger on timezone would refuse to restore a backup where the server knows other zones.
--       The functions have the rights of the owner: whoever may change vehicle.fleet_id need not be granted more.
-- Lock: ACCESS EXCLUSIVE on fleet_membership, SHARE ROW EXCLUSIVE on fleet and vehicle, until COMMIT.

CREATE OR REPLACE FUNCTION volt_internal.move_vehicle(of_vehicle text, to_fleet text, newly boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- A membership that has not lasted: a second change in one transaction, or after one that began later than this one.
  DELETE FROM volt.fleet_membership m
  WHERE m.vehicle_id = of_vehicle AND upper_inf(m.valid) AND lower(m.valid) >= now() AND m.fleet_id IS DISTINCT FROM to_fleet;
  UPDATE volt.fleet_membership m SET valid = m.valid * tstzrange(NULL, now())
  WHERE m.vehicle_id = of_vehicle AND upper_inf(m.valid) AND m.fleet_id IS DISTINCT FROM to_fleet;
  INSERT INTO volt.fleet_membership (vehicle_id, fleet_id, valid)
  SELECT of_vehicle, to_fleet, tstzrange(CASE WHEN NOT newly OR count(*) > 0 THEN greatest(now(), max(upper(m.valid))) END, NULL)
  FROM volt.fleet_membership m
  WHERE m.vehicle_id = of_vehicle
  HAVING to_fleet IS NOT NULL AND bool_or(upper_inf(m.valid)) IS NOT TRUE;
END $$;
COMMENT ON FUNCTION volt_internal.move_vehicle(text, text, boolean) IS
  'Ends the vehicle''s membership of now, unless it is of this fleet already, and begins one, where the fleet is not NULL: '
  'now, or of a vehicle that is newly registered and has no past, always.';

CREATE OR REPLACE FUNCTION volt_internal.keep_membership() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' OR NEW.vehicle_id <> OLD.vehicle_id THEN
    PERFORM volt_internal.move_vehicle(OLD.vehicle_id, NULL, false);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM volt_internal.move_vehicle(NEW.vehicle_id, NEW.fleet_id, TG_OP = 'INSERT' OR NEW.vehicle_id <> OLD.vehicle_id);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.keep_membership() IS 'Trigger: records a change of vehicle.fleet_id in fleet_membership.';

CREATE OR REPLACE FUNCTION volt_internal.check_membership() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  other record;
BEGIN
  SELECT v.vehicle_id, v.fleet_id, m.fleet_id AS written INTO other
  FROM volt.vehicle v
  LEFT JOIN volt.fleet_membership m ON m.vehicle_id = v.vehicle_id AND upper_inf(m.valid)
  WHERE v.vehicle_id IN (OLD.vehicle_id, NEW.vehicle_id) AND m.fleet_id IS DISTINCT FROM v.fleet_id
  LIMIT 1;
  IF FOUND THEN
    RAISE integrity_constraint_violation USING
      MESSAGE = format('vehicle %s is in %s by vehicle.fleet_id, and in %s by the membership without an end', other.vehicle_id,
                       coalesce('fleet ' || other.fleet_id, 'no fleet'), coalesce('fleet ' || other.written, 'no fleet')),
      HINT = 'the fleet of now is set by UPDATE volt.vehicle SET fleet_id = ...; fleet_membership is for what was before',
      CONSTRAINT = TG_NAME, SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.check_membership() IS
  'Trigger: refuses, at COMMIT, a membership without an end that is not of vehicle.fleet_id. Vehicles that are not registered may have any.';

CREATE OR REPLACE FUNCTION volt_internal.check_timezone() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- PostgreSQL reads a file for each of its zones, so it is asked once a zone and not once a fleet.
  IF NOT EXISTS (SELECT FROM volt.fleet f WHERE f.timezone = NEW.timezone)
     AND NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = NEW.timezone) THEN
    RAISE check_violation USING
      MESSAGE = format('PostgreSQL knows no time zone %L (fleet %s)', NEW.timezone, NEW.fleet_id),
      HINT = 'write an IANA name like Europe/Berlin: SELECT name FROM pg_timezone_names; NULL stands for the setting timezone',
      CONSTRAINT = TG_NAME, SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'timezone';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION volt_internal.check_timezone() IS 'Trigger: refuses a time zone that PostgreSQL does not know.';

CREATE OR REPLACE TRIGGER fleet_timezone_known BEFORE INSERT OR UPDATE OF timezone ON volt.fleet FOR EACH ROW
  WHEN (NEW.timezone IS NOT NULL) EXECUTE FUNCTION volt_internal.check_timezone();
-- AFTER: when a fleet is renamed, its memberships have the new name by then.
CREATE OR REPLACE TRIGGER vehicle_fleet_membership AFTER INSERT OR DELETE OR UPDATE OF vehicle_id, fleet_id ON volt.vehicle
  FOR EACH ROW EXECUTE FUNCTION volt_internal.keep_membership();
DROP TRIGGER IF EXISTS fleet_membership_of_now ON volt.fleet_membership;
CREATE CONSTRAINT TRIGGER fleet_membership_of_now AFTER INSERT OR DELETE OR UPDATE ON volt.fleet_membership
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION volt_internal.check_membership();

-- Here and not in the migration: with the trigger in force no change of a fleet is missed.
INSERT INTO volt.fleet_membership (vehicle_id, fleet_id)
SELECT v.vehicle_id, v.fleet_id FROM volt.vehicle v
WHERE v.fleet_id IS NOT NULL AND NOT EXISTS (SELECT FROM volt.fleet_membership m WHERE m.vehicle_id = v.vehicle_id);
