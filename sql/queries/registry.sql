-- Entries into the registry, each only where it is missing. Run by voltd/simulate/registry.py.

-- name: register_fleets
-- fleet_ids, names, managers: text[].
INSERT INTO volt.fleet (fleet_id, name, manager)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING;

-- name: register_vehicles
-- vehicle_ids, fleet_ids, vins, models, statuses: text[].
INSERT INTO volt.vehicle (vehicle_id, fleet_id, vin, model, status)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING;

-- name: register_meters
-- meter_ids, locations: text[].
INSERT INTO volt.meter (meter_id, location)
SELECT * FROM unnest(%s::text[], %s::text[])
ON CONFLICT DO NOTHING;

-- name: register_links
-- vehicle_ids, meter_ids, locations: text[], since: timestamptz[]. A link that is there already, from whatever day on,
-- stays as it is: people may have corrected it.
INSERT INTO volt.vehicle_meter (vehicle_id, meter_id, location, valid)
SELECT link.vehicle_id, link.meter_id, link.location, tstzrange(link.since, NULL)
FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) AS link (vehicle_id, meter_id, location, since)
WHERE NOT EXISTS (
    SELECT FROM volt.vehicle_meter AS known
    WHERE known.vehicle_id = link.vehicle_id AND known.valid && tstzrange(link.since, NULL)
);
