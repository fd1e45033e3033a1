-- What: marks the kept energy and efficiency that a change of the registry concerns: links, fleets, time zones, what is
--       known of a device's interval, power and register, and settings.
-- Why:  figures are a function of readings and registry; whoever corrects the past sees it follow. The marks are rows, so a
--       change is as quick as before, and the scheduler computes within a minute or so.
-- Lock: SHARE ROW EXCLUSIVE on the registry while the triggers are made.

CREATE OR REPLACE FUNCTION volt_internal.mark_vehicles(of_vehicles text[], during tstzrange) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  piece CONSTANT interval := INTERVAL '7 days';
  first_at timestamptz;
  last_at timestamptz;
BEGIN
  SELECT min(c.range_start) INTO first_at
  FROM timescaledb_information.chunks c
  WHERE c.hypertable_schema = 'volt_internal' AND c.hypertable_name IN ('vehicle_quarter', 'meter_quarter', 'onboard_quarter');
  IF first_at IS NULL THEN  -- nothing is kept, and a series from an open beginning would not end
    RETURN;
  END IF;
  first_at := greatest(first_at, coalesce(lower(during), '-infinity'));
  -- Not up to the watermark: it may have moved on by the COMMIT of this change.
  last_at := least(now() + INTERVAL '1 day', coalesce(upper(during), 'infinity'));
  INSERT INTO volt_internal.efficiency_dirty (vehicle_id, from_at, to_at)
  SELECT v.id, s.at, least(s.at + piece, last_at)
  FROM (SELECT DISTINCT unnest(of_vehicles) AS id) v
  CROSS JOIN generate_series(first_at, last_at - INTERVAL '1 microsecond', piece) AS s (at);
END $$;
COMMENT ON FUNCTION volt_internal.mark_vehicles(text[], tstzrange) IS
  'Marks the efficiency of vehicles in a period, as far as it is kept, to be computed again; a week a mark.';

CREATE OR REPLACE FUNCTION volt_internal.mark_link(link volt.vehicle_meter) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- With the links of the pair that it adjoins: a gap may lie in both, and is cut or not.
  during CONSTANT tstzrange := (
    SELECT r.valid
    FROM unnest(tstzmultirange(link.valid) + coalesce((
      SELECT range_agg(l.valid) FROM volt.vehicle_meter l WHERE l.vehicle_id = link.vehicle_id AND l.meter_id = link.meter_id
    ), '{}')) AS r (valid)
    WHERE r.valid @> link.valid);
BEGIN
  -- Vehicles at one meter share its energy.
  PERFORM volt_internal.mark_vehicles(
    link.vehicle_id || ARRAY(SELECT l.vehicle_id FROM volt.vehicle_meter l WHERE l.meter_id = link.meter_id AND l.valid && during),
    during);
  -- Where no meter is linked the on-board charger counts: a gap of its register that an end of the link cut is whole now, or
  -- the other way round.
  PERFORM volt_internal.mark_vehicles(ARRAY[link.vehicle_id], g.gap)
  FROM volt_internal.onboard_quarter q CROSS JOIN LATERAL unnest(q.gaps) AS g (gap)
  WHERE q.vehicle_id = link.vehicle_id AND q.quarter_hour = ANY (ARRAY(
    SELECT volt_internal.quarter_hour(e.at) + n * INTERVAL '15 minutes'
    FROM (VALUES (lower(link.valid)), (upper(link.valid))) AS e (at) CROSS JOIN generate_series(-1, 1) AS n
    WHERE isfinite(e.at)));
END $$;
COMMENT ON FUNCTION volt_internal.mark_link(volt.vehicle_meter) IS
  'Marks the efficiency that a link concerns, of all vehicles of its meter.';

CREATE OR REPLACE FUNCTION volt_internal.follow_link() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM volt_internal.mark_link(OLD);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM volt_internal.mark_link(NEW);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.follow_link() IS 'Trigger: marks the efficiency that a change of a link concerns.';

CREATE OR REPLACE FUNCTION volt_internal.with_days_around(during tstzrange) RETURNS tstzrange
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN tstzrange(lower(during) - INTERVAL '1 hour', upper(during) + INTERVAL '1 hour');
COMMENT ON FUNCTION volt_internal.with_days_around(tstzrange) IS
  'The period of a membership with an hour more at either end, so that it touches the parts of days that it cuts off.';

