-- What: the readings that an evaluation cycle of the rules reads, and how far the clocks of devices are behind. Run by
--       voltd/rules/cycle/ in the cycle's transaction.
-- Why:  pieces of the vehicles' histories, by the time of the devices: many at once, each by the primary key.
-- Lock: ROW EXCLUSIVE on the queue of excursions and the table of clocks.

-- name: excursions
-- at_most live ones, and at_most_late late ones; the oldest first.
(SELECT excursion_id, vehicle_id, since, coalesce(until, since), received_at, late FROM volt_internal.excursion
 WHERE NOT late ORDER BY excursion_id LIMIT %(at_most)s)
UNION ALL
(SELECT excursion_id, vehicle_id, since, coalesce(until, since), received_at, late FROM volt_internal.excursion
 WHERE late ORDER BY excursion_id LIMIT %(at_most_late)s)

-- name: delete_excursions
-- ids bigint[]: their readings have been evaluated.
DELETE FROM volt_internal.excursion WHERE excursion_id = ANY (%(ids)s::bigint[])

-- name: vehicles_with_news
-- watches text[]: vehicles with a state of a rule that watches one of these, whether or not the rule is still in force
-- (the writer may have left the vehicle out because of it), that have a newer reading, or a value or charging status
-- that was not evaluated with it.
-- Returns up to when they have been evaluated, and since when there is something new: by a newer reading, and by a
-- value or charging status. All in corrected time: what is dated ahead is as old as its arrival.
SELECT s.device_id, min(s.evaluated_at), min(CASE WHEN l.recorded_at > s.evaluated_at THEN s.evaluated_at END),
  min(least(CASE WHEN l.value_at > j.valued_at THEN j.valued_at END,
    CASE WHEN l.charging_status_at > j.worded_at THEN j.worded_at END))
FROM volt_internal.alert_state s
JOIN volt.vehicle_current c ON c.vehicle_id = s.device_id
LEFT JOIN volt.device_clock k ON k.device_type = 'vehicle' AND k.device_id = s.device_id
CROSS JOIN LATERAL (
  SELECT coalesce(make_interval(secs => k.behind_s), '0') AS behind,
    (s.state ->> 'valued_at')::timestamptz AS valued_at, (s.state ->> 'worded_at')::timestamptz AS worded_at
) AS j
CROSS JOIN LATERAL (
  SELECT least(c.recorded_at + j.behind, c.last_seen_at) AS recorded_at,
    least(c.charging_status_at + j.behind, c.last_seen_at) AS charging_status_at,
    least(CASE split_part(s.state ->> 'watches', ' ', 1)
      -- each metric: WHEN '{metric}' THEN c.{metric_at}
    END + j.behind, c.last_seen_at) AS value_at
) AS l
WHERE s.device_type = 'vehicle' AND s.state ->> 'watches' = ANY (%(watches)s::text[])
  AND (l.recorded_at > s.evaluated_at OR l.value_at > j.valued_at OR l.charging_status_at > j.worded_at)
GROUP BY s.device_id

-- name: device_clocks
-- How far the clocks of devices are known to be behind, s.
SELECT device_type, device_id, behind_s FROM volt.device_clock

-- name: upsert_device_clocks
-- device_types, device_ids text[], behind_s float8[] (triples): inserts or replaces.
INSERT INTO volt.device_clock AS k (device_type, device_id, behind_s)
SELECT * FROM unnest(%(device_types)s::text[], %(device_ids)s::text[], %(behind_s)s::float8[])
ON CONFLICT (device_type, device_id) DO UPDATE SET behind_s = excluded.behind_s, certain_at = now()

-- name: delete_device_clocks
-- device_types, device_ids text[] (pairs): their clocks are not behind any more.
DELETE FROM volt.device_clock k
USING unnest(%(device_types)s::text[], %(device_ids)s::text[]) AS gone (device_type, device_id)
WHERE k.device_type = gone.device_type AND k.device_id = gone.device_id

