-- What: charging sessions as voltd keeps them, what must be looked at again, and what was last seen of each vehicle.
-- Why:  found from raw readings they take milliseconds a vehicle and day: too long for a fleet and a month. They stay when
--       raw readings are dropped.
-- Lock: none on existing data, the tables are new.

CREATE TABLE volt_internal.charging_session (
  session_id          text        NOT NULL,
  vehicle_id          text        NOT NULL,
  fleet_id            text,
  meter_id            text,
  source              text,
  start_date_time     timestamptz NOT NULL,
  end_date_time       timestamptz,
  status              text        NOT NULL,
  kwh                 numeric,
  dc_kwh              numeric,
  ac_kwh              numeric,
  comparable_dc_kwh   numeric,
  comparable_ac_kwh   numeric,
  efficiency_pct      numeric,
  efficiency_low_pct  numeric,
  efficiency_high_pct numeric,
  quality             text,
  dc_source           text,
  ac_source           text,
  last_charging_at    timestamptz NOT NULL,
  duration_s          numeric     NOT NULL,
  charging_s          numeric     NOT NULL,
  soc_start_pct       double precision,
  soc_end_pct         double precision,
  odometer_start_km   double precision,
  odometer_end_km     double precision,
  power_max_kw        numeric,
  battery_temp_max_c  double precision,
  latitude            double precision,
  longitude           double precision,
  found_by            text        NOT NULL,
  estimated           boolean     NOT NULL,
  changed_at          timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT charging_session_pkey PRIMARY KEY (vehicle_id, start_date_time),
  CONSTRAINT charging_session_status_known CHECK (status IN ('ACTIVE', 'COMPLETED')),
  CONSTRAINT charging_session_ends CHECK ((end_date_time IS NULL) = (status = 'ACTIVE')),
  -- Deferred: two sessions may change their ids at once.
  CONSTRAINT charging_session_session_id_key UNIQUE (session_id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX charging_session_start_idx ON volt_internal.charging_session (start_date_time);
CREATE INDEX charging_session_active_idx ON volt_internal.charging_session (vehicle_id) WHERE status = 'ACTIVE';
COMMENT ON TABLE volt_internal.charging_session IS 'What volt.charging_session shows.';
COMMENT ON COLUMN volt_internal.charging_session.session_id IS 'Stays the same while the session changes: made of the vehicle and the start as first found.';
COMMENT ON COLUMN volt_internal.charging_session.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.charging_session.fleet_id IS 'Its fleet at the start; NULL: none.';
COMMENT ON COLUMN volt_internal.charging_session.meter_id IS 'Meters that fed it, separated by commas; NULL: none with readings.';
COMMENT ON COLUMN volt_internal.charging_session.source IS 'Whose AC energy kwh is: meter; onboard (no meter is linked: the vehicle''s own charger); mixed; NULL: neither is known.';
COMMENT ON COLUMN volt_internal.charging_session.start_date_time IS 'First sign of charging.';
COMMENT ON COLUMN volt_internal.charging_session.end_date_time IS 'Last sign of charging; NULL while it may go on.';
COMMENT ON COLUMN volt_internal.charging_session.status IS 'ACTIVE: it may go on. COMPLETED.';
COMMENT ON COLUMN volt_internal.charging_session.kwh IS 'At the wall: AC energy of the linked meters from the first to the last sign, to the second, its share where others were fed too, or of the vehicle''s own charger; NULL: nothing measured it.';
COMMENT ON COLUMN volt_internal.charging_session.dc_kwh IS 'DC energy that reached the vehicle, of the stretch within which it is known; NULL: nothing is known.';
COMMENT ON COLUMN volt_internal.charging_session.ac_kwh IS 'AC energy of that stretch: longer than the session where the vehicle was silent at one end.';
COMMENT ON COLUMN volt_internal.charging_session.comparable_dc_kwh IS 'What the efficiency is made of, as in What is compared.';
COMMENT ON COLUMN volt_internal.charging_session.comparable_ac_kwh IS 'What the efficiency is made of, as in What is compared.';
COMMENT ON COLUMN volt_internal.charging_session.efficiency_pct IS 'DC / AC of that stretch, %; NULL: nothing could be compared.';
COMMENT ON COLUMN volt_internal.charging_session.efficiency_low_pct IS 'Its bounds, %.';
COMMENT ON COLUMN volt_internal.charging_session.efficiency_high_pct IS 'Its bounds, %.';
COMMENT ON COLUMN volt_internal.charging_session.quality IS 'As of vehicle_efficiency over that stretch; no_ac: no meter ran.';
COMMENT ON COLUMN volt_internal.charging_session.dc_source IS 'Of what the energy is: register, interval or both.';
COMMENT ON COLUMN volt_internal.charging_session.ac_source IS 'Of what the energy is: register, interval or both.';
COMMENT ON COLUMN volt_internal.charging_session.last_charging_at IS 'Last sign of charging, also of an active session.';
COMMENT ON COLUMN volt_internal.charging_session.duration_s IS 'From the first to the last sign, s.';
COMMENT ON COLUMN volt_internal.charging_session.charging_s IS 'Of that, how long there were signs; holes of up to 5 minutes count, s.';
COMMENT ON COLUMN volt_internal.charging_session.soc_start_pct IS 'State of charge: the newest before, the first after, within an hour and while it stood; else the first and last within.';
COMMENT ON COLUMN volt_internal.charging_session.soc_end_pct IS 'State of charge: the newest before, the first after, within an hour and while it stood; else the first and last within.';
COMMENT ON COLUMN volt_internal.charging_session.odometer_start_km IS 'Odometer, likewise.';
COMMENT ON COLUMN volt_internal.charging_session.odometer_end_km IS 'Odometer, likewise.';
COMMENT ON COLUMN volt_internal.charging_session.power_max_kw IS 'Highest chargingPower, or else highest mean power of a step or interval of at most 15 minutes, kW.';
COMMENT ON COLUMN volt_internal.charging_session.battery_temp_max_c IS 'Highest battery temperature, °C.';
COMMENT ON COLUMN volt_internal.charging_session.latitude IS 'Where it was at the start.';
COMMENT ON COLUMN volt_internal.charging_session.longitude IS 'Where it was at the start.';
COMMENT ON COLUMN volt_internal.charging_session.found_by IS 'The strongest sign: energy, meter, power, status.';
COMMENT ON COLUMN volt_internal.charging_session.estimated IS 'It has energy of a silence of which nobody knows when it flowed: start or end may be off by that silence.';
COMMENT ON COLUMN volt_internal.charging_session.changed_at IS 'When voltd last changed the row.';

CREATE TABLE volt_internal.session_dirty (
  vehicle_id text        NOT NULL,
  from_at    timestamptz NOT NULL,
  to_at      timestamptz NOT NULL,
  due_at     timestamptz NOT NULL DEFAULT now(),
  figures    boolean     NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX session_dirty_vehicle_id_idx ON volt_internal.session_dirty (vehicle_id);
CREATE INDEX session_dirty_due_at_idx ON volt_internal.session_dirty (due_at);
COMMENT ON TABLE volt_internal.session_dirty IS
  'Periods of vehicles in which sessions must be looked for again. Append only and without a key: no writer waits.';
COMMENT ON COLUMN volt_internal.session_dirty.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.session_dirty.from_at IS 'Begin of the period.';
COMMENT ON COLUMN volt_internal.session_dirty.to_at IS 'End of the period.';
COMMENT ON COLUMN volt_internal.session_dirty.due_at IS 'Not before this time.';
COMMENT ON COLUMN volt_internal.session_dirty.figures IS
  'Whether energy has changed and nothing else, so that a period without energy and sessions need not be looked at.';

CREATE TABLE volt_internal.session_look (
  vehicle_id  text        NOT NULL,
  word        text,
  word_means  text,
  has_power   boolean,
  is_moving   boolean     NOT NULL DEFAULT false,
  register_kwh double precision,
  interval_at timestamptz,
  seen_at     timestamptz,
  looked_at   timestamptz NOT NULL DEFAULT '-infinity',
  due_at      timestamptz,
  CONSTRAINT session_look_pkey PRIMARY KEY (vehicle_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE volt_internal.session_look IS
  'What the current state of each vehicle said of charging when sessions were last looked for, so that changes are noticed.';
COMMENT ON COLUMN volt_internal.session_look.vehicle_id IS 'The vehicle.';
COMMENT ON COLUMN volt_internal.session_look.word IS 'Its charging status.';
COMMENT ON COLUMN volt_internal.session_look.word_means IS 'charging, plugged, unplugged, or NULL: nothing.';
COMMENT ON COLUMN volt_internal.session_look.has_power IS 'Whether it had the power of charging.';
COMMENT ON COLUMN volt_internal.session_look.is_moving IS 'Whether it moved.';
COMMENT ON COLUMN volt_internal.session_look.register_kwh IS 'Its DC register, kWh.';
COMMENT ON COLUMN volt_internal.session_look.interval_at IS 'The time of its last interval of DC energy.';
COMMENT ON COLUMN volt_internal.session_look.seen_at IS 'The time of its newest reading then.';
COMMENT ON COLUMN volt_internal.session_look.looked_at IS 'When its readings were last looked at.';
COMMENT ON COLUMN volt_internal.session_look.due_at IS 'When they are to be looked at again, whatever the current state says; NULL: never.';

CREATE TABLE volt_internal.session_state (
  only_row  boolean     NOT NULL DEFAULT true,
  looked_at timestamptz NOT NULL DEFAULT '-infinity',
  CONSTRAINT session_state_pkey PRIMARY KEY (only_row),
  CONSTRAINT session_state_one_row CHECK (only_row)
);
INSERT INTO volt_internal.session_state DEFAULT VALUES;
COMMENT ON TABLE volt_internal.session_state IS 'How far the kept sessions are.';
COMMENT ON COLUMN volt_internal.session_state.only_row IS 'Always true: the table has one row.';
COMMENT ON COLUMN volt_internal.session_state.looked_at IS 'When the current state of all vehicles was last looked at.';

-- What is stored already.
INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at)
SELECT c.vehicle_id, s.at, s.at + INTERVAL '30 days'
FROM volt.vehicle_current c
CROSS JOIN generate_series(
  (SELECT min(k.range_start) FROM timescaledb_information.chunks k
   WHERE k.hypertable_schema = 'volt' AND k.hypertable_name = 'vehicle_reading'), now(), INTERVAL '30 days') AS s (at);
