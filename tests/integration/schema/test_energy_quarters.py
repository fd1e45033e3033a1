"""Energy by quarter hour: each case of a register and of intervals, with the figures that arithmetic gives."""

import pytest

from support.schema import at, meter, store, vehicle


@pytest.fixture
def energy(connection):
    """A function: the quarter hours of a device, as (minutes from the start, energy, coverage, estimated)."""

    def rows(device, from_at, to_at, kind="meter", columns="energy_kwh, coverage, estimated"):
        found = connection.execute(
            f"SELECT quarter_hour, {columns} FROM volt.{kind}_energy_quarters(%s, %s, %s)", (device, from_at, to_at)
        )
        return [(round((when - at(0)).total_seconds() / 60), *(_plain(one) for one in rest)) for when, *rest in found]

    return rows


def _plain(value):
    return value if value is None or isinstance(value, bool | str) else round(float(value), 4)


@pytest.fixture
def total(connection):
    """A function: the energy of a meter from the start for some hours."""

    def kwh(device, hours=24.0):
        asked = "SELECT round(sum(energy_kwh), 6)::float FROM volt.meter_energy_quarters(%s, %s, %s)"
        ((found,),) = connection.execute(asked, (device, at(0), at(hours))).fetchall()
        return found

    return kwh


@pytest.fixture
def events(connection):
    def rows(device):
        found = connection.execute(
            "SELECT event, previous_kwh, register_kwh, credited_kwh FROM volt.meter_register_events(%s, %s, %s)",
            (device, at(-48), at(48)),
        )
        return [(event, *map(float, kwh)) for event, *kwh in found]

    return rows


def registers(device, *values, every_min=1.0, start_min=0.0):
    return [meter(device, at(0, start_min + every_min * n), register=kwh) for n, kwh in enumerate(values)]


def test_intervals_end_at_their_stamp(connection, energy):
    """A reading every minute of 0.1 kWh, stamped at its end: 1.5 kWh a quarter hour, the first like the others."""
    store(connection, [meter("iv-1", at(0, n), kwh=0.1) for n in range(1, 31)])
    assert energy("iv-1", at(0), at(1)) == [(0, 1.5, 1.0, False), (15, 1.5, 1.0, False)]


def test_a_quarter_hour_meter_stamped_at_the_end(connection, energy):
    """11:00 is the last of 10 o'clock."""
    store(connection, [meter("iv-2", at(0, 15 * n), kwh=float(n)) for n in range(1, 5)])
    assert [row[:2] for row in energy("iv-2", at(0), at(1))] == [(0, 1.0), (15, 2.0), (30, 3.0), (45, 4.0)]


def test_lost_interval_readings(connection, energy):
    """Nine of fifteen readings came: their energy, and 60 % of the time."""
    lost = range(4, 10)
    store(connection, [meter("iv-3", at(0, n), kwh=0.1) for n in range(1, 31) if n not in lost])
    assert energy("iv-3", at(0), at(0.5)) == [(0, 0.9, 0.6, False), (15, 1.5, 1.0, False)]


def test_a_period_of_any_length(connection, energy):
    """Cut to the second: 30 s of a reading of one minute are half of it."""
    store(connection, [meter("iv-4", at(0, n), kwh=0.1) for n in range(1, 31)])
    assert energy("iv-4", at(0, 2, 30), at(0, 4)) == [(0, 0.15, 1.0, False)]


def test_an_hourly_meter_is_spread_evenly(connection, energy):
    store(connection, [meter("iv-5", at(n), kwh=2.0) for n in range(1, 4)])
    assert energy("iv-5", at(1), at(2)) == [(60 + 15 * n, 0.5, 1.0, True) for n in range(4)]


def test_a_lone_reading_covers_its_quarter_hour(connection, energy):
    store(connection, [meter("iv-6", at(0, 15), kwh=1.0)])
    assert energy("iv-6", at(0), at(1)) == [(0, 1.0, 1.0, False)]


def test_the_registry_knows_the_interval(connection, energy):
    """A meter that reports half of its intervals: the usual spacing would be twice as long as what each covers."""
    connection.execute("INSERT INTO volt.meter (meter_id, interval_s) VALUES ('iv-7', 60) ON CONFLICT DO NOTHING")
    store(connection, [meter("iv-7", at(0, n), kwh=0.1) for n in range(1, 31, 2)])
    assert [row[2] for row in energy("iv-7", at(0), at(0.5))] == [0.5333, 0.4667]


