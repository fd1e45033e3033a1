"""evcc: its charge points and the grid meter, payloads as server/mqtt.go writes them."""

from __future__ import annotations

import itertools

import pytest

from support import families as support
from voltd.pipeline.decode.devices import families

SETTINGS = support.settings(evcc={})


def evcc(topic, payload, after_s=0.0, **more):
    return support.message(f"evcc/{topic}", payload, after_s, **more)


def phases(*amperes, after_s=0.0):
    return [
        evcc(f"loadpoints/1/chargeCurrents/l{phase}", str(current), after_s)
        for phase, current in enumerate(amperes, 1)
    ]  # fmt: skip


POINT = [evcc("loadpoints/1/chargePower", "11040.5"), evcc("loadpoints/1/chargeTotalImport", "1234.567"),
         *phases(16.01, 15.98, 16)]  # fmt: skip


def test_a_charge_point_in_any_order():
    for messages in itertools.islice(itertools.permutations(POINT), 0, 120, 17):
        batch = support.decode(SETTINGS, *messages)
        (reading,) = batch.meters
        assert support.values(reading) == {
            "meter_id": "evcc-1", "recorded_at": support.NOW, "power_kw": 11.0405, "ac_register_kwh": 1234.567,
            "current_a": 16.01 + 15.98 + 16, "time_source": "arrival",
        }  # fmt: skip
        assert batch.dead_letters == []


def test_the_grid():
    batch = support.decode(
        SETTINGS, evcc("site/grid/power", "-894"), evcc("site/grid/energy", "34507.476"),
        evcc("site/grid/returnEnergy", "14737.142"),
    )  # fmt: skip
    (reading,) = batch.meters
    assert support.values(reading) == {
        "meter_id": "evcc-grid", "recorded_at": support.NOW, "power_kw": -0.894, "ac_register_kwh": 34507.476,
        "ac_returned_register_kwh": 14737.142, "time_source": "arrival",
    }  # fmt: skip


def test_a_current_of_which_a_phase_is_missing_is_none():
    batch = support.decode(SETTINGS, *phases(16, 16), evcc("loadpoints/1/chargePower", "7360"))
    assert [(reading.current_a, reading.power_kw) for reading in batch.meters] == [(None, 7.36)]
    batch = support.decode(SETTINGS, *phases(16, 16))
    assert (batch.meters, [alive.device_id for alive in batch.alive]) == ([], ["evcc-1"])


def test_phases_of_two_moments_are_not_added_up():
    batch = support.decode(SETTINGS, *phases(16, 16, 16), *phases(6, 6, 6, after_s=10))
    assert [reading.current_a for reading in batch.meters] == [48.0, 18.0]


@pytest.mark.parametrize(
    "topic", ["loadpoints/1/chargePower", "loadpoints/1/chargeTotalImport", "loadpoints/1/chargeCurrents/l1",
              "site/grid/power", "site/grid/energy"]
)  # fmt: skip
def test_an_empty_payload_is_no_value(topic):
    """So evcc deletes its retained topics when it ends."""
    batch = support.decode(SETTINGS, evcc(topic, ""))
    assert (batch.meters, batch.dead_letters) == ([], [])


def test_what_is_retained_is_passed_over():
    batch = support.decode(SETTINGS, evcc("loadpoints/1/chargePower", "11040", retained=True),
                           evcc("site/grid/energy", "34507.4", retained=True))  # fmt: skip
    assert (batch.meters, batch.alive, batch.dead_letters) == ([], [], [])


def test_what_is_not_read_is_not_subscribed_to():
    """Registers in Wh that begin anew, sums and counts of lists, what is about a vehicle that may be another one."""
    found = families.of(SETTINGS)
    for topic in ("loadpoints/1/sessionEnergy", "loadpoints/1/chargedEnergy", "loadpoints/1/chargeCurrents",
                  "loadpoints/1/chargeVoltages/l1", "loadpoints/1/vehicleSoc", "loadpoints/1/vehicleOdometer",
                  "loadpoints/1/charging", "site/grid/currents", "site/grid/currents/1", "site/pv/1/power",
                  "site/battery/soc", "status", "updated", "vehicles/car1/minSoc"):  # fmt: skip
        assert found.find(f"evcc/{topic}") is None


def test_two_sites_and_names_of_their_own():
    batch = support.decode(
        support.settings(evcc={"ids": {"evcc-1": "wallbox-7"}}),
        support.message("evcc/loadpoints/1/chargePower", "1000"),
        support.message("depot/loadpoints/1/chargePower", "2000"),
    )
    assert [(reading.meter_id, reading.power_kw) for reading in batch.meters] == [("wallbox-7", 1.0), ("depot-1", 2.0)]
