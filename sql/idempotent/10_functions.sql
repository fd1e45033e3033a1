-- What: the rule for registers and small helpers that the other files build on.
-- Why:  one definition of a register's step is used within an hour, across hours and across days.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.setting_number(setting_name text) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT s.value::numeric FROM volt_internal.setting s WHERE s.name = setting_name);
COMMENT ON FUNCTION volt_internal.setting_number(text) IS
  'A numeric setting of volt_internal.setting, in the unit that its name says; NULL: not set.';

CREATE OR REPLACE FUNCTION volt_internal.is_apache() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (SELECT FROM volt_internal.setting s WHERE s.name = 'edition' AND s.value = 'apache');
COMMENT ON FUNCTION volt_internal.is_apache() IS 'Whether this is TimescaleDB''s Apache-2 edition, without continuous aggregates.';

CREATE OR REPLACE FUNCTION volt_internal.check_period(from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most CONSTANT interval := INTERVAL '366 days';
BEGIN
  IF from_at IS NULL OR to_at IS NULL OR NOT isfinite(from_at) OR NOT isfinite(to_at) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'the period needs a beginning and an end', HINT = 'give two times, e.g. now() - INTERVAL ''1 day'' and now()';
  ELSIF to_at <= from_at THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('the period ends at %s, before it begins at %s', to_at, from_at), HINT = 'give the earlier time first';
  ELSIF to_at - from_at > most THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('the period is longer than %s', most), HINT = 'ask for a part of it at a time';
  END IF;
END $$;
COMMENT ON FUNCTION volt_internal.check_period(timestamptz, timestamptz) IS
  'Refuses a period that is open, upside down, empty or longer than 366 days.';

CREATE OR REPLACE FUNCTION volt_internal.quarter_hour(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('15 minutes', at, '2000-01-01 00:00+00');
COMMENT ON FUNCTION volt_internal.quarter_hour(timestamptz) IS 'Beginning of the quarter hour that a time lies in.';

CREATE OR REPLACE FUNCTION volt_internal.whole_seconds(spacing interval) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN spacing IS NOT NULL THEN greatest(round(extract(epoch FROM spacing)), 1) END;
COMMENT ON FUNCTION volt_internal.whole_seconds(interval) IS 'The time between two readings in whole seconds, at least 1.';

CREATE OR REPLACE FUNCTION volt.register_step(previous_kwh numeric, current_kwh numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN current_kwh >= previous_kwh THEN current_kwh - previous_kwh
  WHEN current_kwh < previous_kwh / 2 THEN current_kwh
  WHEN current_kwh < previous_kwh THEN 0
END;
COMMENT ON FUNCTION volt.register_step(numeric, numeric) IS
  'Energy between two successive readings of a cumulative register, kWh: the increase; after a reset (fell below half: '
  'meter exchanged, session counter back to about zero) the new value; after a small fall 0, because that is drain (a '
  'real car''s counter went from 36.6 to 34.4 kWh while parked). NULL where either is unknown.';

CREATE OR REPLACE FUNCTION volt.register_increase_step(state numeric[], register_kwh double precision) RETURNS numeric[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  IF state[1] IS NULL THEN
    RETURN ARRAY[register_kwh::numeric, 0];
  END IF;
  RETURN ARRAY[register_kwh::numeric, state[2] + volt.register_step(state[1], register_kwh::numeric)];
END $$;
COMMENT ON FUNCTION volt.register_increase_step(numeric[], double precision) IS
  'Transition of volt.register_increase: state is last register and increase so far, kWh.';

CREATE OR REPLACE FUNCTION volt.register_increase_result(state numeric[]) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state[2];
COMMENT ON FUNCTION volt.register_increase_result(numeric[]) IS
  'Result of volt.register_increase and volt.register_chain, kWh; NULL: no register reading.';

CREATE OR REPLACE AGGREGATE volt.register_increase(double precision) (
  SFUNC = volt.register_increase_step, STYPE = numeric[], INITCOND = '{NULL,NULL}',
  FINALFUNC = volt.register_increase_result, PARALLEL = SAFE
);
COMMENT ON AGGREGATE volt.register_increase(double precision) IS
  'Increase of a cumulative register over its readings, kWh, as register_increase(register ORDER BY recorded_at): the '
  'sum of volt.register_step; one reading: 0, none: NULL.';

CREATE OR REPLACE FUNCTION volt.register_chain_step(
  state numeric[], first_kwh double precision, last_kwh double precision, increase_kwh numeric
) RETURNS numeric[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN ARRAY[
    last_kwh::numeric,
    coalesce(state[2], 0) + coalesce(volt.register_step(state[1], first_kwh::numeric), 0) + increase_kwh
  ];
END $$;
COMMENT ON FUNCTION volt.register_chain_step(numeric[], double precision, double precision, numeric) IS
  'Transition of volt.register_chain: state is last register and increase so far, kWh.';

CREATE OR REPLACE AGGREGATE volt.register_chain(double precision, double precision, numeric) (
  SFUNC = volt.register_chain_step, STYPE = numeric[], INITCOND = '{NULL,NULL}',
  FINALFUNC = volt.register_increase_result, PARALLEL = SAFE
);
COMMENT ON AGGREGATE volt.register_chain(double precision, double precision, numeric) IS
  'Increase of a cumulative register over several hours, kWh, as register_chain(first, last, increase ORDER BY hour), '
  'with the steps between the hours; NULL: no register reading.';

-- Reads the watermark in a statement of its own, after the lock: in one statement the value could be older than the lock.
CREATE OR REPLACE FUNCTION volt_internal.rollup_closing_watermark() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7381240, 1);
  RETURN (SELECT closing_watermark FROM volt_internal.rollup_state);
END $$;
COMMENT ON FUNCTION volt_internal.rollup_closing_watermark() IS
  'For writers: readings recorded before this time get their device-hour marked dirty; NULL: nothing to mark. Holds a '
  'shared advisory lock until the transaction ends, so the roll-up closes no hour while a writer''s transaction runs.';
