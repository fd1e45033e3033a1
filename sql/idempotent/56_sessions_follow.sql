-- What: marks where charging sessions must be looked for: what the current state shows, late readings, changed energy.
-- Why:  nobody can look through all readings each minute. The current state of each vehicle is compared with that of the last
--       look; what else matters leaves marks already, for energy and efficiency, and those are passed on.
-- Lock: SHARE ROW EXCLUSIVE on the marks while the triggers are made.

CREATE OR REPLACE FUNCTION volt_internal.mark_all_sessions() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at)
  SELECT c.vehicle_id, s.at, s.at + INTERVAL '30 days'
  FROM volt.vehicle_current c
  CROSS JOIN generate_series(
    (SELECT min(k.range_start) FROM timescaledb_information.chunks k
     WHERE k.hypertable_schema = 'volt' AND k.hypertable_name = 'vehicle_reading'), now(), INTERVAL '30 days') AS s (at);
END;
COMMENT ON FUNCTION volt_internal.mark_all_sessions() IS 'Marks the sessions of all vehicles, as far as raw readings are there.';

CREATE OR REPLACE FUNCTION volt_internal.mark_sessions() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
  least_kw CONSTANT double precision := volt_internal.setting_number('sessions_power_kw')::double precision;
  words CONSTANT text[] := volt_internal.setting_words('charging_words');
  words_plugged CONSTANT text[] := volt_internal.setting_words('plugged_words');
  words_unplugged CONSTANT text[] := volt_internal.setting_words('unplugged_words');
  marks integer;
BEGIN
  WITH seen AS (
    SELECT c.vehicle_id, c.recorded_at, c.charging_status AS word, m.word_means,
      CASE WHEN c.charging_power_kw IS NOT NULL THEN c.charging_power_kw >= least_kw END AS has_power,
      coalesce(c.speed_kmh > 5, false) AS is_moving, c.dc_register_kwh AS register_kwh,
      CASE WHEN c.kwh_delivered_dc > 0 THEN c.kwh_delivered_dc_at END AS interval_at,
      l.vehicle_id IS NULL AS is_new, l.word_means AS before_means, l.has_power AS had_power, l.is_moving AS moved,
      l.register_kwh AS before_kwh, l.interval_at AS before_at, l.seen_at, l.looked_at, l.due_at,
      a.vehicle_id IS NOT NULL AS is_active
    FROM volt.vehicle_current c
    LEFT JOIN volt_internal.session_look l USING (vehicle_id)
    LEFT JOIN (SELECT DISTINCT k.vehicle_id FROM volt_internal.charging_session k WHERE k.status = 'ACTIVE') a USING (vehicle_id)
    CROSS JOIN LATERAL (
      SELECT CASE WHEN c.charging_status IS NULL THEN NULL WHEN c.charging_status = l.word THEN l.word_means ELSE (
        SELECT CASE WHEN w = ANY (words) THEN 'charging' WHEN w = ANY (words_plugged) THEN 'plugged'
                    WHEN w = ANY (words_unplugged) THEN 'unplugged' END
        FROM (SELECT lower(btrim(c.charging_status, E' \t\r\n'))) AS f (w)) END AS word_means
    ) m
    WHERE l.vehicle_id IS NULL OR l.due_at <= now()
      OR (c.charging_status, c.charging_power_kw >= least_kw, coalesce(c.speed_kmh > 5, false), c.dc_register_kwh,
          CASE WHEN c.kwh_delivered_dc > 0 THEN c.kwh_delivered_dc_at END)
        IS DISTINCT FROM (l.word, l.has_power, l.is_moving, l.register_kwh, l.interval_at)
  ), marked AS (
    INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at)
    SELECT s.vehicle_id, least(s.seen_at, s.recorded_at - CASE WHEN s.is_new THEN INTERVAL '1 day' ELSE INTERVAL '1 hour' END),
      s.recorded_at + INTERVAL '1 second'
    FROM seen s
    WHERE s.is_new OR s.due_at <= now()
      OR s.word_means IS DISTINCT FROM s.before_means AND (s.word_means = 'charging' OR s.is_active)
      OR s.has_power IS DISTINCT FROM s.had_power AND (s.has_power OR s.is_active)
      OR s.is_active AND s.is_moving
      OR NOT s.is_active AND NOT s.is_moving AND (s.register_kwh > s.before_kwh OR s.interval_at > s.before_at OR s.before_at IS NULL AND s.interval_at IS NOT NULL)
        AND coalesce(s.looked_at, '-infinity') < now() - INTERVAL '1 minute'
    RETURNING vehicle_id
  ), looked AS (
    INSERT INTO volt_internal.session_look AS l (vehicle_id, word, word_means, has_power, is_moving, register_kwh, interval_at, seen_at)
    SELECT s.vehicle_id, s.word, s.word_means, s.has_power, s.is_moving, s.register_kwh, s.interval_at, s.recorded_at FROM seen s
    -- A rise that was seen too soon after a look is seen again.
    WHERE s.is_new OR s.is_active OR s.is_moving OR s.register_kwh IS NOT DISTINCT FROM s.before_kwh
        AND s.interval_at IS NOT DISTINCT FROM s.before_at OR EXISTS (SELECT FROM marked m WHERE m.vehicle_id = s.vehicle_id)
    ON CONFLICT (vehicle_id) DO UPDATE SET
      word = excluded.word, word_means = excluded.word_means, has_power = excluded.has_power, is_moving = excluded.is_moving,
      register_kwh = excluded.register_kwh, interval_at = excluded.interval_at, seen_at = excluded.seen_at,
      due_at = CASE WHEN l.due_at > now() THEN l.due_at END
  )
  SELECT count(*) INTO marks FROM marked;
  UPDATE volt_internal.session_state SET looked_at = now();
  RETURN marks;
