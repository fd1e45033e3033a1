"""Fields that are filled into a stored reading: the rules see them as if they had been there."""

import pytest

from support.rules import moved_clock

RULES = (
    '[rules.low]\nmetric="soc_pct"\napplies_to=["vehicle"]\nfire_below=15.0\nclear_above=20.0\nclear_when_charging=true\n'
    '[rules.hot]\nmetric="battery_temp_c"\napplies_to=["vehicle"]\nfire_above=80.0\nclear_below=75.0\n'
)
PLACE = {"latitude": 1.0, "longitude": 1.0}


@pytest.fixture
def rig(module_database, monkeypatch):
    made = moved_clock.Rig(module_database, monkeypatch)
    made.start(RULES)
    yield made
    made.close()


def _send(rig, second, values):
    rig.now = second
    rig.send((second, values))
    rig.check()


@pytest.mark.parametrize("later", [(), (61, 62)])
def test_the_value_that_fires_arrives_after_the_position(rig, later):
    """Of a vehicle without an alert; at once, though newer readings without the value have been evaluated."""
    _send(rig, 0, {"soc": 64.0})
    _send(rig, 60, PLACE)
    for second in later:
        _send(rig, second, PLACE)
    rig.fill(60, "soc_pct", 3.0)
    rig.check(rig.now + 1)
    assert rig.alerts() == [("low", "warning", "open")]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("later", [(), (61, 62)])
def test_the_value_that_clears_arrives_after_the_position(rig, later, restart):
    _send(rig, 0, {"soc": 12.0})
    _send(rig, 60, PLACE)
    for second in later:
        _send(rig, second, PLACE)
    if restart:
        rig.start()
    rig.fill(60, "soc_pct", 64.0)
    rig.check(rig.now + 1)
    assert rig.episodes() == [("warning", 0.0, 60.0, 12.0)]


def test_another_value_is_filled_in_while_an_alert_is_open(rig):
    """The vehicle is read anyway, for its state of charge; its temperature still counts."""
    _send(rig, 0, {"soc": 12.0, "batteryTemp": 30.0})
    _send(rig, 60, {"soc": 12.0})
    rig.fill(60, "battery_temp_c", 95.0)
    rig.check(61)
    assert sorted(rig.alerts()) == [("hot", "warning", "open"), ("low", "warning", "open")]
    _send(rig, 120, {"soc": 12.0})
    rig.fill(120, "battery_temp_c", 40.0)
    rig.check(121)
    assert sorted(rig.alerts()) == [("hot", "warning", "over"), ("low", "warning", "open")]


def test_the_word_on_charging_is_filled_in(rig):
    _send(rig, 0, {"soc": 12.0})
    _send(rig, 60, {"soc": 11.0})
    rig.fill(60, "charging_status", "charging")
    rig.check(61)
    assert rig.alerts() == [("low", "warning", "over")]


def test_a_value_filled_in_two_hours_later_pages_nobody(rig):
    _send(rig, 0, {"soc": 64.0})
    _send(rig, 60, PLACE)
    rig.now = 7260
    rig.fill(60, "soc_pct", 3.0)
    rig.check()
    assert rig.alerts() == [("low", "warning", "past")]
    _send(rig, 7300, {"soc": 12.0})
    rig.fill(7300, "battery_temp_c", 40.0)
    rig.check(7301)
    assert rig.alerts() == [("low", "warning", "past"), ("low", "warning", "open")]


def test_a_filled_reading_is_evaluated_once(rig):
    """Nothing is read or written again for it."""
    _send(rig, 0, {"soc": 12.0})
    _send(rig, 60, PLACE)
    rig.fill(60, "soc_pct", 11.0)
    rig.check(61)
    ((turn,),) = rig.sql("SELECT epoch FROM volt_internal.alert_progress")
    rig.check(62)
    assert rig.sql("SELECT epoch FROM volt_internal.alert_progress") == [(turn,)]


def test_split_messages_of_a_vehicle(rig):
    """As they come: position, state of charge, temperature, all of one time, each in a message of its own."""
    for second, soc, temperature in ((0, 64.0, 30.0), (60, 3.0, 30.0), (120, 3.0, 95.0), (180, 64.0, 30.0)):
        _send(rig, second, PLACE)
        for values in ({"soc": soc}, {"batteryTemp": temperature}):
            rig.now += 0.5
            rig.send((second, values))
            rig.check()
    assert rig.episodes("rule = 'low'") == [("warning", 60.0, 180.0, 3.0)]
    assert rig.episodes("rule = 'hot'") == [("warning", 120.0, 180.0, 95.0)]
    assert rig.sql("SELECT count(*) FROM volt.vehicle_reading") == [(4,)]
