-- Beside each other: dc (what a vehicle took), ac (what its linked meters measured) and other (what other vehicles took at
-- these meters), each by vehicle and quarter hour; standby_kw: up to which power a meter is at standby. In ac an on-board
-- charger is a meter without an id, in quarter hours that no link touches.
by_meter AS (
  SELECT a.vehicle_id, a.meter_id, a.quarter_hour, sum(a.kwh) AS kwh, sum(a.covered_s) AS covered_s, sum(a.gap_s) AS gap_s,
    sum(a.low_kwh) AS low_kwh, sum(a.high_kwh) AS high_kwh, max(a.peak_kw) AS peak_kw,
    max(a.gaps) AS gaps, bool_or(a.suspect) AS suspect, sum(a.linked_s) AS linked_s, bool_or(a.is_cut) AS is_cut
  FROM ac a
  GROUP BY a.vehicle_id, a.meter_id, a.quarter_hour
), shared AS (
  SELECT m.*, o.kwh AS others_kwh, c.kwh AS charged_kwh,
    CASE WHEN o.kwh IS NULL THEN 1 ELSE c.kwh / (c.kwh + o.kwh) END AS share
  FROM by_meter m
  LEFT JOIN dc d ON d.vehicle_id = m.vehicle_id AND d.quarter_hour = m.quarter_hour
  LEFT JOIN other o ON o.vehicle_id = m.vehicle_id AND o.meter_id = m.meter_id AND o.quarter_hour = m.quarter_hour
  CROSS JOIN LATERAL (SELECT CASE WHEN d.moved THEN 0 ELSE coalesce(d.kwh, 0) END AS kwh) c
), one_meter AS (
  -- Of several meters one that runs, and of these the one whose energy is nearest to what the vehicle took.
  SELECT DISTINCT ON (m.vehicle_id, m.quarter_hour) m.*
  FROM shared m
  ORDER BY m.vehicle_id, m.quarter_hour, m.kwh > standby_kw * m.linked_s / 3600 DESC,
    CASE WHEN m.charged_kwh > 0 THEN abs(m.kwh * m.share - m.charged_kwh) ELSE -m.kwh END, m.meter_id
), both_sides AS (
  SELECT
    vehicle_id, quarter_hour, coalesce(d.moved, false) AS moved,
    d.kwh AS dc_kwh, d.covered_s AS dc_covered_s, d.gap_s AS dc_gap_s, d.low_kwh AS dc_low_kwh,
    d.high_kwh AS dc_high_kwh, d.peak_kw AS dc_peak_kw, d.gaps AS dc_gaps, d.suspect AS dc_suspect,
    m.meter_id, m.kwh * m.share AS ac_kwh, m.covered_s AS ac_covered_s, m.gap_s AS ac_gap_s,
    m.low_kwh * m.share AS ac_low_kwh, m.high_kwh * m.share AS ac_high_kwh, m.peak_kw * m.share AS ac_peak_kw,
    m.gaps AS ac_gaps, m.suspect AS ac_suspect, m.others_kwh, m.linked_s, m.is_cut AS link_cuts,
    CASE WHEN m.meter_id IS NOT NULL THEN 'meter' WHEN m.linked_s IS NOT NULL THEN 'onboard' END AS source
  FROM dc d FULL JOIN one_meter m USING (vehicle_id, quarter_hour)
)
