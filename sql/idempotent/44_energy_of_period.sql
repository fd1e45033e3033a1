-- What: energy of one device by quarter hour in a period: closed quarter hours as they are kept, the rest from raw readings.
-- Why:  the definition (27_energy_quarters) reads days of raw readings around a period. What is closed has been computed by
--       it already, and of most devices the readings next to the rest are enough. A device of which this is not certain has
--       all of the period computed by the definition: the figures are always those of quarters_from_raw.
-- Lock: none on data.

-- each device:
CREATE OR REPLACE FUNCTION volt_internal.{device}_quarters_from_raw(of_{device} text, from_at timestamptz, to_at timestamptz)
RETURNS TABLE (
  -- include: quarter_columns.sql
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  -- vehicle: WITH moving AS (SELECT DISTINCT volt_internal.quarter_hour(r.recorded_at) AS quarter_hour FROM volt.vehicle_reading r WHERE r.vehicle_id = of_vehicle AND r.recorded_at >= from_at AND r.recorded_at < to_at AND r.speed_kmh > 5)
  SELECT q.*,
    -- vehicle: EXISTS (SELECT FROM moving m WHERE m.quarter_hour = q.quarter_hour)
    -- meter: false
  FROM volt_internal.{device}_energy_quarters(of_{device}, from_at, to_at) q;
END $$;
COMMENT ON FUNCTION volt_internal.{device}_quarters_from_raw(text, timestamptz, timestamptz) IS
  'volt_internal.{device}_energy_quarters with whether the {device} moved in the quarter hour, as far as it lies in the period.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_kept(of_{device} text, from_at timestamptz, to_at timestamptz)
RETURNS volt_internal.{device}_quarter[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET constraint_exclusion = off AS $$
BEGIN
  RETURN (
    SELECT array_agg(q) FROM volt_internal.{device}_quarter q
    WHERE q.{device}_id = of_{device} AND q.quarter_hour >= from_at AND q.quarter_hour < to_at);
END $$;
COMMENT ON FUNCTION volt_internal.{device}_kept(text, timestamptz, timestamptz) IS 'The kept quarter hours of one {device} in a period.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_readings_near(
  of_{device} text, from_at timestamptz, to_at timestamptz,
  OUT ats timestamptz[], OUT kwhs numeric[], OUT registers double precision[], OUT moving timestamptz[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET constraint_exclusion = off AS $$
BEGIN
  SELECT array_agg(r.recorded_at), array_agg(r.interval_kwh), array_agg(r.register_kwh),
    -- vehicle: array_agg(r.recorded_at) FILTER (WHERE r.speed_kmh > 5)
    -- meter: NULL::timestamptz[]
  INTO ats, kwhs, registers, moving
  FROM (
    SELECT r.recorded_at,
      -- vehicle: r.kwh_delivered_dc::numeric AS interval_kwh, r.dc_register_kwh AS register_kwh, r.speed_kmh
      -- meter: r.kwh_consumed_ac::numeric AS interval_kwh, r.ac_register_kwh AS register_kwh
    FROM volt.{device}_reading r
    WHERE r.{device}_id = of_{device} AND r.recorded_at >= from_at AND r.recorded_at <= to_at
    ORDER BY r.recorded_at
  ) r;
END $$;
COMMENT ON FUNCTION volt_internal.{device}_readings_near(text, timestamptz, timestamptz) IS
  'Readings of one {device} from one time to another, both included: times, energy (kWh), registers (kWh); and when it moved.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_interval_now(
  of_{device} text, watermark timestamptz, ats timestamptz[], kwhs numeric[]
) RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN (
    WITH reading AS (
      SELECT r.at, date_trunc('day', r.at, 'UTC') AS day, lag(r.at) OVER (ORDER BY r.at) AS before_at
      FROM unnest(ats, kwhs) AS r (at, kwh) WHERE r.kwh IS NOT NULL
    ), spacing AS (
      SELECT r.day, k.device_id IS NOT NULL AS is_known, k.usual_s, k.shorter, k.as_usual, k.longer,
        volt_internal.whole_seconds(r.at - CASE WHEN r.before_at >= r.day THEN r.before_at ELSE k.last_at END) AS s
      FROM reading r
      LEFT JOIN volt_internal.device_interval k ON k.device_type = '{device}' AND k.device_id = of_{device} AND k.day = r.day
      WHERE r.at >= watermark
    ), of_day AS (
      SELECT CASE
        WHEN NOT s.is_known THEN coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY s.s), 900)
        -- Its median is the same with these, too.
        WHEN 2 * (s.shorter + count(*) FILTER (WHERE s.s < s.usual_s)) < s.shorter + s.as_usual + s.longer + count(s.s)
          AND s.shorter + s.as_usual + count(*) FILTER (WHERE s.s <= s.usual_s) >= s.longer + count(*) FILTER (WHERE s.s > s.usual_s)
          THEN s.usual_s END AS usual_s
      FROM spacing s
      GROUP BY s.day, s.is_known, s.usual_s, s.shorter, s.as_usual, s.longer
      UNION ALL
      -- The first interval of a day reaches into the day before.
      SELECT coalesce((
        SELECT k.usual_s FROM volt_internal.device_interval k
        WHERE k.device_type = '{device}' AND k.device_id = of_{device} AND k.day = watermark - INTERVAL '1 day'), 900)
      WHERE watermark = date_trunc('day', watermark, 'UTC')
    )
    SELECT CASE WHEN count(*) = 0 THEN 900
                WHEN count(*) = count(d.usual_s) AND min(d.usual_s) = max(d.usual_s) THEN min(d.usual_s) END
    FROM of_day d);
