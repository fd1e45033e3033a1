-- What is known of one vehicle's charging in one period.
began_at timestamptz, ended_at timestamptz, dc_kwh numeric, ac_kwh numeric, comparable_dc_kwh numeric,
comparable_ac_kwh numeric, efficiency_pct numeric, efficiency_low_pct numeric, efficiency_high_pct numeric,
standby_kwh numeric, unassigned_kwh numeric, meter_id text, source text, quality text