END $$;
COMMENT ON FUNCTION volt_internal.mark_sessions() IS
  'Compares the current state of each vehicle with that of the last look, and marks where a session may have begun, gone on '
  'or ended; how many vehicles.';

CREATE OR REPLACE FUNCTION volt_internal.sessions_follow_energy() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at, figures)
  SELECT m.vehicle_id, m.from_at, m.to_at, true FROM marks m;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.sessions_follow_energy() IS
  'Trigger: whatever changes the efficiency of a vehicle may change its sessions: energy, links, memberships, settings.';

CREATE OR REPLACE FUNCTION volt_internal.sessions_follow_late() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at)
  SELECT m.vehicle_id, m.hour, m.hour + INTERVAL '1 hour' FROM marks m;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.sessions_follow_late() IS 'Trigger: late readings of a vehicle may change its sessions.';

CREATE OR REPLACE FUNCTION volt_internal.sessions_follow_setting() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM volt_internal.mark_all_sessions();
  RETURN NULL;
END $$;
COMMENT ON FUNCTION volt_internal.sessions_follow_setting() IS 'Trigger: words, pause or power have changed: all sessions may.';

CREATE OR REPLACE TRIGGER sessions_follow_energy AFTER INSERT ON volt_internal.efficiency_dirty
  REFERENCING NEW TABLE AS marks FOR EACH STATEMENT EXECUTE FUNCTION volt_internal.sessions_follow_energy();
CREATE OR REPLACE TRIGGER sessions_follow_late AFTER INSERT ON volt_internal.vehicle_rollup_dirty
  REFERENCING NEW TABLE AS marks FOR EACH STATEMENT EXECUTE FUNCTION volt_internal.sessions_follow_late();
CREATE OR REPLACE TRIGGER sessions_follow_setting AFTER UPDATE OF value ON volt_internal.setting FOR EACH ROW
  WHEN (NEW.name IN ('sessions_pause_s', 'sessions_power_kw', 'charging_words', 'plugged_words', 'unplugged_words')
    AND OLD.value <> NEW.value)
  EXECUTE FUNCTION volt_internal.sessions_follow_setting();
-- Their triggers have the owner's rights: nobody else may attach these functions to a table.
REVOKE EXECUTE ON FUNCTION volt_internal.sessions_follow_energy(), volt_internal.sessions_follow_late(),
  volt_internal.sessions_follow_setting() FROM PUBLIC;
