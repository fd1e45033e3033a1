"""A changed setting reaches what is kept."""

from support.schema import at, link, materialise, meter, store, vehicle


def _day(connection, vehicle_id):
    return connection.execute(
        "SELECT sum(dc_kwh)::float, sum(standby_kwh)::float, sum(unassigned_kwh)::float FROM volt.efficiency_daily"
        " WHERE vehicle_id = %s",
        (vehicle_id,),
    ).fetchone()


def test_standby_power_zone_and_most_power(connection):
    """An hour at 0.06 kW is standby or not; 50 kWh in five minutes are a charge or a fault; days begin elsewhere."""
    link(connection, "set-1", "set-m1")
    store(connection, [vehicle("set-1", at(0, n), register=1000.0 if n < 30 else 1050.0) for n in range(0, 61, 5)])
    store(connection, [meter("set-m1", at(0, n), kwh=0.06 / 60) for n in range(1, 61)])
    connection.execute("INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, dc_register_kwh, dc_register_at)"
                       " VALUES ('set-1', %s, 1050, %s)", (at(1), at(1)))  # fmt: skip
    materialise(connection)
    dc_kwh, standby_kwh, unassigned_kwh = _day(connection, "set-1")
    assert (dc_kwh, standby_kwh) == (0.0, 0.0)  # 600 kW are more than a vehicle takes
    assert unassigned_kwh > 0
    for name, value in (("standby_kw", 0.1), ("max_power_kw", 700)):
        connection.execute(
            "UPDATE volt_internal.setting SET value = %s WHERE name = 'efficiency_' || %s", (str(value), name)
        )
    materialise(connection)
    dc_kwh, standby_kwh, unassigned_kwh = _day(connection, "set-1")
    assert (dc_kwh, unassigned_kwh) == (50.0, 0.0)
    assert standby_kwh > 0
    connection.execute("UPDATE volt_internal.setting SET value = 'Asia/Kolkata' WHERE name = 'timezone'")
    materialise(connection)
    ((minute,),) = connection.execute(
        "SELECT DISTINCT extract(minute FROM began_at)::int FROM volt.efficiency_daily WHERE vehicle_id = 'set-1'"
    ).fetchall()
    assert minute == 30
