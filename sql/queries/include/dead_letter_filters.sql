-- Filters of dead letters; each may be NULL, topic is a regular expression.
(%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
AND (%(reason)s::text IS NULL OR reason = %(reason)s)
AND (%(topic)s::text IS NULL OR topic ~ %(topic)s)
AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s)
