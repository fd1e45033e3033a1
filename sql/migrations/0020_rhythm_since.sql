-- What: since when a device's rhythm is known.
-- Why:  a vehicle that speaks every minute while it charges, and then sleeps, has not shown yet how often it speaks then.
--       Until its rhythm has been known for a day it has the limit of one that is not known.
-- Lock: ACCESS EXCLUSIVE on volt.device_rhythm for a moment (a new column without a default is no rewrite).

ALTER TABLE volt.device_rhythm ADD COLUMN known_since timestamptz;
COMMENT ON COLUMN volt.device_rhythm.known_since IS
  'When an interval while the vehicle did not drive was noted first; NULL: not after noted_at.';
