-- What: entries into the registry, each only where it is missing. Run by voltd/simulate/fleet/registry.py.
-- Why:  people may have corrected what is there.
-- Lock: ROW EXCLUSIVE on the tables of the registry.

-- name: register_fleets
-- fleet_id, name, manager: text[].
INSERT INTO volt.fleet (fleet_id, name, manager)
SELECT * FROM unnest(%(fleet_id)s::text[], %(name)s::text[], %(manager)s::text[])
ON CONFLICT DO NOTHING

-- name: register_vehicles
-- vehicle_id, fleet_id, vin, model, status: text[].
INSERT INTO volt.vehicle (vehicle_id, fleet_id, vin, model, status)
SELECT * FROM unnest(%(vehicle_id)s::text[], %(fleet_id)s::text[], %(vin)s::text[], %(model)s::text[], %(status)s::text[])
ON CONFLICT DO NOTHING

-- name: register_meters
-- meter_id, location: text[].
INSERT INTO volt.meter (meter_id, location)
SELECT * FROM unnest(%(meter_id)s::text[], %(location)s::text[])
ON CONFLICT DO NOTHING

-- name: register_links
-- vehicle_id, meter_id, location: text[], since: timestamptz[]. A link that is there already, from whatever day on,
-- stays as it is: people may have corrected it.
INSERT INTO volt.vehicle_meter (vehicle_id, meter_id, location, valid)
SELECT link.vehicle_id, link.meter_id, link.location, tstzrange(link.since, NULL)
FROM unnest(%(vehicle_id)s::text[], %(meter_id)s::text[], %(location)s::text[], %(since)s::timestamptz[]) AS link (vehicle_id, meter_id, location, since)
WHERE NOT EXISTS (
    SELECT FROM volt.vehicle_meter AS known
    WHERE known.vehicle_id = link.vehicle_id AND known.valid && tstzrange(link.since, NULL)
)
