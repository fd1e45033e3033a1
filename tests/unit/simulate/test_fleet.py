"""What a fleet publishes: keys, counts and energies that the rest of the project may rely on."""

import collections
import datetime as dt
import itertools
import json
import time

import pytest

from voltd import errors
from voltd.simulate.fleet.fleet import Fleet, FleetOptions

START = dt.datetime(2026, 5, 1, 8, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def _options(**changes):
    quiet = {"bad_share": 0.0, "duplicate_share": 0.0, "offline_share": 0.0}
    return FleetOptions(**{"vehicles": 30, "meters": 30, "seed": 7, "start": START, **quiet, **changes})


def _elements(publication):
    """(device id, reading) of each element; the id of a silent one is in the topic."""
    content = json.loads(publication.payload)
    for element in content if isinstance(content, list) else [content]:
        reading = element.get("payload", element)
        yield reading.get("vehicleId") or reading.get("meterId") or publication.topic.split("/")[2], reading


def _recorded_at(reading):
    return dt.datetime.fromisoformat(reading.get("timestamp") or reading["createdAt"])


def _everything(fleet, minutes):
    return [*fleet.step(START + minutes * MINUTE), *fleet.finish()]


def test_steps_cut_differently():
    """Same options, same publications to the last byte, whether stepped by seconds or by hours."""
    noisy = _options(bad_share=0.05, duplicate_share=0.05, offline_share=0.05)
    at_once, in_steps = Fleet(noisy), Fleet(noisy)
    whole = list(at_once.step(START + 90 * MINUTE))
    pieces = []
    for second in range(7, 90 * 60 + 1, 7):
        pieces.extend(in_steps.step(START + dt.timedelta(seconds=second)))
    pieces.extend(in_steps.step(START + 90 * MINUTE))
    assert pieces == whole
    assert list(at_once.finish()) == list(in_steps.finish())


def test_other_seed():
    """Another seed is another fleet."""
    assert list(Fleet(_options()).step(START + MINUTE)) != list(Fleet(_options(seed=8)).step(START + MINUTE))


def test_one_reading_per_device_and_time():
    """Without declared duplicates no (device, recorded_at) comes twice, and each device's times strictly increase."""
    last = {}
    for publication in _everything(Fleet(_options(offline_share=0.2)), 240):
        for device, reading in _elements(publication):
            at = _recorded_at(reading)
            assert device not in last or last[device] < at
            last[device] = at
    assert len(last) == 60


def test_one_reading_a_minute():
    """Skew or not, every device reports once in each minute, dated between the start and now (two seconds of skew)."""
    minutes = collections.defaultdict(list)
    for publication in _everything(Fleet(_options()), 60):
        for device, reading in _elements(publication):
            minutes[device].append(_recorded_at(reading).replace(second=0, microsecond=0))
    expected = [START + index * MINUTE for index in range(60)]
    assert all(seen == expected for seen in minutes.values())


@pytest.mark.parametrize("interval_s", [1.0, 10.0, 900.0])
def test_other_intervals(interval_s):
    """Readings are an interval apart whatever the interval."""
    times = collections.defaultdict(list)
    for publication in Fleet(_options(interval_s=interval_s)).step(START + dt.timedelta(seconds=20 * interval_s)):
        for device, reading in _elements(publication):
            times[device].append(_recorded_at(reading))
    for seen in times.values():
        gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(seen)]
        assert gaps == pytest.approx([interval_s] * 19, abs=0.002)


def _hourly(publications):
    """Energy per device and hour by the design's rules: sums of intervals, rises of registers with resets."""
    hours, registers = collections.defaultdict(float), {}
    for publication in publications:
        for device, reading in _elements(publication):
            key = device, _recorded_at(reading).astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
            for name in ("kwhDeliveredDc", "kwhConsumedAc"):
                hours[key] += reading.get(name, 0.0)
            for name in ("kwhDeliveredDcTotal", "kwhConsumedAcTotal"):
                if name in reading:
                    value, before = reading[name], registers.get(device)
                    registers[device] = value
                    if before is not None:
                        hours[key] += value - before if value >= before else value
    return hours


@pytest.mark.slow
def test_two_sides_of_a_charge():
    """DC / AC of every vehicle-hour with a charge is its charger's efficiency within 1 %, by register too."""
    fleet = Fleet(_options(vehicles=60, meters=60, offline_share=0.05))
    publications = _everything(fleet, 14 * 60)
    kinds = {name for p in publications for _, reading in _elements(p) for name in reading}
    assert {"kwhDeliveredDc", "kwhDeliveredDcTotal", "kwhConsumedAc", "kwhConsumedAcTotal"} <= kinds
    hours = _hourly(publications)
    compared = set()
    for (device, hour), dc_kwh in hours.items():
        if device.startswith("EV-") and dc_kwh > 0.5:
            index = int(device[3:]) - 1
            ac_kwh = hours[f"METER-{index + 1:05d}", hour]
            assert dc_kwh / ac_kwh == pytest.approx(fleet.efficiency(index, hour), rel=0.01)
            compared.add(index)
    assert len(compared) > 45


@pytest.mark.slow
def test_registers_reset():
    """Session counters return to about zero at plug-in, an exchanged meter begins anew; both fall from far enough."""
    registers, resets = {}, collections.Counter()
    for publication in _everything(Fleet(_options(vehicles=100, meters=100)), 20 * 60):
        for device, reading in _elements(publication):
            value = reading.get("kwhDeliveredDcTotal", reading.get("kwhConsumedAcTotal"))
            if value is not None:
                before = registers.get(device, 0.0)
                if value < before:
                    assert value < 1.0
                    assert before >= 2.0
                    resets[device[:2]] += 1
                registers[device] = value
    assert resets["EV"] > 3
    assert resets["ME"] > 0


