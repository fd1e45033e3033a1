-- What: energy that flowed back, of one device by quarter hour or hour, from its raw readings.
-- Why:  returned energy has fields of its own, and the definition of delivered energy: 27_energy_quarters.sql.
-- Lock: none on data.

-- each device:
CREATE OR REPLACE FUNCTION volt.{device}_returned_energy(
  of_{device} text, from_at timestamptz, to_at timestamptz, step text DEFAULT 'hour'
) RETURNS TABLE (began_at timestamptz, returned_kwh numeric, coverage numeric, estimated boolean, suspect boolean)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  stride interval := CASE step WHEN 'hour' THEN INTERVAL '1 hour' WHEN 'quarter_hour' THEN INTERVAL '15 minutes' END;
BEGIN
  IF stride IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('there is no step %L', step), HINT = 'quarter_hour or hour';
  END IF;
  RETURN QUERY
  SELECT p.began_at, sum(q.kwh), round(sum(q.covered_s) / extract(epoch FROM upper(p.during) - lower(p.during)), 4),
    bool_or(EXISTS (SELECT FROM unnest(q.gaps) AS g WHERE NOT g <@ p.during)), bool_or(q.suspect)
  FROM volt_internal.{device}_energy_quarters(of_{device}, from_at, to_at, 'returned') q
  CROSS JOIN LATERAL (SELECT date_bin(stride, q.quarter_hour, '2000-01-01 00:00+00')) AS b (began_at)
  CROSS JOIN LATERAL (
    SELECT b.began_at, tstzrange(greatest(b.began_at, from_at), least(b.began_at + stride, to_at))
  ) AS p (began_at, during)
  GROUP BY p.began_at, p.during
  ORDER BY p.began_at;
END $$;
COMMENT ON FUNCTION volt.{device}_returned_energy(text, timestamptz, timestamptz, text) IS
  -- vehicle: 'Energy out of one vehicle''s battery (vehicle to grid) by hour or, with step quarter_hour, by quarter hour (UTC) '
  -- meter: 'Energy back into the grid through one meter by hour or, with step quarter_hour, by quarter hour (UTC) '
  'within [from, to), exact to the second, from its raw readings, kWh; defined as delivered energy is, of which it is never '
  'a part. coverage: share of the time, as far as it lies in the period, for which it was measured. estimated: a gap of a '
  'register or an interval of over a quarter hour is cut, and its energy shared out evenly. suspect: a step of the register '
  'is not counted. No row: nothing is known.';

-- end
