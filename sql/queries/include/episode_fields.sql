-- What a row of jsonb has of a new episode.
rule text, severity text, device_type text, device_id text, fleet_id text, opened_at timestamptz,
last_seen_at timestamptz, peak_value double precision, resolved_at timestamptz, message text