def test_a_register_is_a_curve(connection, energy):
    """Between two readings it rises evenly: 10:14 -> 10:16 is shared by two quarter hours."""
    store(connection, registers("rg-1", 100, 100.4, 100.4, every_min=2, start_min=14))
    assert energy("rg-1", at(0), at(0.5)) == [(0, 0.2, 0.0667, False), (15, 0.2, 0.2, False)]


def test_a_gap_is_right_as_a_whole_and_unknown_inside(connection, energy):
    """Four hours without a reading, in which 22 kWh went by: an even share, between nothing and all of it."""
    store(connection, registers("rg-2", 100, 100.1) + registers("rg-2", 122.1, 122.2, start_min=241))
    rows = energy("rg-2", at(0), at(5), columns="energy_kwh, low_kwh, high_kwh, estimated")
    assert rows[1] == (15, 1.375, 0.0, 22.0, True)
    assert sum(row[1] for row in rows) == pytest.approx(22.2)


def test_a_long_stretch_without_a_rise_is_known(connection, energy):
    store(connection, registers("rg-3", 100, 100.1) + registers("rg-3", 100.1, 100.2, start_min=121))
    assert energy("rg-3", at(1), at(1.25)) == [(60, 0.0, 1.0, False)]


@pytest.mark.parametrize(
    "case",
    [
        ("exchanged", [499.9, 500, 5000, 5000.1, 5000.2], 0.3, [("impossible_step", 500, 5000, 0)]),
        ("zero", [34507.5, 0, 34507.6], 0.1, [("contradicted", 34507.5, 0, 0)]),
        ("dip", [5688.5, 5213.9, 5688.6], 0.1, [("contradicted", 5688.5, 5213.9, 0)]),
        ("spike", [100, 9000, 100.1, 100.2], 0.2, [("contradicted", 100, 9000, 0)]),
        ("jitter", [100, 99.97, 100, 99.98, 100.2], 0.2, []),
        ("reset", [100, 100.1, 0.1, 0.2], 0.3, [("reset", 100.1, 0.1, 0.1)]),
        ("drain", [36.6, 34.4, 34.4, 34.5], 0.1, [("lower_start", 36.6, 34.4, 0)]),
        ("two-resets", [50, 0, 0.1, 0.2, 0, 0.1], 0.3, [("reset", 50, 0, 0), ("reset", 0.2, 0, 0)]),
        ("last-falls", [100, 100.1, 3], 0.1, [("undecided", 100.1, 3, 0)]),
        ("last-jumps", [100, 100.1, 9000], 0.1, [("undecided", 100.1, 9000, 0)]),
    ],
    ids=lambda case: case[0],
)
def test_what_a_register_does(connection, total, events, case):
    name, values, kwh, found = case
    store(connection, registers(f"do-{name}", *values))
    assert total(f"do-{name}") == pytest.approx(kwh)
    assert events(f"do-{name}") == found


def test_a_register_that_counts_sessions(connection, total, events):
    """Each begins anew and is counted whole, though 30 kWh are far from zero."""
    connection.execute(
        "INSERT INTO volt.meter (meter_id, register_kind) VALUES ('se-1', 'session') ON CONFLICT DO NOTHING"
    )
    store(connection, registers("se-1", 0, 20, 40, every_min=30) + registers("se-1", 30, 35, start_min=600))
    assert total("se-1") == pytest.approx(75)
    assert events("se-1") == [("session", 40, 30, 30)]


@pytest.mark.parametrize(("kind", "kwh"), [("total", 36 + 12), ("session", 36 + 34.4 + 12)])
def test_a_register_that_drains_while_the_car_stands(connection, total, kind, kwh):
    """Tesla's since plug-in falls with the battery: it must be of kind total, as a session is counted whole."""
    connection.execute("INSERT INTO volt.meter (meter_id, register_kind) VALUES (%s, %s)", (f"dr-{kind}", kind))
    charge = registers(f"dr-{kind}", 0, 18, 36, 36, every_min=60)
    drained = registers(f"dr-{kind}", 34.4, 34.38, start_min=400, every_min=30)
    plugged_in = registers(f"dr-{kind}", 0, 6, 12, start_min=500, every_min=30)
    store(connection, charge + drained + plugged_in)
    assert total(f"dr-{kind}") == pytest.approx(kwh)


