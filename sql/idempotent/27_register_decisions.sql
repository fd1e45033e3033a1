-- What: guards the decisions on registers, and passes each change of one on.
-- Why:  a decision on a reading that is not there would say nothing, for ever, and nobody would notice. The functions have
--       the rights of the owner: whoever may write decisions need not be granted more.
-- Lock: SHARE ROW EXCLUSIVE on register_decision until COMMIT.

CREATE OR REPLACE FUNCTION volt_internal.check_register_decision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  is_stored boolean := false;
  shown_kwh double precision;
  wrong text;
  hint text;
BEGIN
-- each device:
  IF NEW.device_type = '{device}' THEN
    SELECT true, r.register_kwh INTO is_stored, shown_kwh
    FROM volt_internal.{device}_energy_reading r
    WHERE r.{device}_id = NEW.device_id AND r.recorded_at = NEW.recorded_at;
  END IF;
-- end
  IF NEW.device_type = 'onboard' THEN
    SELECT true, r.onboard_register_kwh INTO is_stored, shown_kwh
    FROM volt_internal.vehicle_energy_reading r
    WHERE r.vehicle_id = NEW.device_id AND r.recorded_at = NEW.recorded_at;
  END IF;
  IF is_stored IS NOT TRUE OR shown_kwh IS NULL THEN
    wrong := CASE WHEN is_stored IS NOT TRUE THEN 'is not stored' WHEN NEW.device_type = 'onboard' THEN 'has no AC register'
                  ELSE 'has no register of delivered energy' END;
    hint := format('the events and their times: SELECT * FROM volt.%s_register_events(%L, FROM, TO)',
                   NEW.device_type, NEW.device_id);
  ELSIF NEW.decision = 'exchange' AND NEW.start_kwh IS NULL THEN
    wrong := 'cannot be an exchange without start_kwh';
    hint := 'give what the new meter showed as it was put in, kWh; if that was 0, decide reset';
  ELSIF NEW.decision = 'exchange' AND NEW.start_kwh > shown_kwh THEN
    wrong := format('shows %s kWh, less than the start_kwh of %s', shown_kwh, NEW.start_kwh);
    hint := 'give what the new meter showed as it was put in, at most what this reading shows';
  ELSIF NEW.decision <> 'exchange' AND NEW.start_kwh IS NOT NULL THEN
    wrong := format('needs no start_kwh where the decision is %s', NEW.decision);
    hint := 'leave start_kwh out, or decide exchange';
  END IF;
  IF wrong IS NOT NULL THEN
    RAISE check_violation USING
      MESSAGE = format('the reading of %s %s at %s %s', NEW.device_type, NEW.device_id, NEW.recorded_at, wrong),
      HINT = hint, CONSTRAINT = TG_NAME, SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    NEW.decided_at := now();
    NEW.decided_by := CASE WHEN NEW.decided_by = OLD.decided_by THEN session_user ELSE NEW.decided_by END;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION volt_internal.check_register_decision() IS
  'Trigger: refuses a decision on a reading without a register, and an exchange whose start is missing or above what is shown.';

CREATE OR REPLACE FUNCTION volt_internal.register_decided(of_type text, of_device text, from_at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
  SELECT of_type, of_device, d.at, d.at + INTERVAL '1 day'
  FROM (SELECT date_trunc('day', register_decided.from_at, 'UTC') AS at) d;
END $$;
COMMENT ON FUNCTION volt_internal.register_decided(text, text, timestamptz) IS
  'Called for each decision that came, changed or went: the device''s energy may be another, from the register reading before '
  'this time on.';

CREATE OR REPLACE FUNCTION volt_internal.pass_on_register_decision() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM volt_internal.register_decided(OLD.device_type, OLD.device_id, OLD.recorded_at);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM volt_internal.register_decided(NEW.device_type, NEW.device_id, NEW.recorded_at);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.pass_on_register_decision() IS
  'Trigger: calls register_decided for the reading that a decision was on and for the one that it is on now.';

CREATE OR REPLACE TRIGGER register_decision_is_possible BEFORE INSERT OR UPDATE ON volt.register_decision FOR EACH ROW
  EXECUTE FUNCTION volt_internal.check_register_decision();
CREATE OR REPLACE TRIGGER register_decision_passed_on AFTER INSERT OR UPDATE OR DELETE ON volt.register_decision
  FOR EACH ROW EXECUTE FUNCTION volt_internal.pass_on_register_decision();
