"""Rhythms of devices in a real database: parked ones do not flap, dead ones are found, and history says the same."""

import datetime as dt
import types

import psycopg
import pytest

from support.rules import cycle_fakes
from voltd import config, models
from voltd.database import connections, queries
from voltd.pipeline.current import state as write_current
from voltd.pipeline.write import store
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load, rhythm
from voltd.rules.backtest import history
from voltd.rules.cycle import cycle, interfaces

T0 = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0) - dt.timedelta(days=2)
MINUTE = 60.0
STALE = """
[rules.stale]
metric = "silence"
applies_to = ["vehicle", "meter"]
fire_above = 300.0
fire_above_at_most = 93600.0
"""
SHIPPED = STALE + "fire_above_parked = 21600.0\n"


def at(seconds):
    return T0 + dt.timedelta(seconds=seconds)


class Rig:
    """The writer, the current state and the check of one daemon under a clock that the test moves."""

    def __init__(self, dsn, monkeypatch):
        self.dsn, self.now, self.well_since = dsn, T0, T0 - dt.timedelta(days=1)
        clock = types.SimpleNamespace(now=lambda _zone: self.now)
        monkeypatch.setattr(cycle, "dt", types.SimpleNamespace(datetime=clock, UTC=dt.UTC, timedelta=dt.timedelta))
        monkeypatch.setattr(cycle, "time", types.SimpleNamespace(monotonic=self._monotonic))
        settings = config.Settings(instance="t", database={"dsn": f"{dsn} options='-c role=volt_writer'"})
        connect = connections.connector(settings)
        report = interfaces.Report(0.0, spooling=False, healthy=True)
        self._store = store.PostgresStore(connect, "t")
        self._current = write_current.CurrentState(connect, "t", 1.0, heal=False, well_since=lambda: self.well_since)
        self._cycle = cycle.EvaluationCycle(
            connect, "t", cycle_fakes.ThisDaemon(lambda: report), cycle_fakes.Notifier(), Excursions()
        )
        self._steps = 0

    def _monotonic(self):
        return self.now.timestamp()

    def use(self, rules):
        self._cycle.use(load.parse(rules, source="test"), ())
        self.check()

    def check(self):
        self._cycle.run()

    def hears(self, device, seconds, *, speed=None, kind="vehicle"):
        """A reading arrives; the rules are checked now and then until that, and after it."""
        until = at(seconds)
        while self.now + dt.timedelta(seconds=150) < until:
            self.now += dt.timedelta(seconds=150)
            self.check()
        self.now = until
        message = models.Message("t", b"{}", 1, until)
        batch = models.Batch([message])
        if kind == "vehicle":
            nothing = dict.fromkeys(models.VehicleReading._fields)
            values = {"vehicle_id": device, "recorded_at": until, "soc_pct": 50.0, "speed_kmh": speed}
            batch.vehicles.append(models.VehicleReading(**nothing | values | {"received_at": until}))
            batch.vehicle_sources.append((0, None))
        else:
            nothing = dict.fromkeys(models.MeterReading._fields)
            values = {"meter_id": device, "recorded_at": until, "power_kw": 1.0, "received_at": until}
            batch.meters.append(models.MeterReading(**nothing | values))
            batch.meter_sources.append((0, None))
        self._current.note(batch, self._store.write(batch))
        self._current.merge()
        self.check()

    def execute(self, statement, *values):
        with psycopg.connect(self.dsn) as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def notified(self):
        """(device, opened, resolved) of each episode of the daemon's, in seconds."""
        rows = self.execute("SELECT device_id, opened_at, resolved_at FROM volt.alert ORDER BY device_id, opened_at")
        return [(device, _seconds(opened), _seconds(ended)) for device, opened, ended in rows]

    def tried(self, rules):
        """The same as ``voltd rules test`` finds it in what is stored, up to now."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            period = history.Period(T0 - dt.timedelta(seconds=1), self.now + dt.timedelta(microseconds=1))
            found = [one.episode for one in history.run(connection, load.parse(rules, source="test"), period)]
        return sorted((one.device.device_id, _seconds(one.opened_at), _seconds(one.resolved_at)) for one in found)

    def rhythm(self, column, device):
        return self.execute(f"SELECT {column} FROM volt_internal.device_rhythm WHERE device_id = %s", device)

    def close(self):
        self._store.close()
        self._current.close()
        self._cycle._close()


def _seconds(moment):
    return None if moment is None else round((moment - T0).total_seconds())


@pytest.fixture
def rig(migrated_database, monkeypatch):
    made = Rig(migrated_database, monkeypatch)
    yield made
    made.close()


def _day(rig, device):
    """Drives with a report every ten seconds and a stop at a light, parks with one every half hour, drives again."""
    second = 0.0
    for speed in (*[50] * 12, 0, 0, 0, *[50] * 12, 0):
        rig.hears(device, second, speed=speed)
        second += 10
    for _ in range(6):
        second += 30 * MINUTE
        rig.hears(device, second, speed=0)
    for speed in (50, 50, 50, 50):
        second += 10
        rig.hears(device, second, speed=speed)
    return second


def test_a_vehicle_that_parks_does_not_flap(rig):
    """Neither on its first parked day nor later; when it dies while it drives it is found in five minutes."""
    rig.use(SHIPPED)
    last = _day(rig, "V1")
    assert rig.notified() == []
    rig.hears("V2", last + 400, speed=50)
    assert rig.notified() == [("V1", last + 300, None)] == rig.tried(SHIPPED)


def test_a_parked_vehicle_that_dies_is_found_by_its_own_rhythm(rig):
    """Two and a half times half an hour after its last report; and not before."""
    rig.use(SHIPPED)
    for number in range(51):
        rig.hears("V1", number * 30 * MINUTE, speed=0)
    last = 1500 * MINUTE
    rig.hears("V2", last + 74 * MINUTE)
    assert rig.notified() == []
    rig.hears("V2", last + 76 * MINUTE)
    ((device, opened, ended),) = [one for one in rig.notified() if one[0] == "V1"]
    assert (device, ended) == ("V1", None)
    assert abs(opened - last - 75 * MINUTE) < 90  # what is known has faded a little
    assert rig.tried(SHIPPED) == rig.notified()


def test_a_meter_that_reports_every_quarter_of_an_hour(rig):
    """Called silent twice, until its rhythm is known; then no more."""
    rig.use(SHIPPED)
    for number in range(10):
        rig.hears("M1", number * 15 * MINUTE, kind="meter")
    expected = [("M1", 300, 900), ("M1", 1200, 1800)]
    assert rig.notified() == expected == rig.tried(SHIPPED)


def test_a_chatty_parked_vehicle_is_found_soon(rig):
    """Has reported every minute for a day while it stands: five minutes are enough."""
    rig.use(SHIPPED)
    check, rig.check = rig.check, lambda: None
    for number in range(1443):
        rig.hears("V1", number * MINUTE, speed=0)
    rig.check = check
    rig.hears("V2", 1442 * MINUTE + 400, speed=0)
    assert [one for one in rig.notified() if one[0] == "V1"] == [("V1", 1442 * MINUTE + 300, None)]
    assert rig.tried(SHIPPED) == rig.notified()


def test_a_vehicle_that_charges_and_then_sleeps(rig):
    """Every minute for over an hour, then every half hour: what it did while it was awake is no limit for its sleep."""
    rig.use(SHIPPED)
    for number in range(70):
        rig.hears("V1", number * MINUTE, speed=0)
    for number in range(1, 7):
        rig.hears("V1", (69 + 30 * number) * MINUTE, speed=0)
    assert rig.notified() == [] == rig.tried(SHIPPED)


def test_a_vehicle_that_dies_on_its_first_parked_day(rig):
    """Is found after ``fire_above_parked``; also one whose rhythm was noted before it was known since when."""
    rig.use(SHIPPED)
    for number in range(70):
        rig.hears("V1", number * MINUTE, speed=0)
    rig.execute("UPDATE volt_internal.device_rhythm SET known_since = NULL")
    rig.hears("V2", 69 * MINUTE + 21500, speed=0)
    assert rig.notified() == []
    rig.hears("V2", 69 * MINUTE + 21700, speed=0)
    assert rig.notified() == [("V1", 69 * MINUTE + 21600, None)] == rig.tried(SHIPPED)


def test_an_outage_of_voltd_teaches_nothing(rig):
    """Intervals that began before all was well are none of the device's."""
    rig.use(STALE)
    for number in range(4):
        rig.hears("V1", number * 3600)
        rig.well_since = rig.now + dt.timedelta(seconds=60)
    assert rig.rhythm("usual_s, longest_s", "V1") == []


