-- What: the efficiency of vehicles by closed quarter hour, from the kept energy.
-- Why:  include/both_sides and figures_of_sides say what it is; in a quarter hour by itself less can happen. It is written
--       as one chain of groupings by vehicle, fleet and quarter hour, so that a filter on any of these reaches the indexes.
--       test_efficiency_quarters.py compares it with kept_figures. An on-board charger is a meter whose id is an empty text.
-- Lock: ACCESS EXCLUSIVE on the view while it is replaced.

CREATE OR REPLACE VIEW volt.efficiency_quarter_hourly AS
WITH link AS NOT MATERIALIZED (
  SELECT l.vehicle_id, l.meter_id, l.valid, coalesce(lower(l.valid), '-infinity') - INTERVAL '15 minutes' AS from_at,
    coalesce(upper(l.valid), 'infinity') AS to_at
  FROM volt.vehicle_meter l
), ac AS (
  SELECT l.vehicle_id, f.fleet_id, l.meter_id, q.quarter_hour, 900::numeric AS linked_s, q.kwh, q.covered_s, q.gap_s, q.peak_kw, q.gaps,
    q.suspect
  FROM link l
  JOIN volt_internal.meter_quarter q
    ON q.meter_id = l.meter_id AND q.quarter_hour > l.from_at AND q.quarter_hour < l.to_at
  LEFT JOIN volt.fleet_membership f ON f.vehicle_id = l.vehicle_id AND f.valid @> date_trunc('hour', q.quarter_hour, 'UTC')
  WHERE tstzrange(q.quarter_hour, q.quarter_hour + INTERVAL '15 minutes') <@ l.valid
  UNION ALL
  -- Where a link begins or ends the raw readings tell its part; without them an even share does.
  SELECT l.vehicle_id, f.fleet_id, l.meter_id, q.quarter_hour, c.linked_s, coalesce(p.kwh, q.kwh * s.share),
    coalesce(p.covered_s, q.covered_s * s.share), coalesce(p.gap_s, q.gap_s * s.share), coalesce(p.peak_kw, q.peak_kw),
    CASE WHEN p.quarter_hour IS NULL THEN q.gaps ELSE p.gaps END, coalesce(p.suspect, q.suspect)
  FROM link l
  JOIN volt_internal.meter_quarter q
    ON q.meter_id = l.meter_id AND q.quarter_hour > l.from_at AND q.quarter_hour < l.to_at
  LEFT JOIN volt.fleet_membership f ON f.vehicle_id = l.vehicle_id AND f.valid @> date_trunc('hour', q.quarter_hour, 'UTC')
  CROSS JOIN LATERAL (SELECT tstzrange(q.quarter_hour, q.quarter_hour + INTERVAL '15 minutes') * l.valid AS during) d
  CROSS JOIN LATERAL (SELECT extract(epoch FROM upper(d.during) - lower(d.during)) AS linked_s) c
  CROSS JOIN LATERAL (SELECT c.linked_s / 900 AS share) s
  LEFT JOIN LATERAL volt_internal.meter_energy_quarters(l.meter_id, lower(d.during), upper(d.during)) p ON true
  WHERE c.linked_s < 900 AND (p.quarter_hour IS NOT NULL
    OR q.quarter_hour < (SELECT r.dropped_before + INTERVAL '1 day' FROM volt_internal.rollup_state r))
), beside AS NOT MATERIALIZED (
  SELECT l.vehicle_id, f.fleet_id, l.meter_id, q.quarter_hour, q.vehicle_id AS other_id, q.kwh,
    tstzrange(q.quarter_hour, q.quarter_hour + INTERVAL '15 minutes') * l.valid * o.valid AS during
  FROM link l
  JOIN volt.vehicle_meter o ON o.meter_id = l.meter_id AND o.vehicle_id <> l.vehicle_id AND o.valid && l.valid
  JOIN volt_internal.vehicle_quarter q
    ON q.vehicle_id = o.vehicle_id AND q.quarter_hour > l.from_at AND q.quarter_hour < l.to_at
  LEFT JOIN volt.fleet_membership f ON f.vehicle_id = l.vehicle_id AND f.valid @> date_trunc('hour', q.quarter_hour, 'UTC')
  WHERE q.kwh > 0 AND NOT q.moved
), other AS (
  SELECT b.vehicle_id, b.fleet_id, b.meter_id, b.quarter_hour, b.kwh
  FROM beside b WHERE b.during = tstzrange(b.quarter_hour, b.quarter_hour + INTERVAL '15 minutes')
  UNION ALL
  SELECT b.vehicle_id, b.fleet_id, b.meter_id, b.quarter_hour,
    coalesce(p.kwh, b.kwh * extract(epoch FROM upper(b.during) - lower(b.during)) / 900)
  FROM beside b
  LEFT JOIN LATERAL volt_internal.vehicle_energy_quarters(b.other_id, lower(b.during), upper(b.during)) p ON true
  WHERE b.during <> tstzrange(b.quarter_hour, b.quarter_hour + INTERVAL '15 minutes') AND NOT isempty(b.during)
    AND (p.kwh > 0 OR b.quarter_hour < (SELECT r.dropped_before + INTERVAL '1 day' FROM volt_internal.rollup_state r))
), part AS (
  SELECT q.vehicle_id, f.fleet_id, q.quarter_hour, NULL AS meter_id, q AS dc, NULL::numeric AS linked_s, NULL::numeric AS kwh,
    NULL::numeric AS covered_s, NULL::numeric AS gap_s, NULL::numeric AS peak_kw, NULL::tstzrange[] AS gaps,
    NULL::boolean AS suspect, NULL::boolean AS is_cut, NULL::numeric AS others_kwh
  FROM volt_internal.vehicle_quarter q
  LEFT JOIN volt.fleet_membership f ON f.vehicle_id = q.vehicle_id AND f.valid @> date_trunc('hour', q.quarter_hour, 'UTC')
  UNION ALL
  SELECT q.vehicle_id, f.fleet_id, q.quarter_hour, '', NULL, 900, q.kwh, q.covered_s, q.gap_s, q.peak_kw, q.gaps, q.suspect,
    q.gaps IS NOT NULL AND EXISTS (
      SELECT FROM unnest(q.gaps) AS g WHERE NOT g <@ volt_internal.time_without_meter(q.vehicle_id)),
    NULL
  FROM volt_internal.onboard_quarter q
  LEFT JOIN volt.fleet_membership f ON f.vehicle_id = q.vehicle_id AND f.valid @> date_trunc('hour', q.quarter_hour, 'UTC')
  WHERE NOT EXISTS (
    SELECT FROM volt.vehicle_meter l
    WHERE l.vehicle_id = q.vehicle_id AND l.valid && tstzrange(q.quarter_hour, q.quarter_hour + INTERVAL '15 minutes'))
  UNION ALL
  SELECT a.vehicle_id, a.fleet_id, a.quarter_hour, a.meter_id, NULL, a.linked_s, a.kwh, a.covered_s, a.gap_s, a.peak_kw, a.gaps,
    a.suspect, a.gaps IS NOT NULL AND EXISTS (
      SELECT FROM unnest(a.gaps) AS g WHERE NOT g <@ (
        SELECT range_agg(l.valid) FROM volt.vehicle_meter l WHERE l.vehicle_id = a.vehicle_id AND l.meter_id = a.meter_id)),
    NULL
  FROM ac a
  UNION ALL
  SELECT o.vehicle_id, o.fleet_id, o.quarter_hour, o.meter_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, o.kwh
  FROM other o
), by_meter AS (
  SELECT p.vehicle_id, p.fleet_id, p.quarter_hour, p.meter_id,
    (array_agg(p.dc) FILTER (WHERE p.meter_id IS NULL))[1] AS dc, sum(p.linked_s) AS linked_s, sum(p.kwh) AS kwh,
    sum(p.covered_s) AS covered_s, sum(p.gap_s) AS gap_s, max(p.peak_kw) AS peak_kw, max(p.gaps) AS gaps,
    bool_or(p.suspect) AS suspect, bool_or(p.is_cut) AS is_cut, sum(p.others_kwh) AS others_kwh
  FROM part p
  GROUP BY p.vehicle_id, p.fleet_id, p.quarter_hour, p.meter_id
  HAVING p.meter_id IS NULL OR count(p.linked_s) > 0
), side AS (
  SELECT m.*, first_value(m.dc) OVER (
    PARTITION BY m.vehicle_id, m.fleet_id, m.quarter_hour ORDER BY m.meter_id NULLS FIRST) AS d
  FROM by_meter m
), one_meter AS (
  SELECT DISTINCT ON (s.vehicle_id, s.fleet_id, s.quarter_hour)
    s.vehicle_id, s.fleet_id, s.quarter_hour, s.meter_id, s.linked_s, s.is_cut, s.others_kwh, k.standby_kw / 4 AS standby_kwh,
    (s.d).kwh AS dc_kwh, coalesce((s.d).moved, false) AS moved, (s.d).peak_kw AS dc_peak_kw,
    (coalesce((s.d).covered_s, 0) + coalesce((s.d).gap_s, 0)) / 900 AS dc_coverage,
    s.kwh * w.share AS ac_kwh, s.peak_kw * w.share AS ac_peak_kw,
    (coalesce(s.covered_s, 0) + coalesce(s.gap_s, 0)) / 900 AS ac_coverage,
    coalesce((s.d).gaps || s.gaps, '{}') AS gaps, coalesce((s.d).suspect, false) OR coalesce(s.suspect, false) AS suspect
  FROM side s
  CROSS JOIN (
    SELECT t.value::numeric AS standby_kw FROM volt_internal.setting t WHERE t.name = 'efficiency_standby_kw') k
  CROSS JOIN LATERAL (SELECT CASE WHEN (s.d).moved THEN 0 ELSE coalesce((s.d).kwh, 0) END AS kwh) c
  CROSS JOIN LATERAL (
    SELECT CASE WHEN s.others_kwh IS NULL THEN 1 ELSE c.kwh / (c.kwh + s.others_kwh) END AS share) w
  ORDER BY s.vehicle_id, s.fleet_id, s.quarter_hour, s.meter_id IS NULL, s.kwh > k.standby_kw * s.linked_s / 3600 DESC,
    CASE WHEN c.kwh > 0 THEN abs(s.kwh * w.share - c.kwh) ELSE -s.kwh END, s.meter_id
), weighed AS (
  SELECT o.*, r.fast, u.is_cut AS cut, CASE WHEN NOT o.moved THEN o.dc_kwh END AS charged_kwh,
    NOT u.is_cut AND NOT o.moved AND NOT o.suspect AND NOT r.fast AND o.dc_kwh > 0 AND o.dc_coverage >= 0.8 AND o.ac_coverage >= 0.8
      AND o.ac_kwh > o.standby_kwh AS comparable,
    CASE WHEN NOT u.is_cut AND coalesce(o.dc_kwh, 0) = 0 AND o.others_kwh IS NULL THEN o.ac_kwh END AS idle_kwh
  FROM one_meter o
  CROSS JOIN LATERAL (
    SELECT coalesce(o.is_cut, false) OR coalesce(o.linked_s < 900, false)
      OR (cardinality(o.gaps) > 0 AND o.others_kwh IS NOT NULL) OR EXISTS (
        SELECT FROM unnest(o.gaps) AS g
        CROSS JOIN LATERAL (SELECT tstzrange(o.quarter_hour, o.quarter_hour + INTERVAL '15 minutes') AS all_of_it,
          tstzrange(lower(g) + INTERVAL '30 seconds', upper(g) - INTERVAL '30 seconds') AS core) c
        WHERE c.core && c.all_of_it AND NOT c.core <@ c.all_of_it) AS is_cut
  ) u
  CROSS JOIN LATERAL (
    SELECT coalesce(o.meter_id = '' AND volt_internal.is_fast_charge(
      o.dc_kwh / nullif(least(o.dc_coverage, 1), 0), o.ac_kwh / nullif(least(o.ac_coverage, 1), 0), 900), false) AS fast) r
  WHERE o.dc_kwh > 0 OR o.ac_kwh > 0
)
SELECT
  w.vehicle_id, w.fleet_id, nullif(w.meter_id, '') AS meter_id, w.quarter_hour, w.dc_kwh, w.ac_kwh, c.dc_kwh AS comparable_dc_kwh,
  c.ac_kwh AS comparable_ac_kwh, round(100 * c.dc_kwh / c.ac_kwh, 2) AS efficiency_pct,
  CASE WHEN w.comparable THEN round(
    100 * w.dc_kwh / (w.ac_kwh + greatest(1 - w.ac_coverage, 0) / 4 * coalesce(w.ac_peak_kw, 0)), 2) END AS efficiency_low_pct,
  CASE WHEN w.comparable THEN round(
    100 * (w.dc_kwh + greatest(1 - w.dc_coverage, 0) / 4 * coalesce(w.dc_peak_kw, 0)) / w.ac_kwh, 2) END AS efficiency_high_pct,
  CASE WHEN w.idle_kwh <= w.standby_kwh OR (w.meter_id = '' AND w.dc_coverage >= 0.8) THEN coalesce(w.idle_kwh, 0) ELSE 0 END AS standby_kwh,
  CASE WHEN w.idle_kwh > w.standby_kwh AND w.meter_id <> '' THEN w.idle_kwh ELSE 0 END AS unassigned_kwh,
  CASE
    WHEN w.comparable THEN CASE
      WHEN 100 * c.dc_kwh / c.ac_kwh NOT BETWEEN 20 AND 100 THEN 'suspect'
      WHEN w.others_kwh IS NOT NULL THEN 'shared_meter'
      ELSE 'ok' END
    WHEN w.cut AND (w.charged_kwh > 0 OR w.ac_kwh > w.standby_kwh) THEN 'estimated'
    WHEN w.suspect THEN 'suspect'
    WHEN w.charged_kwh > 0 AND (w.ac_kwh > w.standby_kwh AND NOT w.fast) IS NOT TRUE THEN 'no_ac'
    WHEN w.charged_kwh > 0 THEN 'partial'
    WHEN w.idle_kwh > w.standby_kwh AND w.dc_coverage < 0.8 THEN 'no_dc'
    WHEN w.idle_kwh > w.standby_kwh AND w.meter_id <> '' THEN 'unassigned'
    ELSE 'idle'
  END AS quality,
  CASE WHEN w.meter_id = '' THEN 'onboard' WHEN w.meter_id IS NOT NULL THEN 'meter' END AS source
FROM weighed w
CROSS JOIN LATERAL (
  SELECT CASE WHEN w.comparable THEN w.dc_kwh / least(w.dc_coverage, 1) END AS dc_kwh,
    CASE WHEN w.comparable THEN w.ac_kwh / least(w.ac_coverage, 1) END AS ac_kwh
) c;
