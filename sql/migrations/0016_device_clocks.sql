-- What: how far the clocks of devices are certainly behind; the last past episodes by number.
-- Why:  the rules evaluate readings of such a device at the corrected time, and every writer has to tell late readings
--       from live ones in the same way; a daemon that starts must know it at once, or it would take hours for news.
--       Past episodes are evaluated anew when more readings of their time arrive: the daemon asks for the last ones.
-- Lock: SHARE on alert while the index is built: checks of the rules wait for some milliseconds, readings do not.

CREATE TABLE volt.device_clock (
  device_type text             NOT NULL,
  device_id   text             NOT NULL,
  behind_s    double precision NOT NULL,
  certain_at  timestamptz      NOT NULL DEFAULT now(),
  CONSTRAINT device_clock_pkey PRIMARY KEY (device_type, device_id),
  CONSTRAINT device_clock_device_type_known CHECK (device_type IN ('vehicle', 'meter')),
  CONSTRAINT device_clock_is_behind CHECK (behind_s > 0)
);
COMMENT ON TABLE volt.device_clock IS
  'Devices whose clocks are certainly behind by more than a minute; a device that is not here is right, ahead, or not known.';
COMMENT ON COLUMN volt.device_clock.device_type IS 'vehicle or meter.';
COMMENT ON COLUMN volt.device_clock.device_id IS 'The device.';
COMMENT ON COLUMN volt.device_clock.behind_s IS
  'Seconds by which its clock is behind; its recorded_at plus this is about when a reading was measured.';
COMMENT ON COLUMN volt.device_clock.certain_at IS 'When voltd became certain of this value.';

CREATE INDEX alert_past_idx ON volt.alert (alert_id) WHERE past;
