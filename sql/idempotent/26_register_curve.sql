-- What: what each reading of a register says: how much energy since the last one, or that it is no value.
-- Why:  registers jump, dip, begin anew and are exchanged; every figure of energy follows from this one definition.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt_internal.register_curve(
  ats timestamptz[], registers double precision[], max_power_kw numeric, of_kind text,
  decisions text[] DEFAULT NULL, starts double precision[] DEFAULT NULL
) RETURNS TABLE (
  recorded_at timestamptz, register_kwh numeric, credited_kwh numeric, verdict text, taken_for text
)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  decision text;
  jitter CONSTANT numeric := 0.05;  -- kWh: the resolution of meters, and what their rounding makes of it
  high numeric;                     -- the highest value since the last start
  known_at timestamptz;             -- when the curve was last known
  n integer;                        -- of the next reading that may be a value
  following numeric;                -- what that shows
  hours numeric;
BEGIN
  FOR i IN 1 .. coalesce(cardinality(ats), 0) LOOP
    recorded_at := ats[i];
    register_kwh := registers[i]::numeric;
    decision := decisions[i];
    n := i + 1;
    WHILE decisions[n] = 'ignore' LOOP
      n := n + 1;
    END LOOP;
    -- Where the register is known to begin again, the readings before are its last ones.
    following := CASE WHEN decisions[n] IS NULL THEN registers[n]::numeric END;
    hours := extract(epoch FROM recorded_at - known_at) / 3600;
    credited_kwh := 0;
    IF high IS NULL THEN
      verdict := 'first';
    ELSIF of_kind = 'total' AND register_kwh > high + jitter
          AND following < register_kwh - jitter AND following >= high - jitter THEN
      verdict := 'contradicted';
    ELSIF register_kwh >= high AND register_kwh - high <= max_power_kw * hours + jitter THEN
      verdict := 'rise';
      credited_kwh := register_kwh - high;
    ELSIF register_kwh >= high THEN
      verdict := CASE WHEN following < register_kwh - jitter THEN 'contradicted'
                      WHEN following IS NULL THEN 'undecided' ELSE 'impossible_step' END;
    ELSIF register_kwh >= high - jitter THEN
      verdict := 'jitter';
    ELSIF following IS NULL THEN
      verdict := 'undecided';
    -- A session may pass the last one's end by the next reading, if there was time for it.
    ELSIF following >= high - jitter AND (of_kind = 'total' OR following - register_kwh
          > max_power_kw * extract(epoch FROM ats[n] - recorded_at) / 3600 + jitter) THEN
      verdict := 'contradicted';
    ELSIF of_kind = 'session' THEN
      verdict := 'session';
      credited_kwh := CASE WHEN register_kwh <= max_power_kw * hours + jitter THEN register_kwh ELSE 0 END;
    ELSIF register_kwh <= high / 2
          AND register_kwh <= max_power_kw * least(hours, 1) + jitter THEN
      verdict := 'reset';
      credited_kwh := register_kwh;
    ELSE
      verdict := 'lower_start';
    END IF;
    taken_for := verdict;
    IF decision IS NOT NULL THEN
      verdict := decision;
      credited_kwh := CASE WHEN high IS NULL THEN 0 ELSE greatest(register_kwh - coalesce(starts[i]::numeric, 0), 0) END;
    END IF;
    IF verdict IN ('contradicted', 'undecided', 'ignore') THEN
      credited_kwh := NULL;
    ELSE
      known_at := recorded_at;
      IF verdict <> 'jitter' THEN
        high := register_kwh;
      END IF;
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION volt_internal.register_curve(timestamptz[], double precision[], numeric, text, text[], double precision[]) IS
  'Of each reading of one register, in the order of time: the energy since the last known one (kWh; NULL: it is '
  'no value), and what it is: '
  'first; rise; jitter (up to 0.05 kWh below the highest: nothing); contradicted (the next reading takes it back: no '
  'value); undecided (the next reading will tell: no value yet); impossible_step (faster than max_power_kw: counts '
  'nothing); reset (near zero, counts what it shows); session (likewise, of a register of kind session); lower_start '
  '(a lower level that was held: counts nothing). decisions and starts: what people decided on each reading '
  '(volt.register_decision; NULL: nothing, or on none of them): the verdict is then the decision, and taken_for what it '
  'would be without it.';
