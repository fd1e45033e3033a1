-- What: the same name on the Apache-2 edition, where corrected hours are marked and computed again by the roll-up.
-- Why:  one query serves both editions.
-- Lock: none.

CREATE OR REPLACE PROCEDURE volt_internal.follow_correction(day timestamptz) LANGUAGE plpgsql AS $$ BEGIN END $$;
COMMENT ON PROCEDURE volt_internal.follow_correction(timestamptz) IS
  'Does nothing: the roll-up computes the hours of corrected readings again.';
