-- What is kept of a quarter hour is written again only where it differs.
ON CONFLICT (vehicle_id, quarter_hour) DO UPDATE SET
  kwh = excluded.kwh, covered_s = excluded.covered_s, gap_s = excluded.gap_s, low_kwh = excluded.low_kwh,
  high_kwh = excluded.high_kwh, peak_kw = excluded.peak_kw, gaps = excluded.gaps, suspect = excluded.suspect,
  source = excluded.source, register_kwh = excluded.register_kwh
WHERE (k.kwh, k.covered_s, k.gap_s, k.low_kwh, k.high_kwh, k.peak_kw, k.gaps, k.suspect, k.source, k.register_kwh)
  IS DISTINCT FROM (excluded.kwh, excluded.covered_s, excluded.gap_s, excluded.low_kwh, excluded.high_kwh,
    excluded.peak_kw, excluded.gaps, excluded.suspect, excluded.source, excluded.register_kwh)