-- name: vehicle_rows
-- ids text[], sinces and untils timestamptz[] (pieces), oldest timestamptz (the least of sinces): their readings in
-- [since, until], at most at_most of each piece, piece by piece in the order given, each in order of time; whether the
-- broker had retained it, and when a message last filled it in.
-- Rows arrive as they are read: a piece is complete once a row of the next place arrives.
SELECT wanted.place, r.recorded_at, r.received_at, {r.metrics}, r.charging_status, EXISTS (
  SELECT FROM volt.retained_reading k
  WHERE k.vehicle_id = wanted.vehicle_id AND k.recorded_at = r.recorded_at AND k.received_at = r.received_at), r.filled_at
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[])
  WITH ORDINALITY AS wanted (vehicle_id, since, until, place)
CROSS JOIN LATERAL (
  SELECT * FROM volt.vehicle_reading v
  WHERE v.vehicle_id = wanted.vehicle_id AND v.recorded_at >= wanted.since AND v.recorded_at <= wanted.until
    AND v.recorded_at >= %(oldest)s
  ORDER BY v.recorded_at LIMIT %(at_most)s
) AS r
ORDER BY wanted.place, r.recorded_at

-- name: rows_before
-- ids text[], sinces timestamptz[] (pairs), oldest timestamptz (the least of sinces), at_most int, and for each metric
-- whether it counts: of each the last readings before that time that have one of these values, by place, the newest
-- first.
SELECT wanted.place, r.recorded_at, r.received_at, {r.metrics}
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[]) WITH ORDINALITY AS wanted (vehicle_id, since, place)
CROSS JOIN LATERAL (
  SELECT * FROM volt.vehicle_reading v
  WHERE v.vehicle_id = wanted.vehicle_id AND v.recorded_at < wanted.since
    AND v.recorded_at >= %(oldest)s::timestamptz - INTERVAL '2 days'
    AND (
      false
      -- each metric: OR (%({metric})s AND v.{metric} IS NOT NULL)
    )
  ORDER BY v.recorded_at DESC LIMIT %(at_most)s
) AS r

-- name: charging_before
-- ids text[], sinces timestamptz[] (pairs), oldest and newest timestamptz (of sinces): the last charging status before
-- that time and when it was reported, by place, of vehicles that ever reported one.
-- The current state has it unless a newer one is stored there; the current state may trail, so the last minutes of
-- history are read too.
SELECT wanted.place,
  coalesce(last.charging_status, CASE WHEN c.charging_status_at < wanted.since THEN c.charging_status END),
  coalesce(last.recorded_at, c.charging_status_at)
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[]) WITH ORDINALITY AS wanted (vehicle_id, since, place)
JOIN volt.vehicle_current c ON c.vehicle_id = wanted.vehicle_id AND c.charging_status IS NOT NULL
LEFT JOIN LATERAL (
  SELECT r.charging_status, r.recorded_at
  FROM volt.vehicle_reading r
  WHERE r.vehicle_id = wanted.vehicle_id AND r.recorded_at < wanted.since AND r.charging_status IS NOT NULL
    AND r.recorded_at >= wanted.since - INTERVAL '1 day'
    AND r.recorded_at >= %(oldest)s::timestamptz - INTERVAL '1 day' AND r.recorded_at < %(newest)s
    AND (c.charging_status_at >= wanted.since OR r.recorded_at >= wanted.since - INTERVAL '5 min')
  ORDER BY r.recorded_at DESC LIMIT 1
) AS last ON true

-- name: moved_between
-- ids text[], sinces and untils timestamptz[] (triples), oldest timestamptz (the least of sinces), above: places of
-- those that were faster than this, km/h, in [since, until). Retained readings do not count.
SELECT wanted.place
FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[])
  WITH ORDINALITY AS wanted (vehicle_id, since, until, place)
