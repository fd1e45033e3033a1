"""Kept energy and efficiency follow what becomes known later: quarter hours, hours and days as raw readings give them.

Each change has a world of its own.
"""

import functools

import pytest

from support.energy.world import World, on
from support.schema import connection_of, keep, link, materialise, store

__all__ = ["connection_of"]  # a fixture
_LINK = "UPDATE volt.vehicle_meter SET valid = tstzrange({}) WHERE vehicle_id = %({})s AND meter_id = %({})s"
_MEMBER = "UPDATE volt.fleet_membership SET valid = {} WHERE vehicle_id = %(b)s AND fleet_id = %({})s"


def _link_begins_earlier(world):
    world.sql(_LINK.format("%(at)s, upper(valid)", "a", "m"), at=on(0, 31))
    yield
    world.sql(_LINK.format("%(at)s, upper(valid)", "b", "m"), at=on(0, 12, 30))


def _link_ends_earlier(world):
    world.sql(_LINK.format("lower(valid), %(at)s", "b", "m"), at=on(6, 17))
    yield
    world.sql(_LINK.format("lower(valid), %(at)s", "a", "m"), at=on(2, 44))


def _link_is_deleted(world):
    world.sql("DELETE FROM volt.vehicle_meter WHERE vehicle_id = %(b)s AND meter_id = %(m)s")


def _link_adjoins_another(world):
    """A gap of the meter ends ten seconds into the second one, and counts to the hour before if it is linked."""
    with world.connection.transaction():
        world.sql(_LINK.format("lower(valid), %(at)s", "b", "n"), at=on(25))
        link(world.connection, world.id("b"), world.id("n"), on(25))
    yield
    world.sql("DELETE FROM volt.vehicle_meter WHERE vehicle_id = %(b)s AND lower(valid) = %(at)s", at=on(25))


def _second_vehicle_at_a_meter(world):
    link(world.connection, world.id("a"), world.id("n"), on(21, 10), on(28, 4))
    yield
    world.sql("UPDATE volt.vehicle_meter SET meter_id = %(m)s WHERE meter_id = %(n)s AND vehicle_id = %(b)s")


def _second_vehicle_by_no_more_than_a_part(world):
    world.sql(_LINK.format("%(since)s, %(until)s", "b", "m"), since=on(2, 36), until=on(2, 57, 10))


def _link_of_a_meter_that_falls_silent(world):
    world.sql("UPDATE volt.vehicle_meter SET valid = tstzrange(%(at)s, NULL) WHERE vehicle_id = %(a)s", at=on(39, 57))


def _vehicle_changes_fleet(world):
    world.sql("UPDATE volt.vehicle SET fleet_id = %(g)s WHERE vehicle_id = %(a)s")
    yield
    world.sql("UPDATE volt.vehicle SET fleet_id = NULL WHERE vehicle_id = %(a)s")
    yield
    world.sql("DELETE FROM volt.vehicle WHERE vehicle_id = %(b)s")


def _membership_is_corrected(world):
    with world.connection.transaction():
        world.sql(_MEMBER.format("tstzrange(%(at)s, NULL)", "f"), at=on(14, 10))
        world.sql(_MEMBER.format("tstzrange(NULL, %(at)s)", "g"), at=on(14, 10))
    yield
    world.sql(_MEMBER.format("tstzrange(NULL, %(at)s)", "g"), at=on(6, 10))
    yield
    world.sql("INSERT INTO volt.fleet_membership VALUES (%(b)s, %(f)s, tstzrange(%(since)s, %(until)s))",
              since=on(7), until=on(9))  # fmt: skip
    yield
    world.sql("DELETE FROM volt.fleet_membership WHERE vehicle_id = %(b)s AND lower(valid) = %(since)s", since=on(7))
    yield
    world.sql("DELETE FROM volt.fleet_membership WHERE vehicle_id = %(b)s AND fleet_id = %(g)s")


def _timezone_changes(world):
    world.sql("UPDATE volt.fleet SET timezone = 'America/New_York' WHERE fleet_id = %(f)s")
    yield
    world.sql("UPDATE volt.fleet SET timezone = NULL WHERE fleet_id IN (%(f)s, %(g)s)")


def _fleet_is_renamed(world):
    world.sql("UPDATE volt.fleet SET fleet_id = fleet_id || '-new' WHERE fleet_id IN (%(f)s, %(g)s)")


def _interval_is_registered(world):
    world.sql("UPDATE volt.vehicle SET interval_s = 600 WHERE vehicle_id IN (%(a)s, %(b)s)")
    yield
    world.sql("INSERT INTO volt.meter (meter_id, interval_s) VALUES (%(m)s, 7200)")
    yield
    world.sql("UPDATE volt.vehicle SET interval_s = 7200 WHERE vehicle_id = %(b)s")
    yield
    world.sql("UPDATE volt.meter SET interval_s = NULL")
    yield
    world.sql("UPDATE volt.meter SET interval_s = 60 WHERE meter_id = %(m)s")
    yield
    world.sql("DELETE FROM volt.meter WHERE meter_id = %(m)s")


