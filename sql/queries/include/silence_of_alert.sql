-- A silence that is in force now and covers the episode a; for EXISTS.
SELECT FROM volt.alert_silence s
WHERE volt.silence_covers(s, a.rule, a.fleet_id, a.device_type, a.device_id)