END $$;
COMMENT ON FUNCTION volt_internal.{device}_interval_now(text, timestamptz, timestamptz[], numeric[]) IS
  'The usual interval (s) of one {device} with its readings behind the watermark; NULL: none, another than that of what is kept, or several.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_interval_then(of_{device} text, quarter_at timestamptz) RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  of_day CONSTANT timestamptz := date_trunc('day', quarter_at, 'UTC');
BEGIN
  RETURN (
    SELECT CASE
      -- Long intervals of the next day may reach into this one.
      WHEN of_day = date_trunc('day', quarter_at + INTERVAL '30 minutes', 'UTC')
        AND coalesce(max(k.usual_s) FILTER (WHERE k.day > of_day), 0) <= 900
        THEN coalesce(max(k.usual_s) FILTER (WHERE k.day = of_day), 900) END
    FROM volt_internal.device_interval k
    WHERE k.device_type = '{device}' AND k.device_id = of_{device} AND k.day IN (of_day, of_day + INTERVAL '1 day'));
END $$;
COMMENT ON FUNCTION volt_internal.{device}_interval_then(text, timestamptz) IS
  'The usual interval (s) of one {device} in a closed quarter hour and the next one; NULL: unknown, or not the only one.';

CREATE OR REPLACE FUNCTION volt_internal.{device}_quarters_of(of_{device} text, from_at timestamptz, to_at timestamptz, from_raw boolean)
RETURNS TABLE (
  -- include: quarter_columns.sql
)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  quarter CONSTANT interval := INTERVAL '15 minutes';
  first_at CONSTANT timestamptz := volt_internal.quarter_hour(from_at + INTERVAL '899.999999 seconds');
  closed_at timestamptz;  -- the kept quarter hours are from the first to this one
  known_until timestamptz;
  known record;
  kept volt_internal.{device}_quarter[];
  near record;
  cut record;
  usual_s numeric;
  shown_kwh numeric;
  of_source text;
