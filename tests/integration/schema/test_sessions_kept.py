"""Kept charging sessions: they are what the function finds, whatever comes late, and keep their ids."""

import datetime as dt

import pytest

from support.energy import model, sides
from support.schema import HOUR, at, keep, link, store
from support.sessions import rows
from support.sessions.model import Meter, Reading, World
from support.sessions.random_worlds import random_world
from voltd.database import sessions

_COLUMNS = (
    "vehicle_id, fleet_id, meter_id, start_date_time, end_date_time, status, round(kwh, 6), round(dc_kwh, 6),"
    " efficiency_pct, quality, dc_source, ac_source, last_charging_at, charging_s, soc_start_pct, soc_end_pct,"
    " power_max_kw, found_by, estimated"
)
STEP = dt.timedelta(minutes=5)


def _kept(connection, vehicle, columns=_COLUMNS):
    return connection.execute(
        f"SELECT {columns} FROM volt.charging_session WHERE vehicle_id = %s ORDER BY start_date_time", (vehicle,)
    ).fetchall()


def _found(connection, vehicle, by="volt_internal.sessions_from_raw"):
    return connection.execute(
        f"SELECT {_COLUMNS} FROM {by}(%s, %s, %s) ORDER BY start_date_time",
        (vehicle, HOUR - dt.timedelta(days=30), HOUR + dt.timedelta(days=9)),
    ).fetchall()


def _follow(connection):
    """Energy first: what changes there marks sessions. What is due later is due now."""
    keep(connection)
    connection.execute("UPDATE volt_internal.session_dirty SET due_at = now() WHERE due_at > now()")
    while sessions.run_once(connection, within_s=300):
        pass


