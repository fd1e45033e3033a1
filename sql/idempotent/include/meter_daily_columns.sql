-- What the hours of one meter in one UTC day come to. Interval energy counts only in hours without a register.
count(*) AS hours,
sum(readings)::bigint AS readings,
sum(interval_kwh) FILTER (WHERE register_first_kwh IS NULL) AS interval_kwh,
first(register_first_kwh, hour) FILTER (WHERE register_first_kwh IS NOT NULL) AS register_first_kwh,
last(register_last_kwh, hour) FILTER (WHERE register_last_kwh IS NOT NULL) AS register_last_kwh,
volt.register_chain(register_first_kwh, register_last_kwh, register_increase_kwh ORDER BY hour) AS register_increase_kwh,
min(power_min_kw) AS power_min_kw,
max(power_max_kw) AS power_max_kw,
min(voltage_min_v) AS voltage_min_v,
max(voltage_max_v) AS voltage_max_v,
max(current_max_a) AS current_max_a
