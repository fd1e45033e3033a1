"""Stored values: the database lets one go from NULL to a value and nothing else, whoever asks and wherever it lies."""

import datetime as dt
import itertools
import json
import time
from concurrent import futures

import psycopg
import pytest

from support import harness, schema
from support.schema import connection_of
from voltd import config, models
from voltd.database import connections
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import store

__all__ = ["connection_of"]  # a fixture
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
LONG_AGO = NOW - dt.timedelta(days=20)


@pytest.fixture(params=["timescale", "apache"])
def dsn(database_of, request):
    """A migrated database of each edition in turn."""
    return database_of(request.param, schema=True)


@pytest.fixture
def connection(dsn):
    with psycopg.connect(dsn, autocommit=True) as made:
        yield made


def batch(*payloads, at=NOW, received=NOW, kind="vehicle"):
    """One message a payload, of one device and time."""
    messages = [
        models.Message(
            f"volt/{kind}/D1/telemetry", json.dumps({"timestamp": at.isoformat()} | one).encode(), n, received
        )
        for n, one in enumerate(payloads, 1)
    ]
    return decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)


class Writer:
    """The daemon's store and current state, under the daemon's role."""

    def __init__(self, dsn):
        options = {"options": "-c role=volt_writer"}
        settings = config.Settings(database={"dsn": psycopg.conninfo.make_conninfo(dsn, **options)})
        self._connect = connections.connector(settings)
        self.store = store.PostgresStore(self._connect, "guard")
        self.current = write_current.CurrentState(self._connect, "guard", 1.0)

    def write(self, given, *, merge=True):
        result = self.store.write(given)
        if merge:
            self.current.note(given, result)
            self.current.merge()
        return result

    def close(self):
        self.store.close()
        self.current.close()


@pytest.fixture
def writer(dsn):
    made = Writer(dsn)
    yield made
    made.close()


@pytest.fixture(scope="module", params=["timescale", "apache"])
def stored(connection_of, request):
    """A connection to a database of each edition in turn with two readings, the older one in a compressed chunk."""
    connection = connection_of(request.param, "stored")
    made = Writer(connection.info.dsn)
    for at in (NOW, LONG_AGO):
        made.write(batch({"soc": 64, "speed": 3}, at=at))
    made.close()
    compress(connection)
    return connection


@pytest.mark.parametrize("role", ["volt_writer", "volt_owner", "NONE"])
@pytest.mark.parametrize(
    "change",
    ["soc_pct = 65", "soc_pct = NULL", "vehicle_id = 'D2'", "received_at = now()", "latitude = 1, soc_pct = 1"],
)
def test_a_stored_value_never_changes(stored, role, change):
    """Not for the daemon, nor for the owner or a superuser by a slip; in compressed chunks neither."""
    stored.execute(f"SET ROLE {role}")
    for at in (NOW, LONG_AGO):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stored.execute(f"UPDATE volt.vehicle_reading SET {change} WHERE recorded_at = %s", (at,))
    found = stored.execute("SELECT vehicle_id, soc_pct, speed_kmh, latitude FROM volt.vehicle_reading").fetchall()
    assert found == [("D1", 64, 3, None)] * 2


def compress(connection):
    """Readings of more than a week ago."""
    schema.compress(connection, "vehicle_reading", "7 days")


def test_compressed_readings_are_filled_in(connection, writer):
    """By the daemon's role, into the row itself; its neighbours stay as they are."""
    for minute in range(100):
        writer.write(batch({"soc": 64}, at=LONG_AGO + dt.timedelta(minutes=minute)), merge=False)
    compress(connection)
    result = writer.write(batch({"soc": 64, "kwhReturnedDc": 1.5}, {"kwhReturnedDcTotal": 7}, at=LONG_AGO))
    assert (result.filled, result.vehicles_written, result.conflicting) == (2, 0, 0)
    rows = connection.execute(
        "SELECT soc_pct, kwh_returned_dc, dc_returned_register_kwh, filled_at, count(*) FROM volt.vehicle_reading"
        " GROUP BY 1, 2, 3, 4 ORDER BY 5"
    ).fetchall()
    assert rows == [(64, 1.5, 7, NOW, 1), (64, None, None, None, 99)]


def test_a_batch_of_several_days_fills_in_each(connection, writer):
    """Yesterday's and today's rows the quick way, old ones too; today's chunk may have been compressed by hand."""
    days = [NOW, NOW - dt.timedelta(days=1), LONG_AGO]
    for at in days:
        for minute in range(3):
            writer.write(batch({"soc": 64}, at=at - dt.timedelta(minutes=minute)), merge=False)
    schema.compress(connection, "vehicle_reading", "-2 days")
    messages = [
        models.Message("volt/vehicle/D1/telemetry", json.dumps({"timestamp": at.isoformat()} | fields).encode(), n, NOW)
        for n, (at, fields) in enumerate(itertools.product(days, ({"speed": 3}, {"soc": 65})), 1)
    ]
    result = writer.write(decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages), merge=False)
    assert (result.filled, result.conflicting, result.vehicles_written, result.duplicates) == (3, 3, 0, 0)
    rows = connection.execute("SELECT soc_pct, speed_kmh, count(*) FROM volt.vehicle_reading GROUP BY 1, 2 ORDER BY 3")
    assert rows.fetchall() == [(64, 3, 3), (64, None, 6)]


def test_the_current_state_is_made_of_what_is_stored(connection, writer):
    """Fields that came apart, a position that came in halves, and no value that history does not have."""
    for part in ({"soc": 64}, {"latitude": 48.5}, {"longitude": 11.5}, {"soc": 3, "odometer": 7}):
        writer.write(batch(part))
    current = connection.execute(
        "SELECT soc_pct, latitude, longitude, position_at, odometer_km FROM volt.vehicle_current"
    ).fetchall()
    assert current == [(64, 48.5, 11.5, NOW, 7)]


