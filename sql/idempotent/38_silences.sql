-- What: which silence covers which alert.
-- Why:  the outbox, the list of alerts and the list of silences must agree. Plain SQL expressions, which the planner puts
--       into the query that calls them. The alert comes column by column: a whole row that belongs to an outer query would
--       be copied for each silence that is tried.
-- Lock: none on data.

CREATE OR REPLACE FUNCTION volt.silence_matches(
  s volt.alert_silence, rule text, fleet_id text, device_type text, device_id text
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (s.rule IS NULL OR s.rule = silence_matches.rule)
  AND (s.fleet_id IS NULL OR s.fleet_id = silence_matches.fleet_id)
  AND (s.device_id IS NULL OR (s.device_type = silence_matches.device_type AND s.device_id = silence_matches.device_id));
COMMENT ON FUNCTION volt.silence_matches(volt.alert_silence, text, text, text, text) IS
  'Whether the silence is for this rule, fleet and device, at any time.';

CREATE OR REPLACE FUNCTION volt.silence_covers(
  s volt.alert_silence, rule text, fleet_id text, device_type text, device_id text
) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN s.begins_at <= now() AND s.ends_at > now()
  AND volt.silence_matches(
    s, silence_covers.rule, silence_covers.fleet_id, silence_covers.device_type, silence_covers.device_id);
COMMENT ON FUNCTION volt.silence_covers(volt.alert_silence, text, text, text, text) IS
  'Whether the silence is in force now, and is for this rule, fleet and device.';
