-- Filters of the episodes a; each may be NULL. since and until: those that were open at some time in [since, until).
(%(rule)s::text IS NULL OR a.rule = %(rule)s)
AND (%(fleet)s::text IS NULL OR a.fleet_id = %(fleet)s)
AND (%(device)s::text IS NULL OR a.device_id = %(device)s)
AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
AND (%(since)s::timestamptz IS NULL OR a.resolved_at IS NULL OR a.resolved_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR a.opened_at < %(until)s)
