"""Devices that report every quarter hour or so: their pieces of energy touch up to three quarter hours.

Both editions have the same tables and functions for this, so each test is tried on one of them.
"""

import datetime as dt
import random

from support.energy.kept import same_as_defined
from support.schema import at, connection_of, keep_at, materialise, meter, store

__all__ = ["connection_of"]  # a fixture

MINUTE = dt.timedelta(minutes=1)


def _jittering(rng, start, end, minutes=15, seconds=25):
    """Times about so many minutes apart, each up to so many seconds early or late."""
    places = range(1, int((end - start) / MINUTE) // minutes)
    return [start + minutes * place * MINUTE + dt.timedelta(seconds=rng.uniform(-seconds, seconds)) for place in places]


def _readings(rng, start, end):
    """Of each device its readings; the names of those of which sums tell the energy begin with ``sums``."""
    found = {}

    def registers(name, times, rise=0.7):
        total = 100.0
        found[name] = []
        for when in times:
            total += rise * rng.uniform(0.5, 1.5)
            found[name].append(meter(name, when, register=round(total, 3)))

    for number in range(4):
        registers(f"sums-register-{number}", _jittering(rng, start, end))
    registers("sums-idle", _jittering(rng, start, end), rise=0)
    registers("sums-known", _jittering(rng, start, end))
    registers("claims-5-minutes", _jittering(rng, start, end))
    registers("loses", [when for when in _jittering(rng, start, end) if rng.random() > 0.1])
    registers("each-minute", [
        when for when in _jittering(rng, start, end, 1, 2) if (when - start) / MINUTE % 300 > 15.2])  # fmt: skip
    registers(
        "changes",
        [*_jittering(rng, start, start + 14 * 60 * MINUTE), *_jittering(rng, start + 14 * 60 * MINUTE, end, 5)],
    )
    registers("hourly-besides", _jittering(rng, start, end))
    hours = [start + dt.timedelta(hours=hour, minutes=7) for hour in range(5, 20)]
    found["hourly-besides"] += [meter("hourly-besides", when, kwh=1) for when in hours]
    for number in range(3):  # the median is a little less or more than 900 s, another one each day
        name = f"sums-interval-{number}"
        times = _jittering(rng, start, end, seconds=4)
        found[name] = [meter(name, when, kwh=rng.choice([0, 0.5, 0.6])) for when in times]
    times = [when for when in _jittering(rng, start, end) if rng.random() > 0.1]
    found["sums-known-interval"] = [meter("sums-known-interval", when, kwh=0.5) for when in times]
    return found


def _register(connection):
    connection.execute(
        "INSERT INTO volt.meter (meter_id, interval_s) VALUES ('sums-known', 900), ('claims-5-minutes', 300)"
    )
    connection.execute("INSERT INTO volt.meter (meter_id, interval_s) VALUES ('sums-known-interval', 900)")


def test_as_history_is_caught_up_with(connection_of, editions):
    """All is there when it is computed, hours at once."""
    connection = connection_of(editions[0], "quarterly history")
    _register(connection)
    start = at(0).replace(hour=0) - dt.timedelta(days=3)
    readings = _readings(random.Random(3), start, start + dt.timedelta(hours=60))
    store(connection, [one for each in readings.values() for one in each], 5000)
    materialise(connection)
    for name in readings:
        same_as_defined(connection, "meter", name)


def test_as_time_goes_on(connection_of, editions):
    """Quarter hour by quarter hour, over a midnight, some messages late; the figures are right at any time."""
    connection = connection_of(editions[-1], "quarterly")
    _register(connection)
    rng = random.Random(4)
    start = at(0).replace(hour=9) - dt.timedelta(days=3)
    ends = start + dt.timedelta(hours=30)
    readings = _readings(rng, start, ends)
    delays = [dt.timedelta()] * 60 + [dt.timedelta(minutes=4)] * 8 + [dt.timedelta(hours=3)]
    arriving = sorted(
        ((one.recorded_at + rng.choice(delays), one) for each in readings.values() for one in each),
        key=lambda pair: pair[0],
    )
    connection.execute("UPDATE volt_internal.rollup_state SET closing_watermark = %s", (start,))
    now = start
    while now < ends + dt.timedelta(hours=26):
        now += rng.choice([10, 15, 15, 25]) * MINUTE if arriving else dt.timedelta(hours=2)
        arrived = [one for when, one in arriving if when <= now]
        del arriving[: len(arrived)]
        store(connection, arrived, 500)
        keep_at(connection, now)
        if arriving and rng.random() < 0.1:
            for name in (one for one in readings if one.startswith("sums-register")):
                same_as_defined(connection, "meter", name)
    for name in readings:
        same_as_defined(connection, "meter", name)


def test_sums_tell_them(connection_of, editions):
    """Only devices that lose messages, or go on otherwise, are computed one by one."""
    connection = connection_of(editions[-1], "quarterly sums")
    _register(connection)
    start = at(0).replace(hour=0) - dt.timedelta(days=3)
    readings = _readings(random.Random(5), start, start + dt.timedelta(hours=16))
    connection.execute("UPDATE volt_internal.rollup_state SET closing_watermark = %s", (start,))
    store(connection, [one for each in readings.values() for one in each], 5000)
    keep_at(connection, start + dt.timedelta(hours=12, minutes=20))
    others = set()
    for number in range(8):
        with connection.transaction(force_rollback=True):
            (found,) = connection.execute(
                "SELECT volt_internal.keep_meter_quarters(energy_watermark, energy_watermark + INTERVAL '15 minutes')"
                " FROM volt_internal.rollup_state"
            ).fetchone()
            others.update(found)
        keep_at(connection, start + dt.timedelta(hours=12, minutes=35 + 15 * number))
    assert [one for one in others if one.startswith("sums")] == []
    assert {"loses", "claims-5-minutes"} <= others


def test_many_are_marked(connection_of, editions):
    """What a setting concerns is computed at once, and only what has become another has its efficiency computed."""
    connection = connection_of(editions[0], "quarterly marks")
    rng = random.Random(6)
    start = at(0).replace(hour=0) - dt.timedelta(days=3)
    names = [f"many-{number}" for number in range(210)]
    times = {name: _jittering(rng, start, start + dt.timedelta(hours=8)) for name in names}
    # One in seventy has a step that some powers can make and others cannot.
    store(connection, [
        meter(name, when, register=100 + 0.5 * place + 150 * (place > 15) * (number % 70 == 0))
        for number, name in enumerate(names) for place, when in enumerate(times[name])
    ], 5000)  # fmt: skip
    connection.execute(
        "INSERT INTO volt.vehicle_meter (vehicle_id, meter_id) SELECT 'v-' || m, m FROM unnest(%s::text[]) AS m",
        (names,),
    )
    connection.execute(
        "INSERT INTO volt.meter_current (meter_id, recorded_at, ac_register_kwh, ac_register_at)"
        " SELECT m, %s, 100, %s FROM unnest(%s::text[]) AS m",
        (start, start + dt.timedelta(hours=7.5), names),
    )
    materialise(connection)
    connection.execute("UPDATE volt_internal.setting SET value = '800' WHERE name = 'efficiency_max_power_kw'")
    while connection.execute("SELECT volt_internal.keep_marked_meters(50)").fetchone() != (0,):
        pass
    changed = {one for (one,) in connection.execute("SELECT vehicle_id FROM volt_internal.efficiency_dirty")}
    assert {f"v-many-{number}" for number in (0, 70, 140)} <= changed
    assert len(changed) < 100
    materialise(connection)
    for name in names[::35]:
        same_as_defined(connection, "meter", name)
