-- What: the first half of a move from Apache-2 to Community: its views are dropped for continuous aggregates.
-- Why:  the names stay the same. Hours whose raw readings are gone exist in the roll-up tables only, so those tables are
--       kept under their names and 25_edition_history copies what cannot be computed again.
-- Lock: ACCESS EXCLUSIVE on the views; nothing on a database that was Community from the start.

DO $$
BEGIN
  IF to_regclass('volt_internal.vehicle_hourly_rollup') IS NULL
     OR EXISTS (SELECT FROM timescaledb_information.continuous_aggregates
                WHERE view_schema = 'volt' AND view_name = 'vehicle_hourly') THEN
    RETURN;
  END IF;
  DROP VIEW IF EXISTS volt.vehicle_daily, volt.meter_daily, volt.vehicle_hourly, volt.meter_hourly,
    volt_internal.vehicle_hourly_live, volt_internal.meter_hourly_live, volt_internal.vehicle_hourly_stored, volt_internal.meter_hourly_stored;
EXCEPTION WHEN dependent_objects_still_exist THEN
  RAISE insufficient_privilege USING
    MESSAGE = 'views of yours depend on volt''s hourly or daily views, which must be replaced because the edition changed',
    HINT = 'drop your views that read volt.vehicle_hourly and the like, run "voltd migrate", make them again';
END $$;
