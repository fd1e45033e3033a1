-- What: newest state and history of one vehicle or meter, as programs ask for them.
-- Why:  functions, so that callers need not know how readings are stored. A history is read a chunk at a time, and each
--       query is planned for the period it asks for: one plan for all chunks takes ten times as long as a page
--       once there are hundreds of them.
-- Lock: none on data.

-- A database that was made before the period and the order could be chosen.
DROP FUNCTION IF EXISTS volt.vehicle_history(text, timestamptz, integer);

-- each device:
CREATE OR REPLACE FUNCTION volt.{device}_latest(of_{device} text) RETURNS SETOF volt.{device}_current
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
  SELECT c.* FROM volt.{device}_current c WHERE c.{device}_id = of_{device};
END;
COMMENT ON FUNCTION volt.{device}_latest(text) IS
  'Newest known state of one {device}; no row: never heard of. Units as in {device}_current.';

CREATE OR REPLACE FUNCTION volt.{device}_history(
  of_{device} text, from_at timestamptz DEFAULT NULL, to_at timestamptz DEFAULT NULL, newest_first boolean DEFAULT true,
  after timestamptz DEFAULT NULL, page_size integer DEFAULT 100
) RETURNS SETOF volt.{device}_reading
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  since timestamptz := coalesce(from_at, '-infinity');
  until timestamptz := coalesce(to_at, 'infinity');
  missing integer := page_size;
  returned integer;
  part record;
BEGIN
  IF since > until THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('{device}_history: from_at (%s) is after to_at (%s)', since, until),
      HINT = 'the period is from from_at to before to_at: exchange the two';
  ELSIF newest_first IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = '{device}_history: newest_first is NULL',
      HINT = 'newest_first => true begins with the newest reading, false with the oldest';
  ELSIF page_size IS NULL OR page_size NOT BETWEEN 1 AND 10000 THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('{device}_history: page_size is %s', coalesce(page_size::text, 'NULL')),
      HINT = 'ask for 1 to 10000 readings; for the next page pass the last recorded_at of this one as "after"';
  END IF;

  IF newest_first THEN
    until := least(until, after);
  ELSE
    since := greatest(since, after + INTERVAL '1 microsecond'); -- the resolution of recorded_at
  END IF;
  FOR part IN
    SELECT greatest(since, chunk.starts) AS starts, least(until, chunk.ends) AS ends
    FROM _timescaledb_catalog.hypertable h
    JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id
    JOIN _timescaledb_catalog.dimension_slice s ON s.dimension_id = d.id
    CROSS JOIN LATERAL (
      SELECT
        _timescaledb_functions.to_timestamp(s.range_start) AS starts,
        _timescaledb_functions.to_timestamp(s.range_end) AS ends
    ) AS chunk
    WHERE h.schema_name = 'volt' AND h.table_name = '{device}_reading' AND d.column_name = 'recorded_at'
      AND chunk.starts < until AND chunk.ends > since
    ORDER BY CASE WHEN newest_first THEN chunk.starts END DESC, chunk.starts
  LOOP
    IF newest_first THEN
      RETURN QUERY
        SELECT r.* FROM volt.{device}_reading r
        WHERE r.{device}_id = of_{device} AND r.recorded_at >= part.starts AND r.recorded_at < part.ends
        ORDER BY r.recorded_at DESC
        LIMIT missing;
    ELSE
      RETURN QUERY
        SELECT r.* FROM volt.{device}_reading r
        WHERE r.{device}_id = of_{device} AND r.recorded_at >= part.starts AND r.recorded_at < part.ends
        ORDER BY r.recorded_at
        LIMIT missing;
    END IF;
    GET DIAGNOSTICS returned = ROW_COUNT;
    missing := missing - returned;
    EXIT WHEN missing = 0;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt.{device}_history(text, timestamptz, timestamptz, boolean, timestamptz, integer) IS
  'Raw readings of one {device} with from_at <= recorded_at < to_at (NULL: no limit), newest or oldest first, a page of '
  'up to page_size (1-10000) rows at a time. For the next page pass the last recorded_at of this one as "after". No page '
  'repeats a reading or leaves out one that was stored when the first page was read. Units as in {device}_reading.';
-- end
