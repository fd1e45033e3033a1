-- What: hours and days of corrected readings, computed again at once.
-- Why:  the refresh policies would need up to an hour; whoever corrects a value looks sooner. Hours and days that have
--       not ended are left alone: materialised, they would hide readings that still arrive.
-- Lock: those of refresh_continuous_aggregate, of one day.

CREATE OR REPLACE PROCEDURE volt_internal.follow_correction(day timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
  device text;
  hours_until timestamptz := least(day + INTERVAL '1 day', date_trunc('hour', now(), 'UTC') - INTERVAL '1 hour');
BEGIN
  FOREACH device IN ARRAY ARRAY['vehicle', 'meter'] LOOP
    IF day < hours_until THEN
      CALL refresh_continuous_aggregate(format('volt.%s_hourly', device)::regclass, day, hours_until);
    END IF;
    IF day + INTERVAL '1 day' <= date_trunc('day', now(), 'UTC') - INTERVAL '1 day' THEN
      CALL refresh_continuous_aggregate(format('volt.%s_daily', device)::regclass, day, day + INTERVAL '1 day');
    END IF;
  END LOOP;
END $$;
COMMENT ON PROCEDURE volt_internal.follow_correction(timestamptz) IS
  'Computes the hours and the day from a UTC midnight on again, as far as they have ended.';
