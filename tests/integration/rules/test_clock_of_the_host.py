"""The host's clock is wrong while its devices' are right: the rules continue, and people are notified of the host."""

import datetime as dt

import pytest

from support.rules import moved_clock
from voltd.host import host_clock, witnesses

FAST, SLOW = {"speed": 150.0}, {"speed": 50.0}
STALE = '[rules.stale]\nmetric="silence"\napplies_to=["vehicle"]\nfire_above=300.0\n'
SURE = witnesses.Kernel(synchronised=True, kept=True)
LOST = witnesses.Kernel(synchronised=False, kept=True)


@pytest.fixture
def rig(module_database, monkeypatch):
    made = moved_clock.Rig(module_database, monkeypatch)
    yield made
    made.close()


def _on(rig, kernel, database_ahead_s=0.0):
    rig.clock = host_clock.HostClock(kernel=lambda: kernel)
    rig.clock.note_database(witnesses.DatabaseClock(database_ahead_s, 0.1))
    rig.start()


def _minutes(rig, ahead_s, minutes, values=SLOW, *, vehicles=("V1", "V2", "V3")):
    """So many minutes of readings on a host whose clock is behind, with a check at each third of them."""
    end = rig.now + 60 * minutes
    while rig.now < end:
        rig.now += 20
        for one in vehicles:
            rig.send((rig.now + ahead_s, values), vehicle=one)
        rig.check()


def test_a_host_that_is_ahead_of_the_database(rig):
    """By so much that every reading seems late: limits are evaluated all the same, and no device is blamed."""
    _on(rig, SURE, database_ahead_s=-1200)
    _minutes(rig, -1200, 4)
    assert rig.alerts() == []
    _minutes(rig, -1200, 1, FAST)
    assert rig.alerts() == [("overspeed", "warning", "open")] * 3
    off_s, text = rig.clock.trouble()
    assert off_s == pytest.approx(1200)
    assert text.startswith("this host's clock is 20 min ahead, as 3 of 3 devices show; the database's clock agrees")


@pytest.mark.parametrize("ahead_s", [40, 250, -100])
def test_a_host_that_is_off_by_less_than_is_refused(rig, ahead_s):
    """Nobody is sent to three devices; after three looks it is said of the host, with what to do."""
    _on(rig, LOST)
    _minutes(rig, ahead_s, 2)
    assert rig.clock.trouble() == (0.0, "")
    _minutes(rig, ahead_s, 4)
    assert rig.alerts() == []
    off_s, text = rig.clock.trouble()
    assert off_s == abs(ahead_s)
    assert f"{abs(ahead_s)} s {'behind' if ahead_s > 0 else 'ahead'}, as 3 of 3 devices show" in text
    assert host_clock.ADVICE in text
    _minutes(rig, 0, 2)
    assert rig.clock.trouble() == (0.0, "")


def test_devices_of_a_host_that_is_right(rig):
    """Nothing contradicts the host, or most devices agree with it: each device that is off is notified."""
    _on(rig, SURE)
    _minutes(rig, 100, 5)
    assert rig.alerts() == [("clock_skew", "warning", "open")] * 3
    _minutes(rig, 0, 2)
    _on(rig, LOST)
    _minutes(rig, 0, 1, vehicles=("V4", "V5", "V6"))
    end = rig.now + 300
    while rig.now < end:
        _minutes(rig, 100, 1 / 3, vehicles=("V1", "V2"))
        for one in ("V3", "V4", "V5", "V6"):
            rig.send((rig.now, SLOW), vehicle=one)
    assert [one[2] for one in rig.alerts()].count("open") == 2
    assert rig.clock.trouble() == (0.0, "")


def test_a_clock_that_is_wrong_is_the_databases(rig):
    """Devices agree with the host: one that is off is still notified."""
    _on(rig, SURE, database_ahead_s=-1200)
    rig.clock.confirmed = True
    _minutes(rig, 100, 5, vehicles=("V1",))
    assert rig.alerts() == [("clock_skew", "warning", "open")]


