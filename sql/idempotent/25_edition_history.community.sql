-- What: the second half of a move from Apache-2 to Community: hours that only the roll-up tables have.
-- Why:  raw readings are stored for raw_retention_days, hourly history for ever. What is older than that is copied into the
--       continuous aggregates' own tables; the refresh computes the last raw_retention_days + 1 again, so the two overlap
--       by a day and leave no gap. Nothing newer is copied, because the newest row there moves the watermark.
-- Lock: none on raw data; the roll-up tables are dropped at the end.

DO $$
DECLARE
  device text;
  copied_until timestamptz := now() - make_interval(days => volt_internal.setting_number('raw_retention_days')::int);
  target text;
BEGIN
  IF to_regclass('volt_internal.vehicle_hourly_rollup') IS NULL THEN
    RETURN;
  END IF;
  FOREACH device IN ARRAY ARRAY['vehicle', 'meter'] LOOP
    SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) INTO STRICT target
    FROM timescaledb_information.continuous_aggregates
    WHERE view_schema = 'volt' AND view_name = device || '_hourly';
    EXECUTE format('INSERT INTO %s SELECT * FROM volt_internal.%I WHERE hour < %L',
                   target, device || '_hourly_rollup', copied_until);
    EXECUTE format('DROP FUNCTION volt_internal.%I(timestamptz, timestamptz)', device || '_hours');
    EXECUTE format('DROP FUNCTION volt_internal.%I(text, timestamptz, timestamptz)', device || '_hours_of');
    EXECUTE format('DROP TABLE volt_internal.%I', device || '_hourly_rollup');
  END LOOP;
  UPDATE volt_internal.rollup_state SET watermark = '-infinity';
END $$;
