-- What: keeps vehicle identification numbers (VIN) out of the registry while pseudonyms are on.
-- Why:  readings and alerts have pseudonyms; a VIN beside one would give away what the pseudonym hides.
-- Lock: SHARE ROW EXCLUSIVE on volt.vehicle, until COMMIT.

CREATE OR REPLACE FUNCTION volt_internal.check_pseudonym() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM volt_internal.setting s WHERE s.name = 'pseudonyms' AND s.value = 'on') THEN
    RETURN NEW;
  END IF;
  IF NEW.vin IS NOT NULL THEN
    RAISE check_violation USING
      MESSAGE = format('vehicle %s: vin stays empty while pseudonyms are on', NEW.vehicle_id),
      HINT = 'leave vin out, or switch pseudonyms off (pseudonyms.key_file)';
  ELSIF upper(NEW.vehicle_id) ~ '^(?=[0-9]*[A-Z])[A-HJ-NPR-Z0-9]{13}[0-9]{4}$' THEN
    RAISE check_violation USING
      MESSAGE = 'the vehicle id is a VIN, and pseudonyms are on',
      HINT = 'register the pseudonym: voltd devices pseudonym VIN';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION volt_internal.check_pseudonym() IS
  'Trigger: refuses a vehicle with a VIN while the setting pseudonyms is on.';

CREATE OR REPLACE TRIGGER check_pseudonym BEFORE INSERT OR UPDATE ON volt.vehicle
  FOR EACH ROW EXECUTE FUNCTION volt_internal.check_pseudonym();