WHERE EXISTS (
  SELECT FROM volt.vehicle_reading r
  WHERE r.vehicle_id = wanted.vehicle_id AND r.recorded_at >= wanted.since AND r.recorded_at < wanted.until
    AND r.recorded_at >= %(oldest)s AND r.speed_kmh > %(above)s::float8
    AND NOT EXISTS (
      SELECT FROM volt.retained_reading k
      WHERE k.vehicle_id = r.vehicle_id AND k.recorded_at = r.recorded_at AND k.received_at = r.received_at))

-- name: past_around
-- ids text[], sinces and untils timestamptz[], behind float8[] (pieces of late readings, in the device's time), rules
-- text[], around and gap intervals, at_most int, ahead int. Returns by place from when to when a piece has to be
-- evaluated anew: what is around it, late episodes that reach into that as a whole, and up to ahead readings more where
-- they follow within the gap, as one of these may end what begins here.
-- Where that would be at_most readings or more before the piece: from the last of those episodes on. Where this is too
-- much as well: from the piece on.
SELECT wide.place, coalesce(begun.at, wide.since), wide.ends
FROM (
  SELECT wanted.place, wanted.vehicle_id, wanted.since, least(wanted.since - %(around)s::interval, past.first) AS whole,
    greatest(least(wanted.since - %(around)s::interval, past.last), cut.resolved_at) AS part,
    greatest(wanted.until + %(around)s::interval, past.resolved_at, further.recorded_at) AS ends
  FROM (
    SELECT place, vehicle_id, since, until, make_interval(secs => behind_s) AS behind
    FROM unnest(%(ids)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[], %(behind)s::float8[])
      WITH ORDINALITY AS given (vehicle_id, since, until, behind_s, place)
  ) AS wanted
  LEFT JOIN LATERAL (
    SELECT min(a.opened_at - wanted.behind) AS first, max(a.resolved_at - wanted.behind) AS resolved_at,
      max(a.opened_at - wanted.behind) FILTER (WHERE a.opened_at - wanted.behind <= wanted.since) AS last
    FROM volt.alert a
    WHERE a.device_type = 'vehicle' AND a.device_id = wanted.vehicle_id AND a.rule = ANY (%(rules)s::text[]) AND a.past
      AND a.opened_at <= wanted.until + wanted.behind + %(around)s::interval
      AND a.resolved_at >= wanted.since + wanted.behind - %(around)s::interval
  ) AS past ON true
  LEFT JOIN LATERAL (
    SELECT max(a.resolved_at - wanted.behind) + INTERVAL '1 microsecond' AS resolved_at
    FROM volt.alert a
    WHERE a.device_type = 'vehicle' AND a.device_id = wanted.vehicle_id AND a.rule = ANY (%(rules)s::text[]) AND a.past
      AND a.opened_at - wanted.behind < least(wanted.since - %(around)s::interval, past.last)
      AND a.resolved_at - wanted.behind >= least(wanted.since - %(around)s::interval, past.last)
      AND a.resolved_at - wanted.behind < wanted.since
  ) AS cut ON true
  LEFT JOIN LATERAL (
    SELECT max(recorded_at) AS recorded_at
    FROM (
      SELECT r.recorded_at FROM volt.vehicle_reading r
      WHERE r.vehicle_id = wanted.vehicle_id AND r.recorded_at > wanted.until
        AND r.recorded_at <= wanted.until + %(gap)s::interval
      ORDER BY r.recorded_at LIMIT %(ahead)s
    ) AS next
  ) AS further ON true
) AS wide
LEFT JOIN LATERAL (
  SELECT min(tried.at) AS at
  FROM (VALUES (wide.whole), (wide.part)) AS tried (at)
  WHERE %(at_most)s > (
    SELECT count(*) FROM (
      SELECT FROM volt.vehicle_reading r
      WHERE r.vehicle_id = wide.vehicle_id AND r.recorded_at >= tried.at AND r.recorded_at < wide.since
      LIMIT %(at_most)s) AS since_then)
) AS begun ON true
