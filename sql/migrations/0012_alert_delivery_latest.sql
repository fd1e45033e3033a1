-- What: the index by which the deliveries of an episode on a channel are found gives them in their order, too.
-- Why:  whether an open episode is to be told again depends on the last of them: looking at all of them took longer with
--       every repetition, some tenths of a second a channel once thousands of alerts had been open for days.
-- Lock: SHARE on alert_delivery while the index is built (nothing is told meanwhile), then for a moment ACCESS EXCLUSIVE.

CREATE INDEX alert_delivery_latest_idx ON volt.alert_delivery (alert_id, channel, delivery_id);
DROP INDEX volt.alert_delivery_alert_idx;