CREATE OR REPLACE FUNCTION volt_internal.follow_membership() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM volt_internal.mark_vehicles(ARRAY[OLD.vehicle_id], volt_internal.with_days_around(OLD.valid));
  END IF;
  IF TG_OP <> 'DELETE' THEN
    PERFORM volt_internal.mark_vehicles(ARRAY[NEW.vehicle_id], volt_internal.with_days_around(NEW.valid));
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.follow_membership() IS
  'Trigger: marks the efficiency that a change of a membership concerns: its fleet and its days.';

CREATE OR REPLACE FUNCTION volt_internal.follow_timezone() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM volt_internal.mark_vehicles(ARRAY[m.vehicle_id], m.valid)
  FROM volt.fleet_membership m WHERE m.fleet_id = NEW.fleet_id;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.follow_timezone() IS 'Trigger: marks the days of all that were in a fleet whose time zone has changed.';

CREATE OR REPLACE FUNCTION volt_internal.mark_energy(of_type text, of_device text, since timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  first_at timestamptz;
BEGIN
  SELECT min(c.range_start) INTO first_at
  FROM timescaledb_information.chunks c
  WHERE c.hypertable_schema = 'volt'
    AND c.hypertable_name = CASE of_type WHEN 'onboard' THEN 'vehicle' ELSE of_type END || '_reading';
  IF first_at IS NULL THEN
    RETURN;
  END IF;
  -- The first interval of a day may reach into the day before.
  INSERT INTO volt_internal.energy_dirty (device_type, device_id, from_at, to_at)
  SELECT of_type, of_device, d.at, d.at + INTERVAL '1 day'
  FROM volt_internal.rollup_state s
  CROSS JOIN generate_series(
    date_trunc('day', greatest(first_at, since), 'UTC') - INTERVAL '1 day', now() + INTERVAL '1 day', INTERVAL '1 day') AS d (at)
  WHERE isfinite(s.energy_watermark);
END $$;
COMMENT ON FUNCTION volt_internal.mark_energy(text, text, timestamptz) IS
  'Marks the kept energy of a device from a time on, as far as raw readings are there, to be computed again.';

CREATE OR REPLACE FUNCTION volt_internal.mark_device(of_type text, of_device text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM volt_internal.mark_energy(of_type, of_device, '-infinity');
  IF of_type = 'vehicle' AND EXISTS (
    SELECT FROM volt.vehicle_current c WHERE c.vehicle_id = of_device AND c.ac_register_at IS NOT NULL) THEN
    PERFORM volt_internal.mark_energy('onboard', of_device, '-infinity');
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.mark_device(text, text) IS
  'Marks all kept energy of a device, and of a vehicle''s on-board charger, to be computed again.';

CREATE OR REPLACE FUNCTION volt_internal.follow_device() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  of_type text := TG_ARGV[0];
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM volt_internal.mark_device(of_type, to_jsonb(OLD) ->> (of_type || '_id'));
  END IF;
  IF TG_OP <> 'DELETE' AND (TG_OP = 'INSERT' OR to_jsonb(NEW) -> (of_type || '_id') <> to_jsonb(OLD) -> (of_type || '_id')) THEN
    PERFORM volt_internal.mark_device(of_type, to_jsonb(NEW) ->> (of_type || '_id'));
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.follow_device() IS
  'Trigger: marks the energy of a device of which the registry says something else about its interval, power or register.';

CREATE OR REPLACE FUNCTION volt_internal.follow_setting() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.name = 'efficiency_max_power_kw' THEN
    PERFORM volt_internal.mark_energy('vehicle', c.vehicle_id, '-infinity')
    FROM volt.vehicle_current c LEFT JOIN volt.vehicle v USING (vehicle_id)
    WHERE c.dc_register_kwh IS NOT NULL AND v.max_power_kw IS NULL;
    PERFORM volt_internal.mark_energy('meter', c.meter_id, '-infinity')
    FROM volt.meter_current c LEFT JOIN volt.meter m USING (meter_id)
    WHERE c.ac_register_kwh IS NOT NULL AND m.max_power_kw IS NULL;
    PERFORM volt_internal.mark_energy('onboard', c.vehicle_id, '-infinity')
    FROM volt.vehicle_current c LEFT JOIN volt.vehicle v USING (vehicle_id)
    WHERE c.ac_register_at IS NOT NULL AND v.max_power_kw IS NULL;
  ELSE
    PERFORM volt_internal.mark_vehicles(ARRAY(
      SELECT c.vehicle_id FROM volt.vehicle_current c UNION SELECT l.vehicle_id FROM volt.vehicle_meter l), '(,)');
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.follow_setting() IS
  'Trigger: marks what a changed setting concerns: registers of devices without a power of their own, or all efficiency.';

CREATE OR REPLACE TRIGGER energy_follows_setting AFTER UPDATE OF value ON volt_internal.setting FOR EACH ROW
  WHEN (NEW.name IN ('efficiency_max_power_kw', 'efficiency_standby_kw', 'timezone') AND OLD.value <> NEW.value)
  EXECUTE FUNCTION volt_internal.follow_setting();
CREATE OR REPLACE TRIGGER efficiency_follows_link AFTER INSERT OR UPDATE OR DELETE ON volt.vehicle_meter
  FOR EACH ROW EXECUTE FUNCTION volt_internal.follow_link();
CREATE OR REPLACE TRIGGER efficiency_follows_membership AFTER INSERT OR UPDATE OR DELETE ON volt.fleet_membership
  FOR EACH ROW EXECUTE FUNCTION volt_internal.follow_membership();
CREATE OR REPLACE TRIGGER efficiency_follows_timezone AFTER UPDATE OF timezone ON volt.fleet
  FOR EACH ROW WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone) EXECUTE FUNCTION volt_internal.follow_timezone();
-- each device:
CREATE OR REPLACE TRIGGER energy_follows_new_{device} AFTER INSERT ON volt.{device} FOR EACH ROW
  WHEN (NEW.interval_s IS NOT NULL OR NEW.max_power_kw IS NOT NULL OR NEW.register_kind <> 'total')
  EXECUTE FUNCTION volt_internal.follow_device('{device}');
CREATE OR REPLACE TRIGGER energy_follows_old_{device} AFTER DELETE ON volt.{device} FOR EACH ROW
  WHEN (OLD.interval_s IS NOT NULL OR OLD.max_power_kw IS NOT NULL OR OLD.register_kind <> 'total')
  EXECUTE FUNCTION volt_internal.follow_device('{device}');
CREATE OR REPLACE TRIGGER energy_follows_{device} AFTER UPDATE OF {device}_id, interval_s, max_power_kw, register_kind
  ON volt.{device} FOR EACH ROW
  WHEN ((OLD.{device}_id, OLD.interval_s, OLD.max_power_kw, OLD.register_kind)
    IS DISTINCT FROM (NEW.{device}_id, NEW.interval_s, NEW.max_power_kw, NEW.register_kind))
  EXECUTE FUNCTION volt_internal.follow_device('{device}');
-- end
CREATE OR REPLACE TRIGGER energy_follows_new_onboard AFTER INSERT ON volt.vehicle FOR EACH ROW
  WHEN (NEW.onboard_register_kind <> 'total') EXECUTE FUNCTION volt_internal.follow_device('vehicle');
CREATE OR REPLACE TRIGGER energy_follows_old_onboard AFTER DELETE ON volt.vehicle FOR EACH ROW
  WHEN (OLD.onboard_register_kind <> 'total') EXECUTE FUNCTION volt_internal.follow_device('vehicle');
CREATE OR REPLACE TRIGGER energy_follows_onboard AFTER UPDATE OF onboard_register_kind ON volt.vehicle FOR EACH ROW
  WHEN (OLD.onboard_register_kind <> NEW.onboard_register_kind) EXECUTE FUNCTION volt_internal.follow_device('vehicle');
-- Their triggers have the owner's rights: nobody else may attach these functions to a table.
REVOKE EXECUTE ON FUNCTION volt_internal.follow_link(), volt_internal.follow_membership(), volt_internal.follow_timezone(),
  volt_internal.follow_device(), volt_internal.follow_setting() FROM PUBLIC;
