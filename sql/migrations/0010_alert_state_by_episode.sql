-- What: an index for the way from an episode to what is remembered of it.
-- Why:  the foreign key of alert_state looks there for every episode that retention deletes; without an index each of
--       them reads the whole table, which is half a minute for 10,000 of them where as many devices have a state.
-- Lock: SHARE on alert_state while it is built: checks of the rules wait for some milliseconds, readings do not.

CREATE INDEX alert_state_alert_idx ON volt.alert_state (alert_id) WHERE alert_id IS NOT NULL;
