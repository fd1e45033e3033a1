"""The shipped rules on a real database: one bad sample pages nobody, what nothing contradicts fires by itself."""

import pytest

from support.rules import moved_clock
from voltd.rules.cycle import interfaces


@pytest.fixture
def rig(module_database, monkeypatch):
    made = moved_clock.Rig(module_database, monkeypatch)
    yield made
    made.close()


def _send(rig, second, **values):
    rig.now = second
    rig.send((second, values))
    rig.check()


@pytest.mark.parametrize(("field", "good", "bad"), [("soc", 64.0, 0.0), ("batteryTemp", 21.0, 85.0)])
def test_one_bad_sample(rig, field, good, bad):
    for second in range(0, 300, 20):
        _send(rig, second, **{field: bad if second == 160 else good})
        rig.check(second + 10)
    assert rig.alerts() == []
    assert rig.tested(400) == []


def test_a_vehicle_that_reports_every_twenty_minutes(rig):
    """Its second reading in a row counts."""
    for number, soc in enumerate((30, 20, 14, 13)):
        _send(rig, 1200 * number, soc=soc)
    assert rig.episodes() == [("warning", 2400.0, None, 13.0)] == rig.tested(3700)


@pytest.mark.parametrize("restart", [False, True])
def test_a_vehicle_that_reports_no_more(rig, restart):
    """Its only reading fires after two of its own intervals, over a restart as well."""
    for second in range(0, 600, 60):
        _send(rig, second, soc=64 - second / 60)
    _send(rig, 600, soc=3)
    rig.check(700)
    assert rig.alerts() == []
    if restart:
        rig.start()
    rig.check(721)
    assert rig.episodes() == [("critical", 600.0, None, 3.0)] == rig.tested(721)


def test_while_the_broker_is_away_nothing_fires_by_itself(rig):
    """The contradiction waits there; it arrives when all is well again."""
    for second in range(0, 600, 60):
        _send(rig, second, soc=64)
    _send(rig, 600, soc=0)
    rig.report = interfaces.Report(0.0, spooling=False, healthy=False)
    for second in range(610, 2400, 60):
        rig.check(second)
    rig.report = interfaces.Report(0.0, spooling=False, healthy=True)
    rig.check(2400)
    rig.send((660, {"soc": 64}))
    rig.check(2401)
    rig.check(2700)
    assert rig.alerts("soc_low") == []


def test_one_bad_sample_at_the_end_of_a_pack(rig):
    """A device that sends ten minutes at a time has its next reading in ten minutes, not in one."""
    for begin in (0, 600, 1200):
        rig.now = begin + 600
        rig.send(*((begin + 60 * n, {"soc": 0.0 if begin + n == 1209 else 64.0}) for n in range(10)))
        rig.check()
    for second in range(1800, 2400, 60):
        rig.check(second)
    rig.now = 2400
    rig.send((1800, {"soc": 64.0}), (1860, {"soc": 64.0}))
    rig.check()
    assert rig.alerts("soc_low") == []


def test_critical_needs_two_as_well(rig):
    for second, soc in ((0, 30), (20, 12), (40, 12), (60, 3), (80, 12)):
        _send(rig, second, soc=soc)
    rig.check(200)
    assert rig.alerts() == [("soc_low", "warning", "open")]
    for second in (210, 230):
        _send(rig, second, soc=3)
    assert rig.alerts() == [("soc_low", "critical", "open")]


def test_one_bad_sample_of_a_vehicle_with_another_alert(rig):
    """Low charge is notified; 85 degrees once between 21 and 21, twenty minutes apart, still page nobody."""
    for number in range(8):
        _send(rig, 1200 * number, soc=10, batteryTemp=85 if number == 6 else 21)
        for second in (130, 600, 1190):
            rig.check(1200 * number + second)
    assert rig.alerts("soc_low") == [("soc_low", "warning", "open")]
    assert rig.alerts("battery_overheat") == []


def test_the_interval_is_that_of_the_field_also_beside_another_alert(rig):
    """The temperature comes with every second message; what came with the message before it says nothing."""
    for number in range(12):
        values = {} if number % 2 else {"batteryTemp": 85 if number == 8 else 21}
        _send(rig, 1200 * number, soc=10, **values)
        for second in (130, 600, 1190):
            rig.check(1200 * number + second)
    assert rig.alerts("soc_low") == [("soc_low", "warning", "open")]
    assert rig.alerts("battery_overheat") == []
