-- What the quarter hours of side (of a vehicle and a period) come to: see volt.vehicle_efficiency for the meaning.
gap AS (
  -- The quarter hours that a gap touches are compared as one, in a period that has all of it.
  SELECT g.vehicle_id, g.began_at, g.ended_at, unnest(range_agg(g.quarters)) AS quarters
  FROM (
    -- Half a minute at either end is no quarter hour more; and gaps that only meet stay apart.
    SELECT s.vehicle_id, s.began_at, s.ended_at, tstzrange(
      volt_internal.quarter_hour(lower(g) + INTERVAL '30 seconds'),
      volt_internal.quarter_hour(upper(g) + INTERVAL '869.999999 seconds') - INTERVAL '1 microsecond'
    ) AS quarters
    FROM side s CROSS JOIN LATERAL unnest(s.each_gap) AS g
  ) g
  GROUP BY g.vehicle_id, g.began_at, g.ended_at
), stretch AS MATERIALIZED (
  SELECT
    s.vehicle_id,
    s.began_at,
    s.ended_at,
    coalesce(lower(g.quarters), s.quarter_hour) AS stretch_at,
    sum(s.length_s) AS length_s,
    sum(s.dc_kwh) AS dc_kwh,
    sum(s.ac_kwh) AS ac_kwh,
    sum(coalesce(s.dc_covered_s, 0) + coalesce(s.dc_gap_s, 0)) / sum(s.length_s) AS dc_coverage,
    sum(coalesce(s.ac_covered_s, 0) + coalesce(s.ac_gap_s, 0)) / sum(s.length_s) AS ac_coverage,
    max(s.dc_peak_kw) AS dc_peak_kw,
    max(s.ac_peak_kw) AS ac_peak_kw,
    sum(s.standby_limit_kwh) AS standby_limit_kwh,
    sum(s.dc_kwh) FILTER (WHERE NOT s.moved) AS charged_kwh,
    bool_or(s.others_kwh IS NOT NULL) AS others,
    bool_or(s.link_cuts OR s.linked_s < s.length_s OR (cardinality(s.each_gap) > 0 AND (s.others_kwh IS NOT NULL OR EXISTS (
      SELECT FROM unnest(s.each_gap) AS g
      CROSS JOIN LATERAL (SELECT tstzrange(lower(g) + INTERVAL '30 seconds', upper(g) - INTERVAL '30 seconds') AS core) c
      WHERE c.core && tstzrange(s.began_at, s.ended_at) AND NOT c.core <@ tstzrange(s.began_at, s.ended_at))))) AS is_cut,
    bool_or(s.moved) AS moved,
    bool_or(s.source = 'onboard') AS onboard,
    bool_or(coalesce(s.dc_suspect, false) OR coalesce(s.ac_suspect, false)) AS suspect,
    bool_or(s.others_kwh IS NOT NULL AND s.dc_kwh > 0) AS shared
  FROM side s
  LEFT JOIN gap g ON g.vehicle_id = s.vehicle_id AND g.began_at = s.began_at AND g.ended_at = s.ended_at AND g.quarters @> s.quarter_hour
  GROUP BY s.vehicle_id, s.began_at, s.ended_at, coalesce(lower(g.quarters), s.quarter_hour)
), weighed AS MATERIALIZED (
  SELECT
    t.*,
    f.fast,
    NOT t.is_cut AND NOT t.moved AND NOT t.suspect AND NOT f.fast AND t.dc_kwh > 0 AND t.dc_coverage >= 0.8 AND t.ac_coverage >= 0.8
      AND t.ac_kwh > t.standby_limit_kwh AS comparable,
    CASE WHEN NOT t.is_cut AND coalesce(t.dc_kwh, 0) = 0 AND NOT t.others THEN t.ac_kwh END AS idle_kwh
  FROM stretch t
  CROSS JOIN LATERAL (
    SELECT coalesce(t.onboard AND volt_internal.is_fast_charge(
      t.dc_kwh / nullif(least(t.dc_coverage, 1), 0), t.ac_kwh / nullif(least(t.ac_coverage, 1), 0), t.length_s), false) AS fast) f
), summed AS (
  SELECT
    w.vehicle_id,
    w.began_at,
    w.ended_at,
    sum(w.dc_kwh) AS dc_kwh,
    sum(w.charged_kwh) AS charged_kwh,
    sum(w.ac_kwh) AS ac_kwh,
    sum(w.ac_kwh) FILTER (WHERE w.ac_kwh > w.standby_limit_kwh AND NOT w.fast) AS running_kwh,
    sum(w.dc_kwh / least(w.dc_coverage, 1)) FILTER (WHERE w.comparable) AS comparable_dc_kwh,
    sum(w.ac_kwh / least(w.ac_coverage, 1)) FILTER (WHERE w.comparable) AS comparable_ac_kwh,
    sum(w.dc_kwh) FILTER (WHERE w.comparable) AS dc_low_kwh,
    sum(w.ac_kwh) FILTER (WHERE w.comparable) AS ac_low_kwh,
    sum(w.dc_kwh + greatest(1 - w.dc_coverage, 0) * w.length_s / 3600 * coalesce(w.dc_peak_kw, 0))
      FILTER (WHERE w.comparable) AS dc_high_kwh,
    sum(w.ac_kwh + greatest(1 - w.ac_coverage, 0) * w.length_s / 3600 * coalesce(w.ac_peak_kw, 0))
      FILTER (WHERE w.comparable) AS ac_high_kwh,
    -- No stranger takes energy of an on-board charger: what does not reach the battery heats or cools the vehicle.
    coalesce(sum(w.idle_kwh) FILTER (
      WHERE w.idle_kwh <= w.standby_limit_kwh OR (w.onboard AND w.dc_coverage >= 0.8)), 0) AS standby_kwh,
    coalesce(sum(w.idle_kwh) FILTER (WHERE w.idle_kwh > w.standby_limit_kwh AND w.onboard IS NOT TRUE), 0) AS unassigned_kwh,
    bool_or(w.onboard AND w.idle_kwh > w.standby_limit_kwh AND w.dc_coverage < 0.8) AS alone,
    bool_or(w.is_cut AND (w.charged_kwh > 0 OR w.ac_kwh > w.standby_limit_kwh)) AS is_cut,
    bool_or(w.suspect) AS suspect,
    bool_or(w.shared AND w.comparable) AS shared,
    bool_or(w.ac_kwh > w.standby_limit_kwh AND coalesce(w.dc_coverage, 0) < 0.8) AS dc_missing
  FROM weighed w
  GROUP BY w.vehicle_id, w.began_at, w.ended_at
), meters AS (
  SELECT s.vehicle_id, s.began_at, s.ended_at, string_agg(DISTINCT s.meter_id, ', ' ORDER BY s.meter_id) AS meter_id,
    CASE WHEN NOT bool_or(s.source = 'onboard') THEN 'meter' WHEN NOT bool_or(s.source = 'meter') THEN 'onboard'
         WHEN bool_or(s.source = 'meter') THEN 'mixed' END AS source
  FROM side s
  GROUP BY s.vehicle_id, s.began_at, s.ended_at
), rated AS (
  SELECT *, 100 * comparable_dc_kwh / comparable_ac_kwh AS pct FROM summed
), figures AS (
  SELECT
    r.vehicle_id, r.began_at, r.ended_at, r.dc_kwh, r.ac_kwh, r.comparable_dc_kwh, r.comparable_ac_kwh, round(r.pct, 2) AS efficiency_pct,
    round(100 * r.dc_low_kwh / r.ac_high_kwh, 2) AS efficiency_low_pct,
    round(100 * r.dc_high_kwh / r.ac_low_kwh, 2) AS efficiency_high_pct,
    r.standby_kwh, r.unassigned_kwh, m.meter_id, m.source,
    CASE
      WHEN r.pct IS NOT NULL THEN CASE
        WHEN r.suspect OR r.pct NOT BETWEEN 20 AND 100 THEN 'suspect'
        WHEN r.shared THEN 'shared_meter'
        WHEN r.dc_low_kwh < 0.8 * r.charged_kwh THEN 'partial'
        ELSE 'ok' END
      WHEN r.is_cut THEN 'estimated'
      WHEN r.suspect THEN 'suspect'
      WHEN r.charged_kwh > 0 AND coalesce(r.running_kwh, 0) = 0 THEN 'no_ac'
      WHEN r.charged_kwh > 0 THEN 'partial'
      WHEN r.unassigned_kwh > 0 OR r.alone THEN CASE WHEN r.dc_missing THEN 'no_dc' ELSE 'unassigned' END
      ELSE 'idle'
    END AS quality
  FROM rated r
  JOIN meters m ON m.vehicle_id = r.vehicle_id AND m.began_at = r.began_at AND m.ended_at = r.ended_at
)
