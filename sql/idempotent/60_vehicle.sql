-- What: what programs ask about one vehicle.
-- Why:  functions, so that callers need not know which of the tables answers fastest.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt.vehicle_latest(of_vehicle text) RETURNS SETOF volt.vehicle_current
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT c.* FROM volt.vehicle_current c WHERE c.vehicle_id = of_vehicle;
END;
COMMENT ON FUNCTION volt.vehicle_latest(text) IS 'Newest known state of one vehicle; no row: never heard of. Units as in vehicle_current.';

CREATE OR REPLACE FUNCTION volt.vehicle_history(
  of_vehicle text, before timestamptz DEFAULT NULL, page_size integer DEFAULT 100
) RETURNS SETOF volt.vehicle_reading
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT r.* FROM volt.vehicle_reading r
    WHERE r.vehicle_id = of_vehicle AND r.recorded_at < coalesce(before, 'infinity')
    ORDER BY r.recorded_at DESC
    LIMIT least(greatest(page_size, 1), 10000);
END $$;
COMMENT ON FUNCTION volt.vehicle_history(text, timestamptz, integer) IS
  'Raw readings of one vehicle, newest first, a page at a time (1-10000 rows): pass the last recorded_at of a page as '
  '"before" to get the next. Units as in vehicle_reading.';
