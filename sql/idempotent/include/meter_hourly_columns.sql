-- What the readings of one meter in one hour come to. Sums in numeric: the same to the last digit in any order.
count(*) AS readings,
sum(kwh_consumed_ac::numeric) FILTER (WHERE ac_register_kwh IS NULL) AS interval_kwh,
count(kwh_consumed_ac) FILTER (WHERE ac_register_kwh IS NULL) AS interval_readings,
first(ac_register_kwh, recorded_at) FILTER (WHERE ac_register_kwh IS NOT NULL) AS register_first_kwh,
last(ac_register_kwh, recorded_at) FILTER (WHERE ac_register_kwh IS NOT NULL) AS register_last_kwh,
volt.register_increase(ac_register_kwh ORDER BY recorded_at) AS register_increase_kwh,
count(ac_register_kwh) AS register_readings,
min(power_kw) AS power_min_kw,
max(power_kw) AS power_max_kw,
min(voltage_v) AS voltage_min_v,
max(voltage_v) AS voltage_max_v,
max(current_a) AS current_max_a