def test_a_crash_between_a_fill_and_the_current_state_is_healed(connection, writer):
    """The reading arrived long before, its other half just before the crash."""
    earlier = NOW - dt.timedelta(hours=3)
    writer.write(batch({"soc": 64}, at=earlier, received=earlier))
    writer.write(batch({"speed": 3}, at=earlier), merge=False)
    healer = Writer(psycopg.conninfo.make_conninfo(connection.info.dsn))
    healer.current.merge()
    healer.close()
    assert connection.execute("SELECT soc_pct, speed_kmh FROM volt.vehicle_current").fetchall() == [(64, 3)]


def test_a_crash_after_gathered_values_is_healed(connection, writer):
    """They were received before what had been merged already: they had waited for others of their device."""
    for power in (7, 8):  # progress is noted from the second merge on
        writer.write(batch({"power": power}, kind="meter", at=NOW + dt.timedelta(seconds=power)))
    waited = NOW - dt.timedelta(seconds=61)
    writer.write(batch({"soc": 64}, at=waited, received=waited), merge=False)
    healer = Writer(psycopg.conninfo.make_conninfo(connection.info.dsn))
    healer.current.merge()
    healer.close()
    assert connection.execute("SELECT soc_pct FROM volt.vehicle_current").fetchall() == [(64,)]


def test_a_batch_with_refused_rows_fills_in_the_others(connection, writer):
    """Also where the whole row would break a rule of the site that neither half breaks: that is one dead letter."""
    connection.execute(
        "ALTER TABLE volt.vehicle_reading ADD CONSTRAINT house_rule CHECK (soc_pct <> 13 AND soc_pct + speed_kmh < 100)"
    )
    writer.write(batch({"soc": 64}))
    result = writer.write(batch({"soc": 13}, {"speed": 90}, {"odometer": 5}, {"soc": 63}))
    reasons = [str(letter.reason) for letter in result.dead_letters]
    assert sorted(reasons) == ["conflict", "rejected_by_database", "rejected_by_database"]
    assert (result.filled, result.conflicting, len(result.refused), result.duplicates) == (1, 1, 2, 0)
    rows = connection.execute("SELECT soc_pct, speed_kmh, odometer_km FROM volt.vehicle_reading").fetchall()
    assert rows == [(64, None, 5)]


def test_a_compressed_day_of_a_fleet(connection, writer):
    """Duplicates, fills and new readings of many devices take seconds, and meet no limit of unpacking."""
    connection.execute(
        "INSERT INTO volt.vehicle_reading (vehicle_id, recorded_at, soc_pct, received_at)"
        " SELECT 'V' || d, %s::timestamptz + n * INTERVAL '1 minute', 50, now()"
        " FROM generate_series(1, 200) AS d, generate_series(0, 999) AS n",
        (LONG_AGO.replace(hour=0, minute=0, second=0),),
    )
    compress(connection)
    midnight = LONG_AGO.replace(hour=0, minute=0, second=0)
    messages = []
    for device, minute in itertools.product(range(1, 201), (3, 500, 998)):
        at = (midnight + dt.timedelta(minutes=minute)).isoformat()
        more = "" if minute == 3 else ',"speed":7'
        text = f'{{"timestamp":"{at}","soc":50{more}}}'.encode()
        messages.append(models.Message(f"volt/vehicle/V{device}/telemetry", text, len(messages) + 1, NOW))
    messages.append(messages[0]._replace(topic="volt/vehicle/NEW/telemetry"))
    began = time.monotonic()
    result = writer.write(decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages), merge=False)
    assert time.monotonic() - began < 10 * harness.contention()
    assert (result.vehicles_written, result.filled, result.duplicates) == (1, 400, 200)


def test_half_of_a_position_contradicts(connection, writer):
    """The other half is stored, and the current state has the pair that history has."""
    writer.write(batch({"latitude": 50}))
    writer.write(batch({"latitude": 51, "longitude": 8}))
    assert connection.execute("SELECT latitude, longitude FROM volt.vehicle_current").fetchall() == [(50, 8)]


def test_two_daemons_fill_in_a_half_each(connection, writer):
    """The one that comes second sees the other's half, and the current state has the pair."""
    writer.write(batch({"soc": 64}))
    with psycopg.connect(connection.info.dsn) as other, futures.ThreadPoolExecutor() as pool:
        other.execute("UPDATE volt.vehicle_reading SET latitude = 48.5, filled_at = now()")
        second = pool.submit(writer.write, batch({"longitude": 11.5}))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        harness.wait_for(lambda: connection.execute(waiting).fetchone() == (1,), what="a fill that waits")
        other.commit()
        second.result(60)
    stored = connection.execute("SELECT latitude, longitude FROM volt.vehicle_reading").fetchall()
    current = connection.execute("SELECT latitude, longitude FROM volt.vehicle_current").fetchall()
    assert stored == current == [(48.5, 11.5)]


def test_a_conflict_names_device_and_fields(writer):
    """Of several fields all are named, whatever their values."""
    long = {"diagnostics": {"text": "x" * 300}}
    writer.write(batch({"soc": 64, "speed": 3, "odometer": 5} | long))
    one = writer.write(batch({"soc": 65})).dead_letters[0]
    assert (one.device_type, one.device_id) == (models.DeviceType.VEHICLE, "D1")
    assert one.detail == "soc: 64 is stored, 65 came"
    several = writer.write(batch({"diagnostics": {"text": "y" * 300}, "odometer": 6, "speed": 4})).dead_letters[0]
    assert several.detail.startswith("speed, odometer, diagnostics: speed: 3 is stored, 4 came; ")
