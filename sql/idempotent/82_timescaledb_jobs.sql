-- What: how TimescaleDB's own jobs for voltd's tables are doing.
-- Why:  they fail in the background, where nobody sees it. timescaledb_information.job_errors shows an error only to the
--       owner of its job, so this reads as the owner; volt_writer learns of voltd's jobs alone. The Apache-2 edition has
--       the same views, and no such job.
-- Lock: ACCESS SHARE.

CREATE OR REPLACE FUNCTION volt_internal.timescaledb_jobs() RETURNS TABLE (
  job_id integer, kind text, relation text, owner text, every interval, paused boolean, running boolean,
  succeeded boolean, waiting interval, failed boolean, failures integer, error text, sqlstate text,
  refresh_from timestamptz, refresh_to timestamptz, bucket interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT
    j.job_id,
    CASE j.proc_name WHEN 'policy_refresh_continuous_aggregate' THEN 'refresh' WHEN 'policy_compression' THEN 'columnstore'
      WHEN 'policy_retention' THEN 'retention' ELSE j.proc_name END,
    concat_ws('.', j.hypertable_schema, j.hypertable_name),
    j.owner::text,
    j.schedule_interval,
    NOT j.scheduled,
    coalesce(s.job_status = 'Running', false),
    coalesce(s.last_successful_finish > '-infinity', false),
    now() - coalesce(nullif(s.last_successful_finish, '-infinity'), j.initial_start),
    coalesce(s.last_run_status = 'Failed', false),
    last.failures,
    last.error,
    last.sqlstate,
    date_bin(b.bucket, now() - (j.config ->> 'start_offset')::interval, TIMESTAMPTZ '2000-01-01 00:00:00+00') + b.bucket,
    date_bin(b.bucket, now() - (j.config ->> 'end_offset')::interval, TIMESTAMPTZ '2000-01-01 00:00:00+00'),
    b.bucket
  FROM timescaledb_information.jobs j
  LEFT JOIN timescaledb_information.job_stats s USING (job_id)
  LEFT JOIN LATERAL (
    SELECT f.bucket_width::interval AS bucket
    FROM _timescaledb_catalog.continuous_aggs_bucket_function f
    WHERE f.mat_hypertable_id = (j.config ->> 'mat_hypertable_id')::integer
  ) b ON true
  CROSS JOIN LATERAL (
    SELECT count(*)::integer AS failures,
      (array_agg(e.err_message ORDER BY e.start_time DESC))[1] AS error,
      (array_agg(e.sqlerrcode ORDER BY e.start_time DESC))[1] AS sqlstate
    FROM timescaledb_information.job_errors e
    WHERE e.job_id = j.job_id AND e.start_time > coalesce(s.last_successful_finish, '-infinity')
  ) last
  WHERE j.hypertable_schema IN ('volt', 'volt_internal')
  -- Aggregates of readings before those of aggregates: it is the order in which they are refreshed.
  ORDER BY (j.config ->> 'mat_hypertable_id')::integer NULLS LAST, j.job_id
$$;
COMMENT ON FUNCTION volt_internal.timescaledb_jobs() IS
  'TimescaleDB''s jobs for tables and aggregates of volt and volt_internal: what each does, how often (every), whether it '
  'is paused or running, how long ago it succeeded (waiting; before the first success since when that is due), whether '
  'the last run failed, failures in a row with the last error, and of a refresh its window in whole buckets. Nothing on '
  'the Apache-2 edition.';
