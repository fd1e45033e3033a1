"""``volt.vehicle_performance``: one vehicle in a period, as a document that never contradicts itself."""

import psycopg
import pytest

from support.schema import at, link, meter, store, vehicle


@pytest.fixture
def performance(connection):
    def of(vehicle_id, *period):
        marks = ", ".join(["%s"] * (1 + len(period)))
        ((found,),) = connection.execute(f"SELECT volt.vehicle_performance({marks})", (vehicle_id, *period)).fetchall()
        return found

    return of


def test_two_hours_and_a_half(connection, performance):
    """An hour of charging at 92 %, half an hour of silence, an hour of standing; temperatures, distance."""
    link(connection, "PF-1", "PF-m1")
    store(connection, [vehicle("PF-1", at(0, n), kwh=0.092, odometer=1000.0) for n in range(1, 61)])
    store(connection, [vehicle("PF-1", at(1, n), kwh=0.0, odometer=1000.0 + n) for n in range(31, 90)])
    store(connection, [meter("PF-m1", at(0, n), kwh=0.1) for n in range(1, 61)])
    connection.execute(
        "UPDATE volt.vehicle_reading SET battery_temp_c = 20 + extract(minute FROM recorded_at) / 10"
        " WHERE vehicle_id = 'PF-1' AND recorded_at < %s",
        (at(1),),
    )
    found = performance("PF-1", at(0), at(2, 30))
    assert found["period"].keys() == {"start", "end"}
    assert found["energyMetrics"] == {
        "totalAcConsumed": 6.0, "totalDcDelivered": 5.52, "comparableAc": 6.0, "comparableDc": 5.52,
        "efficiencyRatio": 0.92, "powerLoss": 0.48, "standby": 0, "returned": None,
    }  # fmt: skip
    assert found["batteryMetrics"] == {"avgTemperature": 23.0, "maxTemperature": 25.9, "minTemperature": 20.1}
    hours = [
        (row["acConsumed"], row["dcDelivered"], row["efficiency"], row["quality"]) for row in found["hourlyBreakdown"]
    ]
    assert hours == [
        (6.0, 5.52, 0.92, "ok"), (None, 0.0, None, "idle"), (None, 0.0, None, "idle"),
    ]  # fmt: skip
    assert (found["vehicleId"], found["distanceKm"], found["quality"]) == ("PF-1", 89, "ok")


def test_hours_add_up(connection, performance):
    """Of a period that begins and ends within hours, which shows the first and the last as far as they lie in it."""
    link(connection, "PF-2", "PF-m2")
    store(connection, [vehicle("PF-2", at(0, n), kwh=0.092) for n in range(1, 200)])
    store(connection, [meter("PF-m2", at(0, n), kwh=0.1) for n in range(1, 200)])
    found = performance("PF-2", at(0, 20, 30), at(3, 7))
    for total, hourly in (("totalAcConsumed", "acConsumed"), ("totalDcDelivered", "dcDelivered")):
        assert sum(row[hourly] for row in found["hourlyBreakdown"]) == pytest.approx(found["energyMetrics"][total])
    assert found["energyMetrics"]["totalAcConsumed"] == pytest.approx(16.65)
    assert len(found["hourlyBreakdown"]) == 4


def test_an_hour_is_its_only_hour(connection, performance):
    link(connection, "PF-3", "PF-m3")
    store(connection, [vehicle("PF-3", at(0, n), kwh=0.092) for n in range(1, 61)])
    store(connection, [meter("PF-m3", at(0, n), kwh=0.1) for n in range(1, 61)])
    found = performance("PF-3", at(0), at(1))
    assert found["energyMetrics"]["totalAcConsumed"] == found["hourlyBreakdown"][0]["acConsumed"] == 6.0


def test_hours_without_readings_are_there(connection, performance):
    store(connection, [vehicle("PF-4", at(5), soc=50.0)])
    found = performance("PF-4", at(0), at(6))
    assert [row["quality"] for row in found["hourlyBreakdown"]] == [None] * 6
    assert found["quality"] == "no_data"
    assert found["energyMetrics"]["efficiencyRatio"] is None


@pytest.mark.parametrize(
    ("name", "kilometres", "distance"),
    [("reset", [1000, 1050, 0, 30], 80), ("zero", [1000, 0, 1050], 50), ("spike", [1000, 99999, 1050], 50)],
)
def test_odometers(connection, performance, name, kilometres, distance):
    device = f"PF-{name}"
    store(connection, [vehicle(device, at(n), odometer=float(km)) for n, km in enumerate(kilometres)])
    assert performance(device, at(0), at(6))["distanceKm"] == distance


def test_kilometres_over_the_edge_of_a_period(connection, performance):
    """Two days have what both have together."""
    readings = [(20.5, 1000.0), (23.5, 1030.0), (24.5, 1040.0), (26.5, 1060.0)]
    store(connection, [vehicle("PF-8", at(hour), odometer=km) for hour, km in readings])
    assert [performance("PF-8", at(0), at(24))["distanceKm"], performance("PF-8", at(24), at(48))["distanceKm"]] == [
        30,
        30,
    ]


def test_the_last_day_by_default(connection, performance):
    store(connection, [vehicle("PF-5", at(29), kwh=0.1)])
    assert performance("PF-5")["energyMetrics"]["totalDcDelivered"] == 0.1


def test_unknown_and_silent_vehicles(connection, performance):
    connection.execute("INSERT INTO volt.vehicle (vehicle_id) VALUES ('PF-6') ON CONFLICT DO NOTHING")
    assert performance("PF-nobody") is None
    assert performance("PF-6")["quality"] == "no_data"


@pytest.mark.parametrize("period", [(1, 0), (-24 * 367, 0)])
def test_periods_that_make_no_sense(performance, period):
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="period"):
        performance("PF-1", *map(at, period))


def test_a_day_in_which_a_clock_changes(connection, performance):
    """Hours are UTC: a day of 25 hours has 25."""
    store(connection, [vehicle("PF-7", at(0), kwh=0.1)])
    assert len(performance("PF-7", at(0), at(25))["hourlyBreakdown"]) == 25