def test_first_hour():
    """A third of the fleet charges, a third drives, a third is parked: the first hour shows it all."""
    charging, driving = set(), set()
    for publication in Fleet(_options(vehicles=90, meters=90)).step(START + 60 * MINUTE):
        for device, reading in _elements(publication):
            if reading.get("chargingStatus") == "CHARGING":
                charging.add(device)
            if reading.get("speed", 0.0) > 0.0:
                driving.add(device)
    assert len(charging) >= 30
    assert len(driving) >= 30


def test_who_speaks_how():
    """About one device in twenty uses the gateway's topic; ids are in the payload or the topic; aliases occur."""
    publications = list(Fleet(_options(vehicles=1000, meters=1000)).step(START + MINUTE))
    ingest = sum(publication.topic == "volt/ingest" for publication in publications)
    assert 60 <= ingest <= 140
    texts = [publication.payload for publication in publications]
    for word in (
        b'"createdAt"',
        b'"timestamp"',
        b'"temperature"',
        b'"batteryTemp"',
        b'"diagnostics"',
        b"+02:00",
        b'Z"',
    ):
        assert any(word in text for text in texts)
    assert any(b"vehicleId" not in text and b'"soc"' in text for text in texts)


def test_offline_devices():
    """A device that was offline sends its backlog as one array, in order, and nothing of it is lost."""
    calm, flaky = Fleet(_options()), Fleet(_options(offline_share=0.2))
    flaky_publications = _everything(flaky, 120)
    arrays = [p for p in flaky_publications if p.payload.startswith(b"[")]
    assert arrays
    assert all(p.vehicle + p.meter == len(json.loads(p.payload)) for p in arrays)
    assert sum(p.vehicle + p.meter for p in flaky_publications) == sum(
        p.vehicle + p.meter for p in _everything(calm, 120)
    )


def test_duplicates_are_declared():
    """Each copy is the very payload of an earlier publication and counts in its kind and as duplicate."""
    sent, copies = collections.Counter(), 0
    for publication in _everything(Fleet(_options(duplicate_share=0.1, offline_share=0.1, bad_share=0.1)), 120):
        if publication.duplicate:
            copies += 1
            assert publication.duplicate == publication.vehicle + publication.meter
            assert sent[publication.topic, publication.payload] == 1
        sent[publication.topic, publication.payload] += 1
    assert copies > 300


def test_shares():
    """The shares asked for are the shares got, roughly."""
    publications = _everything(Fleet(_options(vehicles=200, meters=200, bad_share=0.05, duplicate_share=0.1)), 60)
    readings = sum(p.vehicle + p.meter - p.duplicate for p in publications)
    assert readings == 400 * 60
    assert 0.04 < sum(p.bad for p in publications) / readings < 0.07
    assert 0.08 < sum(p.duplicate for p in publications) / readings < 0.12


def test_unequal_numbers():
    """More vehicles than meters, or the other way round: every device reports, pairs are linked as far as they go."""
    for vehicles, meters in ((5, 2), (2, 5), (3, 0), (0, 3)):
        fleet = Fleet(_options(vehicles=vehicles, meters=meters))
        devices = {device for p in fleet.step(START + MINUTE) for device, _ in _elements(p)}
        assert len(devices) == vehicles + meters
        assert len(fleet.registry().links) == min(vehicles, meters)


def test_registry():
    """Ids are those that publish; a link begins long before the fleet does; VINs are 17 characters and unique."""
    fleet = Fleet(_options(vehicles=40, meters=30, prefix="x-"))
    registry = fleet.registry()
    devices = {device for p in fleet.step(START + MINUTE) for device, _ in _elements(p)}
    assert devices == {row.vehicle_id for row in registry.vehicles} | {row.meter_id for row in registry.meters}
    assert {row.fleet_id for row in registry.vehicles} == {row.fleet_id for row in registry.fleets}
    assert all(row.since < START for row in registry.links)
    assert {len(row.vin) for row in registry.vehicles} == {17}
    assert len({row.vin for row in registry.vehicles}) == 40


def test_start_between_two_intervals():
    """Nothing is dated before the start (but for two seconds of skew)."""
    start = START + dt.timedelta(seconds=37.5)
    for publication in Fleet(_options(start=start)).step(START + 3 * MINUTE):
        for _, reading in _elements(publication):
            assert _recorded_at(reading) > start - dt.timedelta(seconds=2)


@pytest.mark.parametrize(
    "wrong",
    [{"vehicles": 0, "meters": 0}, {"vehicles": -1}, {"interval_s": 0.1}, {"bad_share": 1.5}, {"offline_share": 0.9},
     {"prefix": "a/"},
     {"start": dt.datetime(2026, 5, 1)}],  # noqa: DTZ001 - the point
)  # fmt: skip
def test_impossible_options(wrong):
    """Options that make no fleet are refused with a hint."""
    with pytest.raises(errors.UsageError) as refused:
        _options(**wrong)
    assert refused.value.hint


@pytest.mark.slow
def test_cost_of_a_large_fleet():
    """20,000 devices report in well under a second: 25 microseconds a reading is the limit, ten are usual."""
    fleet = Fleet(FleetOptions(vehicles=10_000, meters=10_000, seed=1, start=START))
    costs = []
    for minute in (1, 2, 3):
        began = time.process_time()
        count = sum(1 for _ in fleet.step(START + minute * MINUTE))
        costs.append((time.process_time() - began) / count)
    assert min(costs) < 25e-6