def _power_is_registered(world):
    world.sql("UPDATE volt.vehicle SET max_power_kw = 3 WHERE vehicle_id = %(b)s")
    yield
    world.sql("INSERT INTO volt.meter (meter_id, max_power_kw) VALUES (%(n)s, 2)")
    yield
    world.sql("UPDATE volt.meter SET max_power_kw = NULL")


def _register_kind_is_registered(world):
    world.sql("UPDATE volt.vehicle SET register_kind = 'session' WHERE vehicle_id = %(b)s")
    yield
    world.sql("INSERT INTO volt.meter (meter_id, register_kind) VALUES (%(n)s, 'session')")
    yield
    world.sql("DELETE FROM volt.meter WHERE meter_id = %(n)s")


def _onboard_register_kind_is_registered(world):
    world.sql("UPDATE volt.vehicle SET onboard_register_kind = 'session' WHERE vehicle_id IN (%(a)s, %(b)s)")
    yield
    world.sql("UPDATE volt.vehicle SET onboard_register_kind = 'total' WHERE vehicle_id = %(a)s")
    yield
    world.sql("DELETE FROM volt.vehicle WHERE vehicle_id = %(b)s")


def _links_are_deleted(world):
    """From then on the on-board chargers count, and what the links had cut of their gaps is whole."""
    world.sql("DELETE FROM volt.vehicle_meter WHERE vehicle_id = %(b)s AND meter_id = %(n)s")
    yield
    # A gap ends ten seconds into the next hour: the one before has it whole, until a link begins there.
    world.receive("vehicle", "b", (on(24, 0, 10), {"kwhOnboardAcTotal": 6.6}))
    yield
    link(world.connection, world.id("b"), world.id("n"), on(24), on(24, 10))
    yield
    world.sql("DELETE FROM volt.vehicle_meter WHERE vehicle_id IN (%(a)s, %(b)s)")


def _decided(one, hour, minute, decision, start=None, kind=None):  # noqa: PLR0917
    def change(world):
        device = world.id(one)
        key = {"kind": kind or ("vehicle" if one in "ab" else "meter"), "device": device, "at": on(hour, minute)}
        where = "device_type = %(kind)s AND device_id = %(device)s AND recorded_at = %(at)s"
        world.sql(
            "INSERT INTO volt.register_decision (device_type, device_id, recorded_at, decision, start_kwh)"
            " VALUES (%(kind)s, %(device)s, %(at)s, %(decision)s, %(start)s)",
            decision=decision,
            start=start,
            **key,
        )
        yield
        world.sql(f"UPDATE volt.register_decision SET decision = 'ignore', start_kwh = NULL WHERE {where}", **key)
        yield
        world.sql(f"UPDATE volt.register_decision SET decision = 'reset' WHERE {where}", **key)
        yield
        world.sql(f"DELETE FROM volt.register_decision WHERE {where}", **key)

    return change


def _readings_are_corrected(world):
    def corrected(kind, one, at, **values):
        assert world.receive(kind, one, (at, values), overwrite=True).corrected == 1

    corrected("vehicle", "a", on(2, 35), kwhDeliveredDc=3.0)
    corrected("meter", "m", on(2, 35), kwhConsumedAc=3.2)
    yield
    corrected("vehicle", "a", on(4, 20), speed=30.0)
    yield
    corrected("vehicle", "b", on(5), kwhDeliveredDcTotal=5010.5)
    corrected("meter", "n", on(24), kwhConsumedAcTotal=315.0)
    yield
    corrected("vehicle", "b", on(12), kwhDeliveredDcTotal=5020.0)


def _readings_come_late(world):
    world.receive("vehicle", "a", (on(3, 1), {"kwhDeliveredDc": 0.3}), (on(6, 32), {"speed": 60}))
    world.receive("meter", "m", (on(3, 1), {"kwhConsumedAc": 0.4}))
    yield
    world.receive("vehicle", "b", (on(6, 3), {"kwhDeliveredDcTotal": 5013.0}))
    yield
    world.receive("vehicle", "a", (on(-17, 4), {"kwhDeliveredDc": 0.3, "kwhDeliveredDcTotal": 1.0}))
    yield
    world.receive("vehicle", "b", (on(-9, 4), {"kwhDeliveredDcTotal": 4800.0}))
    world.receive("meter", "n", (on(-26, 4), {"kwhConsumedAcTotal": 200.0}))
    yield
    world.receive("meter", "m", *((on(0, n, 30), {"kwhConsumedAc": 0.0}) for n in range(6 * 60, 18 * 60)))


