"""Whether a vehicle is charging: in the words of many makers, for as long as a word holds."""

import datetime as dt

import pytest

from voltd.rules import charging_status

T0 = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
SHIPPED = charging_status.Charging()


def _at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "word",
    ["DetailedChargeStateCharging", "topoff", "CHARGE_STATE_CHARGING", "C", "3", "Charging", " charging\n", "c2", "D"],
)
def test_words_of_makers_that_mean_charging(word):
    """Whatever their case and blanks."""
    assert SHIPPED.means_charging(word)


@pytest.mark.parametrize(
    "word",
    ["DetailedChargeStateComplete", "done", "prepare", "timerwait", "heating", "stopped", "B", "C1", "2", "SuspendedEV",
     "SuspendedEVSE", "Preparing", "NoPower", "", "discharging", "not charging"],
)  # fmt: skip
def test_words_that_mean_no_energy_for_the_battery(word):
    """Being plugged in is not enough."""
    assert not SHIPPED.means_charging(word)


def test_a_word_holds_until_it_is_stale():
    """By the device's own time; the same word said again holds anew."""
    known = charging_status.ChargingTracker(charging_status.Charging(charging_stale_s=600))
    assert known.read(_at(0), "topoff", None)
    assert known.read(_at(600), None, 0.0)
    assert not known.read(_at(601), None, None)
    assert known.read(_at(602), "topoff", None)
    assert not known.read(_at(603), "done", None)


def test_a_vehicle_that_moves_does_not_charge():
    """Whatever it says while it moves, and what it said before."""
    known = charging_status.ChargingTracker(SHIPPED, T0)
    assert known.read(_at(1), None, 5.0)
    assert not known.read(_at(2), "charging", 5.1)
    assert not known.read(_at(3), None, 0.0)
    assert known.read(_at(4), "charging", 0.0)
