-- What: who may do what.
-- Why:  volt_writer (the daemon) adds readings and keeps the current state, but cannot delete, truncate or alter raw
--       data; it takes away only what it keeps for itself between two checks of the rules; volt_reader (analysts) reads
--       everything. The payloads of dead letters, which may hold anything, are for the owner alone.
-- Lock: none on data.

GRANT USAGE ON SCHEMA volt TO volt_writer, volt_reader;

GRANT SELECT ON ALL TABLES IN SCHEMA volt TO volt_writer, volt_reader;
REVOKE SELECT ON volt.dead_letter FROM volt_writer, volt_reader;
GRANT SELECT (id, received_at, topic, reason, detail, element, replayed_at, field, device_type, device_id, repeats,
              last_received_at) ON volt.dead_letter
  TO volt_writer, volt_reader;
-- A hash of the payload, and who got it again: only for the daemon, which tells a redelivery by them; and what it counts
-- repeats of a field by.
GRANT SELECT (redelivery_key, redelivered_to, repeat_key) ON volt.dead_letter TO volt_writer;
GRANT UPDATE (repeats, last_received_at) ON volt.dead_letter TO volt_writer;

GRANT INSERT ON volt.vehicle_reading, volt.meter_reading, volt.dead_letter, volt.vehicle_rollup_dirty,
  volt.meter_rollup_dirty TO volt_writer;
-- To fill in what a reading lacks: the trigger append_only allows nothing else, whoever asks. For the whole table, as
-- TimescaleDB cannot grant single columns of a table with a columnstore.
GRANT UPDATE ON volt.vehicle_reading, volt.meter_reading TO volt_writer;
GRANT INSERT, UPDATE ON volt.vehicle_current, volt.meter_current, volt.ingest_state, volt.ingest_commit TO volt_writer;
GRANT INSERT, UPDATE ON volt.alert, volt.alert_delivery, volt.alert_silence TO volt_writer;
GRANT INSERT, UPDATE, DELETE ON volt.alert_state, volt.daemon, volt.refused_device, volt.device_rhythm,
  volt.device_clock TO volt_writer;
GRANT INSERT, DELETE ON volt.excursion, volt.retained_reading TO volt_writer;
GRANT UPDATE ON volt.alert_progress TO volt_writer;
GRANT INSERT, UPDATE ON volt.rule_bounds TO volt_writer;

REVOKE EXECUTE ON FUNCTION volt.rollup_closing_watermark(), volt.rollup_close_hours(), volt.rollup_advance(),
  volt.rollup_recompute_vehicles(integer), volt.rollup_recompute_meters(integer), volt.drop_old_readings(),
  volt.drop_old_dead_letters(integer), volt.drop_old_alerts(integer),
  volt.drop_past_alerts(bigint[]), volt.keep_raw_readings(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION volt.rollup_closing_watermark(), volt.rollup_close_hours(), volt.rollup_advance(),
  volt.rollup_recompute_vehicles(integer), volt.rollup_recompute_meters(integer), volt.drop_old_readings(),
  volt.drop_old_dead_letters(integer), volt.drop_old_alerts(integer),
  volt.drop_past_alerts(bigint[]), volt.keep_raw_readings(integer) TO volt_writer;