def _a_part_of_a_quarter_hour_comes_late(world):
    """The sum and the highest power stay as they are, what lies in the link does not."""
    world.sql(_LINK.format("%(at)s, NULL", "b", "n"), at=on(23, 38))
    yield
    world.receive("meter", "n", (on(23, 35), {"kwhConsumedAcTotal": 304.1}))
    yield
    world.receive("meter", "n", (on(23, 36), {"kwhConsumedAcTotal": 304.15}))


def _onboard_readings_come_late(world):
    world.sql("DELETE FROM volt.vehicle_meter WHERE vehicle_id IN (%(a)s, %(b)s)")
    yield
    world.receive("vehicle", "b", (on(20), {"kwhOnboardAcTotal": 0.2}), (on(23, 40), {"kwhOnboardAcTotal": 4.6}))
    yield
    world.receive(
        "vehicle", "a", (on(0, 40), {"kwhOnboardAcTotal": 699.0}), (on(27, 2, 30), {"kwhOnboardAcTotal": 724.2})
    )
    yield
    assert world.receive("vehicle", "a", (on(3), {"kwhOnboardAcTotal": 706.2}), overwrite=True).corrected == 1
    yield
    assert world.receive("vehicle", "b", (on(23, 15), {"kwhOnboardAcTotal": 2.1})).filled == 1


def _readings_are_filled(world):
    assert world.receive("vehicle", "a", (on(3, 2, 30), {"kwhDeliveredDc": 0.25})).filled == 1
    yield
    assert (
        world.receive("meter", "n", (on(2), {"kwhConsumedAc": 0.9}), (on(23, 50), {"kwhConsumedAc": 0.2})).filled == 2
    )
    yield
    assert world.receive("vehicle", "b", (on(2), {"speed": 30.0})).filled == 1


CHANGES = {
    "link-begins-earlier": _link_begins_earlier,
    "link-ends-earlier": _link_ends_earlier,
    "link-is-deleted": _link_is_deleted,
    "link-adjoins-another": _link_adjoins_another,
    "second-vehicle": _second_vehicle_at_a_meter,
    "second-vehicle-for-a-part": _second_vehicle_by_no_more_than_a_part,
    "silent-meter": _link_of_a_meter_that_falls_silent,
    "vehicle-changes-fleet": _vehicle_changes_fleet,
    "membership": _membership_is_corrected,
    "timezone": _timezone_changes,
    "fleet-renamed": _fleet_is_renamed,
    "interval": _interval_is_registered,
    "power": _power_is_registered,
    "register-kind": _register_kind_is_registered,
    "onboard-register-kind": _onboard_register_kind_is_registered,
    "links-are-deleted": _links_are_deleted,
    "onboard-late": _onboard_readings_come_late,
    "onboard-decision": _decided("b", 12, 0, "exchange", 0.1, "onboard"),
    "decision-on-an-exchange": _decided("n", 24, 0, "exchange", 5.0),
    "decision-on-a-reset": _decided("b", 12, 0, "exchange", 0.1),
    "decision-on-a-spike": _decided("b", 15, 0, "reset"),
    "decision-on-a-rise": _decided("b", 7, 30, "reset"),
    "decision-behind-a-gap": _decided("b", 7, 0, "exchange", 5000.0),
    "correction": _readings_are_corrected,
    "late": _readings_come_late,
    "late-for-a-part": _a_part_of_a_quarter_hour_comes_late,
    "filled": _readings_are_filled,
}


# Both editions have the same tables and functions for this, so each change is tried on one of them.
EDITION = {name: ("timescale", "apache")[place % 2] for place, name in enumerate(CHANGES)}


@pytest.fixture(scope="module")
def worlds(connection_of):
    """A function: edition -> a world for each change that is tried there, by its name, of which all is kept."""

    @functools.cache
    def of(edition):
        connection = connection_of(edition, "follows")
        made = {name: World(connection, name) for name in CHANGES if EDITION[name] == edition}
        for world in made.values():
            world.build()
        store(connection, [one for world in made.values() for one in world.readings()], 5000)
        keep(connection)
        return made

    return of


@pytest.mark.parametrize(("edition", "name"), sorted((edition, name) for name, edition in EDITION.items()))
def test_every_figure_follows(worlds, edition, name):
    world = worlds(edition)[name]
    assert world.differences() == []
    for _ in CHANGES[name](world) or ():
        keep(world.connection)
        assert world.differences() == []
    keep(world.connection)
    assert world.differences() == []


@pytest.mark.parametrize("edition", ["timescale", "apache"])
def test_the_registry_of_a_database_without_readings(connection_of, edition):
    """The daemon runs before the first device reports: there is nothing to follow, and nobody waits."""
    connection = connection_of(edition, "empty")
    keep(connection)
    connection.execute("SET statement_timeout = '10s'")
    world = World(connection, "empty")
    world.build()
    world.sql("UPDATE volt.vehicle SET interval_s = 60")
    world.sql("UPDATE volt.fleet SET timezone = NULL")
    materialise(connection)
    assert connection.execute("SELECT count(*) FROM volt_internal.energy_dirty").fetchone() == (0,)