def _seen_at(rig, vehicle="V1"):
    """Seconds after now by the database's clock."""
    ((found,),) = rig.sql(
        "SELECT extract(epoch FROM last_seen_at - now())::float8 FROM volt.vehicle_current WHERE vehicle_id = %s",
        vehicle,
    )
    return found


@pytest.mark.parametrize("values", [SLOW, {"soc": None}])
def test_a_sign_of_life_after_a_clock_that_was_ahead(rig, values):
    """It counts, as a reading or without one, though the last was an hour 'later'."""
    base = (dt.datetime.now(dt.UTC) - moved_clock.T0).total_seconds()
    rig.now = base + 3600
    rig.send((base, SLOW))
    assert _seen_at(rig) > 3500
    rig.now = base + 5
    rig.send((base + 5, values))
    rig.send((base + 5, values))
    assert -30 < _seen_at(rig) < 30


@pytest.mark.parametrize("restarts", [False, True])
def test_the_host_is_set_back(rig, restarts):
    """What was evaluated by the clock that was ahead hides nothing that comes after it, with a restart or without."""
    _on(rig, SURE, database_ahead_s=-1200)
    _minutes(rig, -1200, 4)
    _minutes(rig, -1200, 1, FAST, vehicles=("V1",))
    assert rig.alerts() == [("overspeed", "warning", "open")]
    rig.set_back(1200)
    _on(rig, SURE) if restarts else rig.clock.note_database(witnesses.DatabaseClock(0.0, 0.1))
    _minutes(rig, 0, 1, SLOW, vehicles=("V1",))
    assert rig.alerts() == [("overspeed", "warning", "over")]
    _minutes(rig, 0, 1, FAST, vehicles=("V1", "V2"))
    assert [one[2] for one in rig.alerts("overspeed")] == ["over", "open", "open"]
    assert rig.alerts("clock_skew") == []


def test_a_device_is_heard_again_after_the_host_is_set_back(rig):
    """Its inactivity ends, though it was last heard an hour 'later'; and it can become inactive again."""
    rig.start(STALE)
    base = (dt.datetime.now(dt.UTC) - moved_clock.T0).total_seconds()
    rig.now = base + 3600
    rig.send((base, SLOW))
    rig.check(base + 3600 + 400)
    assert rig.alerts() == [("stale", "warning", "open")]
    rig.set_back(3600 + 400)
    rig.send((rig.now, SLOW))
    rig.stepped += 10
    rig.check()
    assert rig.alerts() == [("stale", "warning", "over")]
    rig.check(rig.now + 400)
    assert rig.alerts() == [("stale", "warning", "over"), ("stale", "warning", "open")]


def test_a_device_is_not_heard_any_more_after_the_host_is_set_back(rig):
    """Its inactivity fires when it has lasted for long enough, and not an hour later; one that fires continues."""
    rig.start(STALE)
    base = (dt.datetime.now(dt.UTC) - moved_clock.T0).total_seconds()
    rig.now = base + 3000
    rig.send((base, SLOW), vehicle="V1")
    rig.check(base + 3400)
    rig.send((base, SLOW), vehicle="V2")
    rig.check()
    assert rig.alerts() == [("stale", "warning", "open")]
    rig.set_back(3400)
    rig.check()
    rig.check(base + 400)
    assert rig.alerts() == [("stale", "warning", "open")] * 2
    assert rig.sql("SELECT device_id FROM volt.alert ORDER BY 1") == [("V1",), ("V2",)]


def test_clocks_of_devices_after_the_host_is_set_back(rig):
    """The alert of a device resolves with the looks that follow, and not an hour later."""
    _on(rig, SURE)
    rig.now = 3600
    _minutes(rig, 100, 5, vehicles=("V1",))
    assert rig.alerts() == [("clock_skew", "warning", "open")]
    rig.set_back(3600)
    rig.sql(
        "UPDATE volt.vehicle_current SET last_seen_at = %s, recorded_at = %s",
        moved_clock.at(0),
        moved_clock.at(0),
    )
    _minutes(rig, 0, 4, vehicles=("V1",))
    assert rig.alerts() == [("clock_skew", "warning", "over")]