BEGIN
  SELECT s.energy_watermark AS watermark, date_trunc('day', s.energy_watermark, 'UTC') AS today, v.interval_s,
    coalesce(v.max_power_kw, volt_internal.setting_number('efficiency_max_power_kw')::double precision) AS max_power_kw,
    -- vehicle: c.dc_register_at AS register_at,
    -- meter: c.ac_register_at AS register_at,
    ARRAY(SELECT d.recorded_at FROM volt.register_decision d
          WHERE d.device_type = '{device}' AND d.device_id = of_{device}) AS decided,
    EXISTS (SELECT FROM volt_internal.energy_dirty d WHERE d.device_type = '{device}' AND d.device_id = of_{device})
      OR EXISTS (SELECT FROM volt_internal.{device}_rollup_dirty d WHERE d.{device}_id = of_{device}) AS is_marked,
    EXISTS (SELECT FROM volt_internal.energy_provisional p
            WHERE p.device_type = '{device}' AND p.device_id = of_{device} AND p.day < to_at) AS is_provisional
  INTO known
  FROM volt_internal.rollup_state s
  LEFT JOIN volt.{device} v ON v.{device}_id = of_{device}
  LEFT JOIN volt.{device}_current c ON c.{device}_id = of_{device};
  IF from_raw OR NOT isfinite(known.watermark) OR known.is_marked OR (known.is_provisional AND known.register_at IS NOT NULL) THEN
    RETURN QUERY SELECT * FROM volt_internal.{device}_quarters_from_raw(of_{device}, from_at, to_at);
    RETURN;
  END IF;
  closed_at := least(volt_internal.quarter_hour(to_at), known.watermark);
  kept := volt_internal.{device}_kept(of_{device}, least(volt_internal.quarter_hour(from_at), closed_at) - quarter, closed_at);

  -- What came after the watermark tells also of what is closed: how a register goes on, and how long an interval is.
  IF to_at + INTERVAL '1 day' > known.today OR known.register_at IS NOT NULL THEN
    known_until := greatest(known.watermark, to_at) + INTERVAL '2 days';
    near := volt_internal.{device}_readings_near(of_{device}, known.watermark - quarter, known_until);
    IF NOT coalesce(known.decided && near.ats, false) AND coalesce(known.register_at <= known_until, true) THEN
      usual_s := coalesce(known.interval_s, volt_internal.{device}_interval_now(of_{device}, known.watermark, near.ats, near.kwhs));
      IF known.register_at IS NOT NULL THEN
        shown_kwh := (
          SELECT k.register_kwh
          FROM unnest(CASE WHEN closed_at = known.watermark THEN kept
                           ELSE volt_internal.{device}_kept(of_{device}, known.watermark - quarter, known.watermark) END) AS k
          WHERE k.quarter_hour = known.watermark - quarter);
      END IF;
      of_source := volt_internal.plain_source(
        near.ats, near.kwhs, near.registers, known.watermark, greatest(known.watermark, to_at), usual_s, known.max_power_kw,
        shown_kwh, known.register_at);
    END IF;
    IF of_source IS NULL THEN
      RETURN QUERY SELECT * FROM volt_internal.{device}_quarters_from_raw(of_{device}, from_at, to_at);
      RETURN;
    END IF;
    IF to_at > known.watermark THEN
      RETURN QUERY SELECT * FROM volt_internal.plain_quarters(
        near.ats, near.kwhs, near.registers, near.moving, greatest(from_at, known.watermark), to_at, usual_s, of_source);
    END IF;
  END IF;
  RETURN QUERY
  SELECT k.quarter_hour, 900::numeric, k.kwh, k.covered_s, k.gap_s, k.low_kwh, k.high_kwh, k.peak_kw, k.gaps, k.suspect, k.source,
    -- vehicle: k.moved
    -- meter: false
  FROM unnest(kept) AS k
  WHERE k.quarter_hour >= first_at;

  -- The closed quarter hours that the period cuts, by the readings around them where that is enough.
  FOR cut IN
    SELECT c.began_at, c.ended_at, volt_internal.quarter_hour(c.began_at) AS quarter_hour
    FROM (VALUES (from_at, least(first_at, to_at, known.watermark)),
      (greatest(closed_at, first_at), least(to_at, known.watermark))) AS c (began_at, ended_at)
    WHERE c.began_at < c.ended_at
  LOOP
    near := volt_internal.{device}_readings_near(of_{device}, cut.quarter_hour - quarter, cut.quarter_hour + 2 * quarter);
    usual_s := coalesce(known.interval_s, volt_internal.{device}_interval_then(of_{device}, cut.quarter_hour));
    shown_kwh := (SELECT k.register_kwh FROM unnest(kept) AS k WHERE k.quarter_hour = cut.quarter_hour - quarter);
    of_source := CASE WHEN coalesce(known.decided && near.ats, false) THEN NULL ELSE volt_internal.plain_source(
      near.ats, near.kwhs, near.registers, cut.quarter_hour, cut.quarter_hour + quarter, usual_s, known.max_power_kw, shown_kwh,
      known.register_at) END;
    IF of_source IS NULL THEN
      RETURN QUERY SELECT * FROM volt_internal.{device}_quarters_from_raw(of_{device}, cut.began_at, cut.ended_at);
    ELSE
      RETURN QUERY SELECT * FROM volt_internal.plain_quarters(
        near.ats, near.kwhs, near.registers, near.moving, cut.began_at, cut.ended_at, usual_s, of_source);
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt_internal.{device}_quarters_of(text, timestamptz, timestamptz, boolean) IS
  'The same as {device}_quarters_from_raw, from what is kept as far as that is certain to be the same; from_raw: by that itself.';

-- end