def _charge(start, end, register=100.0, kw=6.0):
    """A reading each five minutes, the first and the last as well; word and register."""
    return [
        Reading(start + n * STEP, word="charging", register_kwh=round(register + kw * n / 12, 6))
        for n in range((end - start) // STEP + 1)
    ]


def _register(connection, vehicle, *meters):
    rows.put(connection, vehicle, World((), meters))


def _add(connection, vehicle, *readings):
    store(connection, rows.readings(vehicle, World(tuple(readings))))
    _follow(connection)


@pytest.mark.parametrize("seed", range(100, 106))
def test_as_readings_arrive(connection, seed):
    """In any order and in batches, with looks in between: in the end the kept sessions are those of the function."""
    _follow(connection)
    world = random_world(seed, HOUR - dt.timedelta(days=3))
    vehicle = f"arriving-{seed}"
    _register(connection, vehicle, *world.meters)
    given = rows.readings(vehicle, world)
    third = len(given) // 3 + 1
    for start in range(0, len(given), third):
        store(connection, given[start : start + third])
        _follow(connection)
    assert _kept(connection, vehicle) == _found(connection, vehicle)
    assert len(_kept(connection, vehicle)) > 0

    # The function takes what is kept, until something is marked.
    connection.execute("INSERT INTO volt_internal.session_look (vehicle_id) VALUES (%s)", (vehicle,))
    assert _found(connection, vehicle, "volt.charging_sessions") == _kept(connection, vehicle)
    until = "SELECT volt_internal.sessions_kept_until(%s)"
    assert connection.execute(until, (vehicle,)).fetchone()[0] > HOUR
    connection.execute("UPDATE volt_internal.charging_session SET soc_end_pct = 99 WHERE vehicle_id = %s", (vehicle,))
    assert _found(connection, vehicle, "volt.charging_sessions") == _kept(connection, vehicle)
    connection.execute("INSERT INTO volt_internal.session_dirty VALUES (%s, %s, %s)", (vehicle, at(0), at(1)))
    assert connection.execute(until, (vehicle,)).fetchone() == (None,)
    assert _found(connection, vehicle, "volt.charging_sessions") == _found(connection, vehicle)
    connection.execute("UPDATE volt_internal.charging_session SET soc_end_pct = NULL WHERE vehicle_id = %s", (vehicle,))


def test_an_id_stays_with_its_session(connection):
    """Late readings move the start, join two sessions and part them again."""
    _follow(connection)
    vehicle = "ids"
    _register(connection, vehicle)
    _add(
        connection,
        vehicle,
        *_charge(at(1), at(2)),
        Reading(at(2, 5), word="IDLE"),
        *_charge(at(4), at(6), register=106),
    )
    first, second = [one for (one,) in _kept(connection, vehicle, "session_id")]
    assert first == f"ids/{at(1):%Y%m%dT%H%M%SZ}"
    _add(connection, vehicle, *_charge(at(0), at(0, 55), register=94))
    assert _kept(connection, vehicle, "session_id, start_date_time") == [(first, at(0)), (second, at(4))]
    _add(connection, vehicle, Reading(at(2, 10), word="connected"))
    assert _kept(connection, vehicle, "session_id, start_date_time") == [(first, at(0))]
    _add(connection, vehicle, Reading(at(3), speed_kmh=30))
    (one, other) = _kept(connection, vehicle, "session_id, start_date_time")
    assert (one, other[1]) == ((first, at(0)), at(4))
    assert other[0] == second


def test_what_the_current_state_shows(connection):
    """A session is there with its first reading, and completed when the vehicle says that it is unplugged."""
    _follow(connection)
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    vehicle = "current"

    def say(when, word, soc):
        rows_of = rows.readings(vehicle, World((Reading(when, word=word, soc_pct=soc),)))
        store(connection, rows_of)
        connection.execute(
            "INSERT INTO volt.vehicle_current (vehicle_id, recorded_at, charging_status, charging_status_at)"
            " VALUES (%(id)s, %(at)s, %(word)s, %(at)s) ON CONFLICT (vehicle_id) DO UPDATE SET"
            " recorded_at = excluded.recorded_at, charging_status = excluded.charging_status,"
            " charging_status_at = excluded.charging_status_at",
            {"id": vehicle, "at": when, "word": word},
        )
        sessions.run_once(connection)
        return _kept(connection, vehicle, "status, start_date_time, end_date_time, soc_end_pct")

    begins = now - dt.timedelta(minutes=4)
    assert say(begins - dt.timedelta(minutes=1), "available", 20) == []
    assert say(begins, "Charging", 20) == [("ACTIVE", begins, None, 20)]
    assert say(begins + dt.timedelta(minutes=1), "SuspendedEV", 21)[0][0] == "ACTIVE"
    ended = begins + dt.timedelta(minutes=1)
    assert say(begins + dt.timedelta(minutes=2), "Available", 21) == [("COMPLETED", begins, ended, 21)]


def test_meter_link_and_fleet_come_later(connection):
    """Energy of the meter, a link, and the fleet that the vehicle was in."""
    _follow(connection)
    vehicle, name = "follows", "M-follows"
    _register(connection, vehicle)
    _add(connection, vehicle, *_charge(at(1), at(3)), Reading(at(5), speed_kmh=50, word="driving"))
    assert _kept(connection, vehicle, "kwh, quality, fleet_id") == [(None, "no_ac", None)]
    ac = [model.Reading(at(0) + n * STEP, register_kwh=round(min(max(n - 12, 0), 24) * 0.55, 6)) for n in range(61)]
    store(connection, sides.readings(name, "meter", model.Side(tuple(ac))))
    link(connection, vehicle, name)
    _follow(connection)
    assert _kept(connection, vehicle, "kwh::float, quality, meter_id") == [(pytest.approx(13.2), "ok", name)]
    connection.execute("INSERT INTO volt.fleet (fleet_id) VALUES ('of follows')")
    connection.execute(
        "INSERT INTO volt.fleet_membership VALUES (%s, 'of follows', tstzrange(NULL, %s))", (vehicle, at(9))
    )
    _follow(connection)
    assert _kept(connection, vehicle, "fleet_id") == [("of follows",)]


def test_a_look_that_is_killed_is_done_again(connection):
    """The marks are there as long as the sessions are not."""
    _follow(connection)
    vehicle = "killed"
    _register(connection, vehicle)
    store(connection, rows.readings(vehicle, World(tuple(_charge(at(1), at(3))))))
    connection.execute("INSERT INTO volt_internal.session_dirty VALUES (%s, %s, %s)", (vehicle, at(1), at(3)))
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT volt_internal.keep_sessions(100)")
        assert len(_kept(connection, vehicle)) == 1
    assert _kept(connection, vehicle) == []
    _follow(connection)
    assert _kept(connection, vehicle) == _found(connection, vehicle)
    assert len(_kept(connection, vehicle)) == 1


def test_sessions_outlive_their_readings(connection):
    """What the retention has dropped raw readings of stays as it is."""
    _follow(connection)
    vehicle = "outlives"
    _register(connection, vehicle, Meter(model.Side((model.Reading(at(1), register_kwh=0),))))
    _add(connection, vehicle, *_charge(at(1), at(3)))
    before = _kept(connection, vehicle)
    connection.execute("DELETE FROM volt.vehicle_reading WHERE vehicle_id = %s", (vehicle,))
    ((since,),) = connection.execute("SELECT dropped_before::text FROM volt_internal.rollup_state").fetchall()
    try:
        connection.execute("UPDATE volt_internal.rollup_state SET dropped_before = %s", (at(4),))
        connection.execute("INSERT INTO volt_internal.session_dirty VALUES (%s, %s, %s)", (vehicle, at(1), at(3)))
        while sessions.run_once(connection):
            pass
    finally:
        connection.execute("UPDATE volt_internal.rollup_state SET dropped_before = %s", (since,))
    assert _kept(connection, vehicle) == before
    assert len(before) == 1


def test_what_happens_now_comes_before_the_past(connection):
    """A changed setting marks months of all vehicles; a session that ends meanwhile is found all the same."""
    past, now = HOUR - dt.timedelta(days=20), HOUR - dt.timedelta(hours=2)
    _add(connection, "EV-NEW", *_charge(now, now + dt.timedelta(hours=1)))
    marks = [(f"EV-{n}", past, past + dt.timedelta(days=1), "1 hour") for n in range(20)]
    marks.append(("EV-NEW", now, now + dt.timedelta(hours=1), "0 s"))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM volt_internal.session_dirty")
        cursor.executemany(
            "INSERT INTO volt_internal.session_dirty (vehicle_id, from_at, to_at, due_at)"
            " VALUES (%s, %s, %s, now() - %s::interval)",
            marks,
        )
    assert connection.execute("SELECT volt_internal.keep_sessions(1)").fetchall() == [(1,)]
    left = connection.execute("SELECT count(*), bool_or(vehicle_id = 'EV-NEW') FROM volt_internal.session_dirty")
    assert left.fetchall() == [(20, False)]
