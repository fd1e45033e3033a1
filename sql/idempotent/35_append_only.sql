-- What: what may become of a stored reading: a value may go from NULL to a value, nothing else; the owner may correct one.
-- Why:  two messages of one device and one time fill one row, and history must not change under anybody's feet. The
--       triggers call guard_reading only where something else is tried. A correction
--       (volt.correction = 'on', by the owner or a superuser) is recorded and passed on to where the old value had gone.
-- Lock: none on data; 95_append_only_trigger.sql makes the triggers.

CREATE OR REPLACE FUNCTION volt.correct_current(device_type text, new_row jsonb, old_row jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  at timestamptz := (new_row ->> 'recorded_at')::timestamptz;
  name text;
  time_of text;
BEGIN
  FOR name IN
    SELECT n.key FROM jsonb_each(new_row) AS n WHERE n.value IS DISTINCT FROM old_row -> n.key AND n.key <> 'filled_at'
  LOOP
    time_of := CASE name
-- each device:
      -- each value: WHEN '{value}' THEN '{at}'
-- end
    END;
    EXECUTE format(
      'UPDATE volt.%1$I c SET %2$I = n.%2$I, updated_at = now()'
      ' FROM jsonb_populate_record(NULL::volt.%3$I, $1) AS n WHERE c.%4$I = n.%4$I AND c.%5$I = $2',
      device_type || '_current', name, device_type || '_reading', device_type || '_id', time_of)
    USING new_row, at;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt.correct_current(text, jsonb, jsonb) IS
  'Takes a corrected reading''s values over into the current state where it had them from that reading.';

CREATE OR REPLACE FUNCTION volt.guard_reading() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  device text := TG_ARGV[0];
  old_row jsonb := to_jsonb(OLD);
  new_row jsonb := to_jsonb(NEW);
  id text := new_row ->> (device || '_id');
  fixed text[] := ARRAY[device || '_id', 'recorded_at', 'received_at'];
BEGIN
  IF coalesce(current_setting('volt.correction', true), '') <> 'on'
     OR NOT pg_has_role(current_user, 'volt_owner', 'USAGE') THEN
    RAISE insufficient_privilege USING
      MESSAGE = format('a stored value of %s %s at %s would change', device, id, old_row ->> 'recorded_at'),
      DETAIL = (SELECT string_agg(format('%s: %s is stored, %s came', o.key, o.value, new_row -> o.key), '; ')
                FROM jsonb_each(old_row) AS o
                WHERE o.value <> 'null' AND new_row -> o.key IS DISTINCT FROM o.value),
      HINT = 'a stored value never changes; to correct one: voltd dead-letters replay --reason conflict --overwrite';
  END IF;
  IF EXISTS (SELECT FROM unnest(fixed) AS name WHERE new_row -> name IS DISTINCT FROM old_row -> name) THEN
    RAISE restrict_violation USING
      MESSAGE = format('a correction changes values, not %s', array_to_string(fixed, ', '));
  END IF;
  INSERT INTO volt.correction (device_type, device_id, recorded_at, field, old_value, new_value)
  SELECT device, id, NEW.recorded_at, o.key, o.value, new_row -> o.key
  FROM jsonb_each(old_row) AS o
  WHERE new_row -> o.key IS DISTINCT FROM o.value AND o.value <> 'null' AND o.key <> 'filled_at';
  IF NEW.recorded_at < volt_internal.rollup_closing_watermark() + INTERVAL '15 minutes' THEN
    EXECUTE format('INSERT INTO volt_internal.%I (%I, hour) VALUES ($1, $2)', device || '_rollup_dirty', device || '_id')
    USING id, date_trunc('hour', NEW.recorded_at, 'UTC');
  END IF;
  PERFORM volt.correct_current(device, new_row, old_row);
  RETURN NEW;
END $$;
COMMENT ON FUNCTION volt.guard_reading() IS
  'Trigger: refuses a change of a stored value; records one that the owner makes with volt.correction = on.';
