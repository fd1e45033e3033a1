-- What: the charging sessions of a vehicle, from when to when: signs of charging that belong together.
-- Why:  docs/sessions.md has the definition: a pause ends a session unless the vehicle stays plugged in; driving and
--       being unplugged always do. One walk through signs in the order of time.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.session_spans(of_vehicle text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  began_at timestamptz, ended_at timestamptz, charging_s numeric, found_by text, whole tstzrange, estimated boolean,
  peak_kw numeric, dc_source text, is_open boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
  pause CONSTANT interval := make_interval(secs => volt_internal.setting_number('sessions_pause_s')::double precision);
  no_pause CONSTANT interval := INTERVAL '5 minutes';  -- a register of 0.1 kWh stands still as long at 1.4 kW
  least_kwh CONSTANT numeric := 0.05;
  signs record := volt_internal.session_signs(of_vehicle, from_at, to_at);
  one record;
  -- Where in the arrays of signs the walk is.
  move integer := 1;
  plug integer := 1;
  unplug integer := 1;
  drive integer := 1;
  ends_at timestamptz;        -- of the session that is being put together
  reached_at timestamptz;
  apart boolean;
  km double precision;
  kwh numeric;
  strong boolean;
  energy_alone boolean;
  no_energy tstzmultirange;
BEGIN
  FOR one IN
    SELECT * FROM volt_internal.session_evidence(of_vehicle, from_at, to_at, signs) e
    UNION ALL
    SELECT 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    ORDER BY 1, 2
  LOOP
    IF one.sign IS NULL AND one.began_at < 'infinity' THEN
      no_energy := one.no_energy;
      CONTINUE;
    END IF;
    IF ends_at IS NOT NULL AND one.began_at > ends_at THEN
      WHILE signs.moves[move] < ends_at LOOP move := move + 1; END LOOP;
      WHILE signs.unplugged_to[unplug] <= ends_at AND signs.unplugged_from[unplug] < ends_at LOOP unplug := unplug + 1; END LOOP;
      WHILE signs.driven_from[drive] < ends_at LOOP drive := drive + 1; END LOOP;
      apart := coalesce(signs.moves[move] <= one.began_at OR signs.unplugged_from[unplug] <= one.began_at, false);
      km := 0;
      WHILE NOT apart AND signs.driven_to[drive] <= one.began_at LOOP
        km := km + signs.driven_km[drive];
        drive := drive + 1;
        apart := km >= 1;
      END LOOP;
      -- How long it may have been unplugged, at most at a time. Behind the last reading nothing is known yet.
      IF NOT apart THEN
        reached_at := ends_at;
        WHILE signs.plugged_to[plug] < ends_at LOOP plug := plug + 1; END LOOP;
        WHILE NOT apart AND signs.plugged_from[plug] <= one.began_at LOOP
          apart := signs.plugged_from[plug] - reached_at > pause;
          reached_at := greatest(reached_at, signs.plugged_to[plug]);
          EXIT WHEN signs.plugged_to[plug] >= one.began_at;
          plug := plug + 1;
        END LOOP;
      END IF;
      IF NOT apart AND one.began_at < 'infinity' THEN
        apart := one.began_at - reached_at > pause;
      END IF;
      IF apart OR one.began_at = 'infinity' THEN
        is_open := NOT apart AND (now() - ends_at <= pause
          OR signs.is_plugged AND reached_at >= signs.last_at AND now() - signs.last_at <= INTERVAL '1 day');
        ended_at := ends_at;
        IF strong AND NOT (energy_alone AND kwh <= least_kwh) AND NOT (found_by = 'status'
            AND (no_energy @> tstzrange(began_at, ended_at) AND no_energy @> began_at)) THEN
          RETURN NEXT;
        END IF;
        ends_at := NULL;
      ELSIF one.began_at - ends_at <= no_pause THEN
        charging_s := charging_s + extract(epoch FROM one.began_at - ends_at);
      END IF;
    END IF;
    EXIT WHEN one.began_at = 'infinity';
    IF ends_at IS NULL THEN
      began_at := one.began_at; ends_at := one.ended_at; found_by := one.sign; whole := one.whole;
      estimated := false; peak_kw := NULL; dc_source := NULL; kwh := 0; strong := false; energy_alone := true; reached_at := one.began_at;
      charging_s := extract(epoch FROM one.ended_at - one.began_at);
    ELSE
      charging_s := charging_s + greatest(extract(epoch FROM one.ended_at - greatest(one.began_at, ends_at)), 0);
      ends_at := greatest(ends_at, one.ended_at);
      whole := range_merge(whole, one.whole);
      -- The strongest sign that was there.
      found_by := CASE WHEN 'energy' IN (found_by, one.sign) THEN 'energy' WHEN 'meter' IN (found_by, one.sign) THEN 'meter'
                       WHEN 'power' IN (found_by, one.sign) THEN 'power' ELSE 'status' END;
    END IF;
    strong := strong OR NOT one.weak;
    energy_alone := energy_alone AND one.sign = 'energy';
    kwh := kwh + coalesce(one.kwh, 0);
    peak_kw := greatest(peak_kw, one.kw);
    dc_source := CASE WHEN dc_source <> one.source THEN 'both' ELSE coalesce(dc_source, one.source) END;
    estimated := estimated OR one.sign = 'energy' AND one.kw IS NULL;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt_internal.session_spans(text, timestamptz, timestamptz) IS
  'The charging sessions of one vehicle within the readings of a period, as docs/sessions.md defines them: when the first and '
  'the last sign of charging was, for how long it charged (s), by what it was found, the stretch within which its energy is '
  'known, whether it begins or ends in a gap, the highest mean power (kW), of what the DC energy is, and whether it may go on.';

CREATE OR REPLACE FUNCTION volt_internal.session_break(of_vehicle text, near timestamptz, is_before boolean) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  words_unplugged CONSTANT text[] := volt_internal.setting_words('unplugged_words');
  days integer;
  limit_at timestamptz;
  found timestamptz;
BEGIN
  FOREACH days IN ARRAY ARRAY[2, 8, 32] LOOP
    limit_at := near + CASE WHEN is_before THEN -1 ELSE 1 END * make_interval(days => days);
    IF is_before THEN
      SELECT r.recorded_at INTO found FROM volt.vehicle_reading r
      WHERE r.vehicle_id = of_vehicle AND r.recorded_at <= near AND r.recorded_at >= limit_at
        AND (r.speed_kmh > 5 OR lower(btrim(r.charging_status, E' \t\r\n')) = ANY (words_unplugged))
      ORDER BY r.recorded_at DESC LIMIT 1;
    ELSE
      SELECT r.recorded_at INTO found FROM volt.vehicle_reading r
      WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= near AND r.recorded_at <= limit_at
        AND (r.speed_kmh > 5 OR lower(btrim(r.charging_status, E' \t\r\n')) = ANY (words_unplugged))
      ORDER BY r.recorded_at LIMIT 1;
    END IF;
    EXIT WHEN found IS NOT NULL OR NOT is_before AND limit_at > now();
  END LOOP;
  RETURN coalesce(found, limit_at);
END $$;
COMMENT ON FUNCTION volt_internal.session_break(text, timestamptz, boolean) IS
  'The last time before, or the first behind a time at which no session can go on: the vehicle moved, or said that it was '
  'unplugged. Where there is none within 32 days, or until now: that far away.';
