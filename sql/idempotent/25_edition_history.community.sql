-- What: the second half of a move from Apache-2 to Community: hours that only the roll-up tables have.
-- Why:  raw readings are kept raw_retention_days, hourly history for ever. What is older than the raw readings is copied
--       into the continuous aggregates' own tables, which the refresh never touches that far back.
-- Lock: none on raw data; the roll-up tables are dropped at the end.

DO $$
DECLARE
  device text;
  raw_from timestamptz;
  target text;
BEGIN
  IF to_regclass('volt.vehicle_hourly_rollup') IS NULL THEN
    RETURN;
  END IF;
  FOREACH device IN ARRAY ARRAY['vehicle', 'meter'] LOOP
    SELECT coalesce(min(range_start), 'infinity') INTO raw_from
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'volt' AND hypertable_name = device || '_reading';
    SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) INTO STRICT target
    FROM timescaledb_information.continuous_aggregates
    WHERE view_schema = 'volt' AND view_name = device || '_hourly';
    EXECUTE format('INSERT INTO %s SELECT * FROM volt.%I WHERE hour < %L', target, device || '_hourly_rollup', raw_from);
    EXECUTE format('DROP FUNCTION volt.%I(timestamptz, timestamptz)', device || '_hours');
    EXECUTE format('DROP FUNCTION volt.%I(text, timestamptz, timestamptz)', device || '_hours_of');
    EXECUTE format('DROP TABLE volt.%I', device || '_hourly_rollup');
  END LOOP;
  DROP FUNCTION volt.rollup_watermark();
  UPDATE volt.rollup_state SET watermark = '-infinity';
END $$;