@pytest.mark.parametrize(
    "intervals", [(600, 700, 60, 1200, 1250, 90, 5000, 100000, 4000), (60, 61, 62, 3600, 3600, 60)]
)
def test_sql_and_python_know_the_same(rig, intervals):
    """The rhythm that the merge keeps is the one that history is evaluated by."""
    rig.check = lambda: None
    known, second = rhythm.Rhythm(), 0
    rig.hears("M1", 0, kind="meter")
    for one in intervals:
        second += one
        rig.hears("M1", second, kind="meter")
        known.note(at(second), one)
    ((usual_s, noted_at),) = rig.rhythm("usual_s, noted_at", "M1")
    usual_s *= 0.5 ** ((at(second) - noted_at).total_seconds() / 604800)
    assert usual_s == pytest.approx(known.usual_s(at(second)), rel=1e-4)


def test_rhythms_of_devices_that_are_gone_are_forgotten(rig):
    """After a quarter of a year, by the daemon's own role."""
    rig.execute(
        "INSERT INTO volt_internal.device_rhythm (device_type, device_id, noted_at)"
        " VALUES ('meter', 'OLD', now() - INTERVAL '91 days'), ('meter', 'NEW', now())"
    )
    with psycopg.connect(rig.dsn) as connection:
        connection.execute("SET ROLE volt_writer")
        connection.execute(queries.text("forget_rhythms"))
    assert rig.execute("SELECT device_id FROM volt_internal.device_rhythm") == [("NEW",)]
