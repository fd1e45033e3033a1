-- What: who may do what.
-- Why:  volt_writer (the daemon) adds readings and updates the current state, but cannot delete, truncate or alter raw
--       data; it deletes only what it persists between two evaluation cycles. volt_reader (analysts) reads all of volt and
--       nothing of volt_internal; volt_registrar reads the same and writes the registry and decisions on registers. The
--       payloads of dead letters, which may hold anything, are for the owner alone.
-- Lock: none on data.

GRANT USAGE ON SCHEMA volt TO volt_writer, volt_reader, volt_registrar;
GRANT USAGE ON SCHEMA volt_internal TO volt_writer;

GRANT SELECT ON ALL TABLES IN SCHEMA volt TO volt_writer, volt_reader, volt_registrar;
GRANT SELECT ON ALL TABLES IN SCHEMA volt_internal TO volt_writer;
REVOKE SELECT ON volt_internal.pseudonym_change FROM volt_writer;
GRANT INSERT ON volt_internal.pseudonym_change TO volt_writer;
REVOKE SELECT ON volt.dead_letter FROM volt_writer, volt_reader, volt_registrar;
GRANT SELECT (id, received_at, topic, reason, detail, element, replayed_at, field, device_type, device_id, repeats,
              last_received_at) ON volt.dead_letter
  TO volt_writer, volt_reader, volt_registrar;
-- Only for the daemon: the hash by which it recognises a redelivery, to whom that went, and the key by which it counts
-- repeats of a field.
GRANT SELECT (redelivery_key, redelivered_to, repeat_key) ON volt.dead_letter TO volt_writer;
GRANT UPDATE (repeats, last_received_at) ON volt.dead_letter TO volt_writer;

GRANT INSERT, UPDATE, DELETE ON volt.fleet, volt.vehicle, volt.meter, volt.vehicle_meter, volt.fleet_membership,
  volt.register_decision TO volt_registrar;
-- Their triggers have the owner's rights: nobody else may attach these functions to a table.
REVOKE EXECUTE ON FUNCTION volt_internal.keep_membership(), volt_internal.check_membership(),
  volt_internal.check_timezone(), volt_internal.check_pseudonym(), volt_internal.check_register_decision(), volt_internal.pass_on_register_decision(),
  volt_internal.register_decided(text, text, timestamptz) FROM PUBLIC;

GRANT INSERT ON volt.vehicle_reading, volt.meter_reading, volt.dead_letter TO volt_writer;
-- To fill in missing values: the trigger append_only allows nothing else, whoever asks. On the whole table, because
-- TimescaleDB cannot grant single columns of a table with a columnstore.
GRANT UPDATE ON volt.vehicle_reading, volt.meter_reading TO volt_writer;
GRANT INSERT, UPDATE ON volt.vehicle_current, volt.meter_current, volt.alert, volt.alert_delivery, volt.alert_silence
  TO volt_writer;
GRANT INSERT, UPDATE, DELETE ON volt.daemon, volt.device_clock TO volt_writer;
GRANT INSERT, DELETE ON volt.retained_reading TO volt_writer;

GRANT INSERT ON volt_internal.vehicle_rollup_dirty, volt_internal.meter_rollup_dirty, volt_internal.energy_dirty TO volt_writer;
GRANT INSERT, UPDATE ON volt_internal.ingest_state, volt_internal.ingest_commit, volt_internal.rule_bounds TO volt_writer;
GRANT INSERT, DELETE ON volt_internal.excursion TO volt_writer;
GRANT UPDATE ON volt_internal.alert_progress TO volt_writer;
GRANT INSERT, UPDATE, DELETE ON volt_internal.alert_state, volt_internal.refused_device, volt_internal.device_rhythm
  TO volt_writer;

REVOKE EXECUTE ON FUNCTION volt_internal.rollup_closing_watermark(), volt_internal.close_quarter_hours(),
  volt_internal.rollup_advance(), volt_internal.rollup_recompute_vehicles(integer),
  volt_internal.rollup_recompute_meters(integer), volt_internal.keep_energy(),
  volt_internal.keep_marked_vehicles(integer), volt_internal.keep_marked_meters(integer),
  volt_internal.keep_marked_onboards(integer),
  volt_internal.keep_efficiency(integer), volt_internal.efficiency_is_kept(), volt_internal.drop_old_readings(),
  volt_internal.drop_old_dead_letters(integer), volt_internal.drop_old_alerts(integer),
  volt_internal.drop_past_alerts(bigint[]), volt_internal.raise_raw_retention(integer),
  volt_internal.timescaledb_jobs(), volt_internal.mark_sessions(), volt_internal.keep_sessions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION volt_internal.rollup_closing_watermark(), volt_internal.close_quarter_hours(),
  volt_internal.rollup_advance(), volt_internal.rollup_recompute_vehicles(integer),
  volt_internal.rollup_recompute_meters(integer), volt_internal.keep_energy(),
  volt_internal.keep_marked_vehicles(integer), volt_internal.keep_marked_meters(integer),
  volt_internal.keep_marked_onboards(integer),
  volt_internal.keep_efficiency(integer), volt_internal.efficiency_is_kept(), volt_internal.drop_old_readings(),
  volt_internal.drop_old_dead_letters(integer), volt_internal.drop_old_alerts(integer),
  volt_internal.drop_past_alerts(bigint[]), volt_internal.raise_raw_retention(integer),
  volt_internal.timescaledb_jobs(), volt_internal.mark_sessions(), volt_internal.keep_sessions(integer) TO volt_writer;
