-- What: from when to when a vehicle charged, as one kind of sign or another tells it.
-- Why:  docs/sessions.md has the definition: energy and power count as they are; a word counts where nothing says that no
--       energy flowed; of energy that is known as a whole only, the linked meters say when it flowed.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.spans(froms timestamptz[], tos timestamptz[]) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (SELECT coalesce(range_agg(tstzrange(s.from_at, s.to_at)), '{}') FROM unnest(froms, tos) AS s (from_at, to_at));
COMMENT ON FUNCTION volt_internal.spans(timestamptz[], timestamptz[]) IS 'Periods as one multirange; those without length are left out.';

CREATE OR REPLACE FUNCTION volt_internal.longer_than_a_quarter(during tstzmultirange) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN (SELECT coalesce(range_agg(r), '{}') FROM unnest(during) AS r WHERE upper(r) - lower(r) > INTERVAL '15 minutes');
COMMENT ON FUNCTION volt_internal.longer_than_a_quarter(tstzmultirange) IS 'The parts of a multirange that are longer than 15 minutes.';

CREATE OR REPLACE FUNCTION volt_internal.meters_ran(
  of_vehicle text, during tstzmultirange, OUT ran tstzmultirange, OUT stood_by tstzmultirange
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET jit = off AS $$
DECLARE
  standby_kw CONSTANT numeric := volt_internal.setting_number('efficiency_standby_kw');
  part record;
  found_ran tstzmultirange;
  found_stood tstzmultirange;
BEGIN
  ran := '{}';
  stood_by := '{}';
  FOR part IN
    SELECT l.meter_id, p.during * l.valid AS during
    FROM unnest(during) AS p (during)
    JOIN volt.vehicle_meter l ON l.vehicle_id = of_vehicle AND l.valid && p.during
    ORDER BY p.during, l.meter_id
  LOOP
    SELECT coalesce(range_agg(tstzrange(e.began_at, e.ended_at)) FILTER (WHERE e.runs), '{}'),
      coalesce(range_agg(tstzrange(e.began_at, e.ended_at)) FILTER (WHERE NOT e.runs), '{}')
    INTO found_ran, found_stood
    FROM (
      SELECT p.began_at, p.ended_at, p.kwh > standby_kw * extract(epoch FROM p.ended_at - p.began_at) / 3600 AS runs
      FROM volt_internal.meter_energy_pieces(part.meter_id, lower(part.during), upper(part.during)) p
      WHERE p.known IN ('register', 'interval')
    ) e;
    ran := ran + found_ran * tstzmultirange(part.during);
    stood_by := stood_by + found_stood * tstzmultirange(part.during);
  END LOOP;
  stood_by := stood_by - ran;
END $$;
COMMENT ON FUNCTION volt_internal.meters_ran(text, tstzmultirange) IS
  'When, within some periods, a linked meter of the vehicle measured more than standby, and when one did not and no other did.';

CREATE OR REPLACE FUNCTION volt_internal.session_evidence(of_vehicle text, from_at timestamptz, to_at timestamptz, signs record)
RETURNS TABLE (
  began_at timestamptz, ended_at timestamptz, sign text, kwh numeric, kw numeric, weak boolean, whole tstzrange, source text,
  no_energy tstzmultirange
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
#variable_conflict use_column
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  least_kwh CONSTANT numeric := 0.05;  -- what registers tremble by
  flow_from timestamptz[];
  flow_to timestamptz[];
  flow_kwh numeric[];
  flow_source text[];
  short_from timestamptz[];
  short_to timestamptz[];
  short_kwh numeric[];
  short_source text[];
  short_weak boolean[];
  by_energy tstzmultirange;
  by_power CONSTANT tstzmultirange := volt_internal.spans(signs.power_from, signs.power_to);
  by_word CONSTANT tstzmultirange := volt_internal.spans(signs.charging_from, signs.charging_to);
  no_power CONSTANT tstzmultirange := volt_internal.spans(signs.no_power_from, signs.no_power_to);
  words tstzmultirange;
  long_words tstzmultirange;
  nothing tstzmultirange;     -- where energy or power is known to be missing
  confirmed tstzmultirange;   -- where a word counts
  meters record;
  flow record;
  left_kwh numeric;
  unknown tstzmultirange;
  shown tstzmultirange;
  part tstzrange;
  km double precision;
BEGIN
  SELECT array_agg(f.began_at), array_agg(f.ended_at), array_agg(f.kwh), array_agg(f.source)
  INTO flow_from, flow_to, flow_kwh, flow_source
  FROM volt_internal.session_flows(
    of_vehicle, from_at, to_at, signs.has_intervals, signs.interval_at, signs.interval_kwh,
    cardinality(signs.charging_from) > 0, signs.register_at, signs.register_kwh) f;

  -- Short flows, unless the vehicle moved meanwhile; weak: it moved right before.
  SELECT array_agg(x.began_at), array_agg(x.ended_at), array_agg(x.kwh), array_agg(x.source), array_agg(x.weak)
  INTO short_from, short_to, short_kwh, short_source, short_weak
  FROM (
    SELECT s.began_at, s.ended_at, s.kwh, s.source, coalesce(s.moved_at > s.began_at - (s.ended_at - s.began_at), false) AS weak
    FROM (
      SELECT t.*, max(t.move_at) OVER (ORDER BY t.at, t.kind) AS moved_at
      FROM (
        SELECT f.ended_at AS at, 1 AS kind, f.began_at, f.ended_at, f.kwh, f.source, NULL::timestamptz AS move_at
        FROM unnest(flow_from, flow_to, flow_kwh, flow_source) AS f (began_at, ended_at, kwh, source)
        WHERE f.kwh > 0 AND f.ended_at - f.began_at <= quarter
        UNION ALL
        SELECT m.at, 0, NULL, NULL, NULL, NULL, m.at FROM unnest(signs.moves) AS m (at)
      ) t
    ) s
    WHERE s.kind = 1 AND coalesce(s.moved_at <= s.began_at, true)
    ORDER BY s.began_at
  ) x;
  by_energy := volt_internal.spans(short_from, short_to);

  no_energy := (
    SELECT coalesce(range_agg(tstzrange(f.began_at, f.ended_at)) FILTER (WHERE f.kwh = 0), '{}')
      - coalesce(range_agg(tstzrange(f.began_at, f.ended_at)) FILTER (WHERE f.kwh > 0), '{}')
    FROM unnest(flow_from, flow_to, flow_kwh) AS f (began_at, ended_at, kwh));
  RETURN QUERY
  SELECT '-infinity'::timestamptz, NULL::timestamptz, NULL, NULL::numeric, NULL::numeric, NULL::boolean, NULL::tstzrange, NULL, no_energy;
  -- Those that touch as one.
  RETURN QUERY
  SELECT min(y.began_at), max(y.ended_at), 'energy', sum(y.kwh), max(3600 * y.kwh / extract(epoch FROM y.ended_at - y.began_at)),
    bool_and(y.weak), tstzrange(min(y.began_at), max(y.ended_at)),
    CASE WHEN min(y.source) = max(y.source) THEN min(y.source) ELSE 'both' END, NULL::tstzmultirange
  FROM (
    SELECT z.*, count(*) FILTER (WHERE z.is_apart) OVER (ORDER BY z.began_at, z.ended_at ROWS UNBOUNDED PRECEDING) AS island
    FROM (
      SELECT x.*, x.began_at > max(x.ended_at) OVER (
        ORDER BY x.began_at, x.ended_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS is_apart
      FROM unnest(short_from, short_to, short_kwh, short_source, short_weak) AS x (began_at, ended_at, kwh, source, weak)
    ) z
  ) y
  GROUP BY y.island;
  RETURN QUERY
  SELECT p.from_at, p.to_at, 'power', NULL::numeric, NULL::numeric, false, tstzrange(p.from_at, p.to_at), NULL, NULL::tstzmultirange
  FROM unnest(signs.power_from, signs.power_to) AS p (from_at, to_at);

  -- Words, but where energy or power is known to be missing and no meter ran.
  words := by_word - by_energy - by_power;
  long_words := volt_internal.longer_than_a_quarter(words);
  nothing := no_power + volt_internal.longer_than_a_quarter(no_energy);
  confirmed := words - long_words - nothing;
  IF NOT isempty(long_words) THEN
    meters := volt_internal.meters_ran(of_vehicle, long_words);
    confirmed := confirmed + long_words * meters.ran
      + (long_words - nothing - volt_internal.longer_than_a_quarter(meters.stood_by));
  END IF;
  RETURN QUERY
  SELECT lower(w), upper(w), 'status', NULL::numeric, NULL::numeric, false, w, NULL, NULL::tstzmultirange FROM unnest(confirmed) AS w
  UNION ALL
  SELECT p.at, p.at, 'status', NULL, NULL, false, tstzrange(p.at, p.at), NULL, NULL::tstzmultirange
  FROM unnest(signs.charging_from, signs.charging_to) AS p (at, until)
  WHERE p.at = p.until AND NOT nothing @> p.at;

  -- Energy that is known as a whole only: where the vehicle itself does not say when it flowed, its meters do.
  FOR flow IN
    SELECT f.*, f.kwh - CASE WHEN f.source = 'register' THEN (
        SELECT coalesce(sum(i.kwh * extract(epoch FROM least(i.ended_at, f.ended_at) - greatest(i.began_at, f.began_at))
          / extract(epoch FROM i.ended_at - i.began_at)), 0)
        FROM unnest(flow_from, flow_to, flow_kwh, flow_source) AS i (began_at, ended_at, kwh, source)
        WHERE i.source = 'interval' AND i.kwh > 0 AND i.began_at < f.ended_at AND i.ended_at > f.began_at) ELSE 0 END AS left_kwh
    FROM unnest(flow_from, flow_to, flow_kwh, flow_source) AS f (began_at, ended_at, kwh, source)
    WHERE f.kwh > 0 AND f.ended_at - f.began_at > quarter
    ORDER BY f.began_at
  LOOP
    CONTINUE WHEN flow.left_kwh <= least_kwh;
    shown := (by_power + confirmed + by_energy) * tstzmultirange(tstzrange(flow.began_at, flow.ended_at));
    unknown := tstzmultirange(tstzrange(flow.began_at, flow.ended_at)) - by_power - by_word - no_power - by_energy
      - volt_internal.spans(signs.unplugged_from, signs.unplugged_to);
    IF isempty(unknown) AND isempty(shown) THEN
      unknown := tstzmultirange(tstzrange(flow.began_at, flow.ended_at));
    END IF;
    CONTINUE WHEN isempty(unknown);
    meters := volt_internal.meters_ran(of_vehicle, unknown);
    RETURN QUERY
    SELECT lower(m), upper(m), 'meter', flow.left_kwh, NULL::numeric, false, tstzrange(flow.began_at, flow.ended_at),
      flow.source, NULL::tstzmultirange
    FROM unnest(meters.ran) AS m
    WHERE NOT EXISTS (SELECT FROM unnest(signs.moves) AS v (at) WHERE v.at > lower(m) AND v.at < upper(m));
    CONTINUE WHEN NOT isempty(meters.ran);
    FOREACH part IN ARRAY ARRAY(SELECT unnest(unknown)) LOOP
      CONTINUE WHEN EXISTS (SELECT FROM unnest(signs.moves) AS v (at) WHERE v.at > lower(part) AND v.at <= upper(part));
      km := (SELECT sum(d.km) FROM unnest(signs.driven_from, signs.driven_to, signs.driven_km) AS d (from_at, to_at, km)
             WHERE d.from_at >= lower(part) AND d.to_at <= upper(part));
      -- Brakes cannot give back as much.
      CONTINUE WHEN km >= 1 AND flow.left_kwh <= 0.5 * km;
      RETURN QUERY
      SELECT lower(part), upper(part), 'energy', flow.left_kwh, NULL::numeric, false,
        tstzrange(flow.began_at, flow.ended_at), flow.source, NULL::tstzmultirange;
    END LOOP;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt_internal.session_evidence(text, timestamptz, timestamptz, record) IS
  'From when to when the vehicle charged, by one sign each: energy, power, status or meter; with the DC energy (kWh) and mean '
  'power (kW) where they are known, and the stretch within which the energy is known. weak: it moved right before. '
  'The row without a sign has no_energy: where it is known that none flowed.';
