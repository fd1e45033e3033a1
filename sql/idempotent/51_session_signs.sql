-- What: what the readings of a vehicle say about charging, in their order: words, power, energy, and whether it moved.
-- Why:  docs/sessions.md has the definition. Words and power hold from one reading to the next, which is found by going
--       through the readings once; sets of SQL take six times as long.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.setting_words(setting_name text) RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN coalesce((SELECT string_to_array(s.value, E'\n') FROM volt_internal.setting s WHERE s.name = setting_name), '{}');
COMMENT ON FUNCTION volt_internal.setting_words(text) IS
  'The words of a setting, in small letters and without outer blanks, as "voltd migrate" has written them.';

CREATE OR REPLACE FUNCTION volt_internal.session_signs(
  of_vehicle text, from_at timestamptz, to_at timestamptz,
  OUT last_at timestamptz, OUT is_plugged boolean, OUT moves timestamptz[], OUT driven_from timestamptz[], OUT driven_to timestamptz[],
  OUT driven_km double precision[], OUT charging_from timestamptz[], OUT charging_to timestamptz[],
  OUT plugged_from timestamptz[], OUT plugged_to timestamptz[],
  OUT unplugged_from timestamptz[], OUT unplugged_to timestamptz[], OUT power_from timestamptz[],
  OUT power_to timestamptz[], OUT no_power_from timestamptz[], OUT no_power_to timestamptz[],
  OUT has_intervals boolean, OUT interval_at timestamptz[], OUT interval_kwh numeric[], OUT register_at timestamptz[],
  OUT register_kwh double precision[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  pause CONSTANT interval := make_interval(secs => volt_internal.setting_number('sessions_pause_s')::double precision);
  least_kw CONSTANT double precision := volt_internal.setting_number('sessions_power_kw')::double precision;
  words CONSTANT text[] := volt_internal.setting_words('charging_words');
  words_plugged CONSTANT text[] := volt_internal.setting_words('plugged_words');
  words_unplugged CONSTANT text[] := volt_internal.setting_words('unplugged_words');
  -- A decision may be on a reading that shows what the one before shows.
  decided CONSTANT timestamptz[] := ARRAY(
    SELECT d.recorded_at FROM volt.register_decision d WHERE d.device_type = 'vehicle' AND d.device_id = of_vehicle);
  r record;
  word text;                  -- of the last reading that had one, and what it means
  word_means text;
  means text;
  charging_since timestamptz;
  plugged_since timestamptz;
  unplugged_since timestamptz;
  power_since timestamptz;
  has_power boolean;
  odometer_at timestamptz;
  odometer_last double precision;
  returned_last double precision;
  shown_at timestamptz;       -- the last reading of the register, where it is not in the arrays yet
  shown_kwh double precision;
BEGIN
  moves := '{}'; driven_from := '{}'; driven_to := '{}'; driven_km := '{}'; charging_from := '{}'; charging_to := '{}';
  plugged_from := '{}'; plugged_to := '{}'; unplugged_from := '{}'; unplugged_to := '{}';
  power_from := '{}'; power_to := '{}'; no_power_from := '{}'; no_power_to := '{}'; interval_at := '{}';
  interval_kwh := '{}'; register_at := '{}'; register_kwh := '{}';
  has_intervals := false;
  FOR r IN
    SELECT v.recorded_at AS at, v.speed_kmh > 5 AS is_moving, v.charging_status AS word, v.charging_power_kw AS kw, v.odometer_km,
      v.kwh_delivered_dc AS kwh, v.dc_register_kwh, v.kwh_returned_dc > 0 AS returns,
      v.dc_returned_register_kwh AS returned_kwh
    FROM volt.vehicle_reading v
    WHERE v.vehicle_id = of_vehicle AND v.recorded_at >= from_at AND v.recorded_at < to_at
    ORDER BY v.recorded_at
  LOOP
    IF last_at IS NOT NULL AND r.at - last_at > pause OR r.is_moving THEN
      IF charging_since IS NOT NULL THEN
        charging_from := charging_from || charging_since; charging_to := charging_to || last_at; charging_since := NULL;
      END IF;
      IF unplugged_since IS NOT NULL THEN
        unplugged_from := unplugged_from || unplugged_since; unplugged_to := unplugged_to || last_at; unplugged_since := NULL;
      END IF;
      IF power_since IS NOT NULL THEN
        IF has_power THEN
          power_from := power_from || power_since; power_to := power_to || last_at;
        ELSE
          no_power_from := no_power_from || power_since; no_power_to := no_power_to || last_at;
        END IF;
        power_since := NULL;
      END IF;
    END IF;
    IF r.is_moving THEN
      moves := moves || r.at;
      IF plugged_since IS NOT NULL THEN
        plugged_from := plugged_from || plugged_since; plugged_to := plugged_to || last_at; plugged_since := NULL;
      END IF;
    ELSE
      IF r.word IS NOT NULL THEN
        IF word IS DISTINCT FROM r.word THEN
          word := r.word;
          means := lower(btrim(word, E' \t\r\n'));
          word_means := CASE WHEN means = ANY (words) THEN 'charging' WHEN means = ANY (words_plugged) THEN 'plugged'
                             WHEN means = ANY (words_unplugged) THEN 'unplugged' ELSE 'nothing' END;
        END IF;
        IF word_means = 'charging' THEN
          charging_since := coalesce(charging_since, r.at);
        ELSIF charging_since IS NOT NULL THEN
          charging_from := charging_from || charging_since; charging_to := charging_to || r.at; charging_since := NULL;
        END IF;
        IF word_means IN ('charging', 'plugged') THEN
          plugged_since := coalesce(plugged_since, r.at);
        ELSIF plugged_since IS NOT NULL THEN
          plugged_from := plugged_from || plugged_since; plugged_to := plugged_to || r.at; plugged_since := NULL;
        END IF;
        IF word_means = 'unplugged' THEN
          unplugged_since := coalesce(unplugged_since, r.at);
        ELSIF unplugged_since IS NOT NULL THEN
          unplugged_from := unplugged_from || unplugged_since; unplugged_to := unplugged_to || r.at; unplugged_since := NULL;
        END IF;
      END IF;
      IF r.kw IS NOT NULL THEN
        IF power_since IS NOT NULL AND has_power <> (r.kw >= least_kw) THEN
          IF has_power THEN
            power_from := power_from || power_since; power_to := power_to || r.at;
          ELSE
            no_power_from := no_power_from || power_since; no_power_to := no_power_to || r.at;
          END IF;
          power_since := NULL;
        END IF;
        has_power := r.kw >= least_kw;
        power_since := coalesce(power_since, r.at);
      END IF;
      -- Whoever feeds energy back is plugged in.
      IF plugged_since IS NULL AND (r.returns OR r.returned_kwh > returned_last) THEN
        plugged_from := plugged_from || r.at; plugged_to := plugged_to || r.at;
      END IF;
    END IF;
    IF r.kwh > 0 THEN
      interval_at := interval_at || r.at; interval_kwh := interval_kwh || r.kwh::numeric;
    END IF;
    has_intervals := has_intervals OR r.kwh IS NOT NULL;
    IF r.odometer_km IS NOT NULL THEN
      IF r.odometer_km > odometer_last THEN
        driven_from := driven_from || odometer_at; driven_to := driven_to || r.at;
        driven_km := driven_km || r.odometer_km - odometer_last;
      END IF;
      odometer_at := r.at;
      odometer_last := r.odometer_km;
    END IF;
    -- Of readings that show the same only the first and the last one: the curve of the register is the same.
    IF r.dc_register_kwh IS NOT NULL THEN
      IF r.dc_register_kwh = register_kwh[cardinality(register_kwh)] AND r.at <> ALL (decided) THEN
        shown_at := r.at; shown_kwh := r.dc_register_kwh;
      ELSE
        IF shown_at IS NOT NULL THEN
          register_at := register_at || shown_at; register_kwh := register_kwh || shown_kwh; shown_at := NULL;
        END IF;
        register_at := register_at || r.at; register_kwh := register_kwh || r.dc_register_kwh;
      END IF;
    END IF;
    returned_last := coalesce(r.returned_kwh, returned_last);
    last_at := r.at;
  END LOOP;
  IF shown_at IS NOT NULL THEN
    register_at := register_at || shown_at; register_kwh := register_kwh || shown_kwh;
  END IF;
  IF charging_since IS NOT NULL THEN
    charging_from := charging_from || charging_since; charging_to := charging_to || last_at;
  END IF;
  is_plugged := plugged_since IS NOT NULL;
  IF is_plugged THEN
    plugged_from := plugged_from || plugged_since; plugged_to := plugged_to || last_at;
  END IF;
  IF unplugged_since IS NOT NULL THEN
    unplugged_from := unplugged_from || unplugged_since; unplugged_to := unplugged_to || last_at;
  END IF;
  IF power_since IS NOT NULL AND has_power THEN
    power_from := power_from || power_since; power_to := power_to || last_at;
  ELSIF power_since IS NOT NULL THEN
    no_power_from := no_power_from || power_since; no_power_to := no_power_to || last_at;
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.session_signs(text, timestamptz, timestamptz) IS
  'What the readings of one vehicle in a period say about charging: the newest one, and whether it says that the vehicle is plugged in; when it moved; between which readings its odometer rose, '
  'and by how much (km); from when to when a word that means charging, plugged in or unplugged, or a power above or below '
  'sessions.power_kw, was in force; whether it has intervals, and those with energy (kWh), and the readings of its '
  'register at which the value changes (kWh).';

CREATE OR REPLACE FUNCTION volt_internal.session_flows(
  of_vehicle text, from_at timestamptz, to_at timestamptz, with_intervals boolean, interval_ats timestamptz[],
  interval_kwhs numeric[], with_zeros boolean, register_ats timestamptz[], register_kwhs double precision[]
) RETURNS TABLE (began_at timestamptz, ended_at timestamptz, kwh numeric, source text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
  known volt.vehicle;
  limit_at timestamptz;
  behind_ats timestamptz[];
  behind double precision[];
  ignored timestamptz[];
  ats timestamptz[];
  shown double precision[];
  decisions text[];
  starts double precision[];
  days timestamptz[];
  widths interval[];
  max_kw numeric;
  first_day CONSTANT timestamptz := date_trunc('day', from_at, 'UTC');
  last_day CONSTANT timestamptz := date_trunc('day', to_at, 'UTC') + INTERVAL '1 day';
BEGIN
  SELECT v.* INTO known FROM volt.vehicle v WHERE v.vehicle_id = of_vehicle;
  IF with_intervals AND (with_zeros OR cardinality(interval_ats) > 0) THEN
    SELECT array_agg(u.day), array_agg(u.width) INTO days, widths
    FROM (
      SELECT s.day, coalesce(make_interval(secs => known.interval_s), make_interval(secs => percentile_disc(0.5) WITHIN GROUP (
        ORDER BY volt_internal.whole_seconds(s.spacing))), INTERVAL '15 minutes') AS width
      FROM (
        SELECT d.day, r.recorded_at - lag(r.recorded_at) OVER (PARTITION BY d.day ORDER BY r.recorded_at) AS spacing
        FROM volt.vehicle_reading r
        CROSS JOIN LATERAL (SELECT date_trunc('day', r.recorded_at, 'UTC') AS day) d
        WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= first_day AND r.recorded_at < last_day
          AND r.kwh_delivered_dc IS NOT NULL
      ) s
      GROUP BY s.day
    ) u;
    RETURN QUERY
    SELECT i.at - u.width, i.at, i.kwh, 'interval'
    FROM unnest(interval_ats, interval_kwhs) AS i (at, kwh)
    JOIN unnest(days, widths) AS u (day, width) ON u.day = date_trunc('day', i.at, 'UTC');
    IF with_zeros THEN
      RETURN QUERY
      SELECT lower(z.during), upper(z.during), 0::numeric, 'interval'
      FROM (
        SELECT unnest(range_agg(tstzrange(r.recorded_at - u.width, r.recorded_at))) AS during
        FROM volt.vehicle_reading r
        JOIN unnest(days, widths) AS u (day, width) ON u.day = date_trunc('day', r.recorded_at, 'UTC')
        WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at AND r.recorded_at < to_at AND r.kwh_delivered_dc = 0
      ) z;
    END IF;
  END IF;
  IF cardinality(register_ats) = 0 THEN
    RETURN;
  END IF;
  SELECT coalesce(array_agg(d.recorded_at), '{}') INTO ignored
  FROM volt.register_decision d
  WHERE d.device_type = 'vehicle' AND d.device_id = of_vehicle AND d.decision = 'ignore';
  -- The two readings before and behind, as in vehicle_register_curve; times in variables, as PostgreSQL plans for their chunks
  -- only then.
  FOREACH limit_at IN ARRAY ARRAY[from_at - INTERVAL '7 days', '-infinity'] LOOP
    SELECT array_agg(x.recorded_at ORDER BY x.recorded_at), array_agg(x.dc_register_kwh ORDER BY x.recorded_at) INTO ats, shown
    FROM (
      SELECT r.recorded_at, r.dc_register_kwh FROM volt.vehicle_reading r
      WHERE r.vehicle_id = of_vehicle AND r.recorded_at < from_at AND r.recorded_at >= limit_at
        AND r.dc_register_kwh IS NOT NULL AND r.recorded_at <> ALL (ignored)
      ORDER BY r.recorded_at DESC LIMIT 2
    ) x;
    EXIT WHEN cardinality(ats) = 2;
  END LOOP;
  ats := coalesce(ats, '{}') || register_ats;
  shown := coalesce(shown, '{}') || register_kwhs;
  FOREACH limit_at IN ARRAY ARRAY[to_at + INTERVAL '7 days', 'infinity'] LOOP
    EXIT WHEN to_at > now();
    SELECT array_agg(x.recorded_at ORDER BY x.recorded_at), array_agg(x.dc_register_kwh ORDER BY x.recorded_at)
    INTO behind_ats, behind
    FROM (
      SELECT r.recorded_at, r.dc_register_kwh FROM volt.vehicle_reading r
      WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= to_at AND r.recorded_at < limit_at
        AND r.dc_register_kwh IS NOT NULL AND r.recorded_at <> ALL (ignored)
      ORDER BY r.recorded_at LIMIT 2
    ) x;
    EXIT WHEN cardinality(behind_ats) = 2;
  END LOOP;
  ats := ats || coalesce(behind_ats, '{}');
  shown := shown || coalesce(behind, '{}');
  IF EXISTS (SELECT FROM volt.register_decision d WHERE d.device_type = 'vehicle' AND d.device_id = of_vehicle) THEN
    SELECT array_agg(d.decision ORDER BY a.at), array_agg(d.start_kwh ORDER BY a.at) INTO decisions, starts
    FROM unnest(ats) AS a (at)
    LEFT JOIN volt.register_decision d
      ON d.device_type = 'vehicle' AND d.device_id = of_vehicle AND d.recorded_at = a.at;
  END IF;
  max_kw := coalesce(known.max_power_kw::numeric, volt_internal.setting_number('efficiency_max_power_kw'));
  -- Most registers only rise: the curve is then the readings themselves.
  IF decisions IS NULL AND (
    SELECT bool_and(r.kwh >= r.before_kwh AND r.kwh - r.before_kwh <= max_kw * date_part('epoch', r.at - r.since) / 3600)
    FROM (
      SELECT x.at, x.kwh, lag(x.at) OVER w AS since, lag(x.kwh) OVER w AS before_kwh
      FROM unnest(ats, shown) AS x (at, kwh) WINDOW w AS (ORDER BY x.at)
    ) r WHERE r.since IS NOT NULL) THEN
    RETURN QUERY
    SELECT r.since, r.at, r.kwh::numeric - r.before_kwh::numeric, 'register'
    FROM (
      SELECT x.at, x.kwh, lag(x.at) OVER w AS since, lag(x.kwh) OVER w AS before_kwh
      FROM unnest(ats, shown) AS x (at, kwh) WINDOW w AS (ORDER BY x.at)
    ) r
    WHERE r.since IS NOT NULL;
    RETURN;
  END IF;
  RETURN QUERY
  SELECT c.since, c.recorded_at, c.credited_kwh, 'register'
  FROM (
    SELECT k.*, lag(k.recorded_at) OVER (ORDER BY k.recorded_at) AS since
    FROM volt_internal.register_curve(ats, shown, max_kw, coalesce(known.register_kind, 'total'), decisions, starts) k
    WHERE k.credited_kwh IS NOT NULL
  ) c
  WHERE c.since IS NOT NULL AND c.verdict <> 'impossible_step' AND c.verdict <> 'lower_start';
END $$;
COMMENT ON FUNCTION volt_internal.session_flows(
  text, timestamptz, timestamptz, boolean, timestamptz[], numeric[], boolean, timestamptz[], double precision[]
) IS
  'The DC energy (kWh) of one vehicle as its intervals with energy and the steps of its register in a period tell it, each '
  'from when to when. 0: it was known that nothing flowed (of intervals only with_zeros).';