def test_the_limit_of_the_registry(connection, total, events):
    """A meter of 11 kW: 5 kWh within a minute are impossible, which for any device would be fine."""
    connection.execute("INSERT INTO volt.meter (meter_id, max_power_kw) VALUES ('li-1', 11) ON CONFLICT DO NOTHING")
    store(connection, registers("li-1", 100, 105, 105.1) + registers("li-2", 100, 105, 105.1))
    assert total("li-1") == pytest.approx(0.1)
    assert total("li-2") == pytest.approx(5.1)
    assert events("li-1") == [("impossible_step", 100, 105, 0)]


def test_register_then_intervals_then_register(connection, total):
    """Energy neither twice nor lost: the register counted on while the device reported intervals."""
    first = registers("mx-1", *(100 + 0.1 * n for n in range(61)))
    middle = [meter("mx-1", at(1, n), kwh=0.1) for n in range(1, 61)]
    last = registers("mx-1", *(112.1 + 0.1 * n for n in range(60)), start_min=121)
    store(connection, first + middle + last)
    assert total("mx-1", 3.0) == pytest.approx(18.0)


def test_intervals_in_a_gap(connection, energy):
    """They say when some of the energy flowed; the rest of the rise is shared out over the rest of the gap."""
    intervals = [meter("mx-3", at(1, n), kwh=0.1) for n in range(1, 61)]
    store(connection, [*registers("mx-3", 100, 100.1), *intervals, *registers("mx-3", 120.1, 120.2, start_min=241)])
    rows = energy("mx-3", at(0), at(5), columns="energy_kwh, low_kwh, high_kwh, estimated")
    assert rows[4:8] == [(60 + 15 * n, 1.5, 1.5, 1.5, False) for n in range(4)]
    assert rows[8] == (120, 1.1667, 0.0, 14.0, True)
    assert sum(row[1] for row in rows) == pytest.approx(20.2, abs=0.001)


def test_a_stray_register_takes_nothing_away(connection, total):
    readings = [meter("mx-2", at(0, n), kwh=0.1) for n in range(1, 121)]
    store(
        connection, [*readings, meter("mx-2", at(0, 30, 30), register=7.0), meter("mx-2", at(1, 45, 30), register=7.5)]
    )
    assert total("mx-2", 2.0) == pytest.approx(12.0)


def test_days_of_silence(connection, energy):
    """A vehicle that is offline for days has its curve from the readings before and after."""
    store(connection, [vehicle("of-1", at(-150), register=10), vehicle("of-1", at(-150, 1), register=10.1)])
    store(connection, [vehicle("of-1", at(10), register=42.1), vehicle("of-1", at(10, 1), register=42.1)])
    connection.execute(
        "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, last_seen_at, dc_register_kwh, dc_register_at)"
        " VALUES ('of-1', %(at)s, %(at)s, 42.1, %(at)s) ON CONFLICT DO NOTHING",
        {"at": at(10, 1)},
    )
    rows = energy("of-1", at(-72), at(-71), kind="vehicle", columns="low_kwh, high_kwh, estimated")
    assert rows == [(-72 * 60 + 15 * n, 0.0, 32.0, True) for n in range(4)]


def test_nothing_is_known(energy):
    assert energy("nobody", at(0), at(24)) == []


def test_analysts_may_ask(connection, energy):
    store(connection, registers("gr-1", 100, 100.1))
    with connection.transaction():
        connection.execute("SET LOCAL ROLE volt_reader")
        assert energy("gr-1", at(0), at(0.25)) == [(0, 0.1, 0.0667, False)]
        connection.execute("SELECT * FROM volt.vehicle_register_events('V1', now() - INTERVAL '1 day', now())")


def test_the_order_of_arrival_changes_nothing(connection, energy):
    values = [100, 100.1, 0, 100.2, 250, 250.1, 250.05, 3, 3.1]
    store(connection, registers("or-1", *values))
    store(connection, registers("or-2", *values)[::-1], size=1)
    assert energy("or-1", at(0), at(1)) == energy("or-2", at(0), at(1)) != []


def test_a_gap_ends_at_a_start(connection, total):
    """A register that was exchanged while nobody listened: its new value is no energy."""
    store(connection, registers("ga-1", 20000, 20000.1) + registers("ga-1", 5000, 5000.1, start_min=24 * 60 - 10))
    assert total("ga-1", 24.0) == pytest.approx(0.2)
