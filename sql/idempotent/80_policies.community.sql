-- What: TimescaleDB's own jobs: refresh of the continuous aggregates, and columnstore of raw readings.
-- Why:  late readings are taken for as long as raw ones are stored, so the refresh looks back that far and one day more,
--       and 75_retention drops a day after that: a refresh over dropped chunks would wipe hours that nothing can compute
--       again. No retention policy: TimescaleDB's would not wait for the kept energy. Made again only when the settings
--       changed, so that running jobs keep their schedule; the first refresh waits, because until then everything is
--       computed live and late readings show at once.
-- Lock: SHARE UPDATE EXCLUSIVE on the tables, short.

CREATE OR REPLACE FUNCTION volt_internal.apply_policies() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
  raw_days integer := volt_internal.setting_number('raw_retention_days');
  columnstore_days integer := volt_internal.setting_number('columnstore_after_days');
  wanted text := format('3 raw %s columnstore %s', raw_days, columnstore_days);
  device text;
BEGIN
  IF EXISTS (SELECT FROM volt_internal.setting WHERE name = 'policies' AND value = wanted) THEN
    RETURN;
  END IF;
  FOREACH device IN ARRAY ARRAY['vehicle', 'meter'] LOOP
    PERFORM remove_continuous_aggregate_policy(format('volt.%s_hourly', device)::regclass, if_exists => true);
    PERFORM add_continuous_aggregate_policy(
      format('volt.%s_hourly', device)::regclass,
      start_offset => make_interval(days => raw_days + 1),
      end_offset => INTERVAL '1 hour',
      schedule_interval => INTERVAL '10 minutes',
      initial_start => now() + INTERVAL '10 minutes');
    PERFORM remove_continuous_aggregate_policy(format('volt.%s_daily', device)::regclass, if_exists => true);
    PERFORM add_continuous_aggregate_policy(
      format('volt.%s_daily', device)::regclass,
      start_offset => make_interval(days => raw_days + 1),
      end_offset => INTERVAL '1 day',
      schedule_interval => INTERVAL '1 hour',
      initial_start => now() + INTERVAL '15 minutes');

    IF NOT EXISTS (
      SELECT FROM timescaledb_information.hypertables
      WHERE hypertable_schema = 'volt' AND hypertable_name = format('%s_reading', device) AND compression_enabled
    ) THEN
      EXECUTE format(
        'ALTER TABLE volt.%1$s_reading SET (timescaledb.enable_columnstore = true,'
        ' timescaledb.segmentby = %2$L, timescaledb.orderby = %3$L)',
        device, device || '_id', 'recorded_at DESC');
    END IF;
    CALL remove_columnstore_policy(format('volt.%s_reading', device)::regclass, if_exists => true);
    CALL add_columnstore_policy(
      format('volt.%s_reading', device)::regclass, after => make_interval(days => columnstore_days));
    PERFORM remove_retention_policy(format('volt.%s_reading', device)::regclass, if_exists => true);
  END LOOP;
  INSERT INTO volt_internal.setting (name, value) VALUES ('policies', wanted)
  ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now();
END $$;
COMMENT ON FUNCTION volt_internal.apply_policies() IS
  'Adapts TimescaleDB''s jobs to volt_internal.setting; does nothing where they fit. Community edition only.';
SELECT volt_internal.apply_policies();
