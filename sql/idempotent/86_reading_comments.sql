-- What: comments of the readings' columns, in the history and in the current state.
-- Why:  they follow from the declaration of the readings, like everything else that names these columns.
-- Lock: SHARE UPDATE EXCLUSIVE for a moment.

-- each device:
-- each value: COMMENT ON COLUMN volt.{device}_reading.{value} IS '{meaning}{unit}.';
-- each value: COMMENT ON COLUMN volt.{device}_current.{value} IS '{meaning}{unit}.';
-- each time: COMMENT ON COLUMN volt.{device}_current.{at} IS 'When {values} was measured.';
-- end
