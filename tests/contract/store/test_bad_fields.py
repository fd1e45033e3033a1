"""Dead letters of single fields in the real store: one row an hour for a device, field and reason, with its count."""

import datetime as dt
import json
import threading

import psycopg
import pytest

from voltd import config, models
from voltd.database import connections
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import dead_letters
from voltd.pipeline.write import store as write

NOW = dt.datetime.now(dt.UTC).replace(minute=30, second=0, microsecond=0) - dt.timedelta(hours=2)

_SPOOL = 2  # of the stores, the drain's


def message(device="V1", seconds=0, packet_id=1, *, soc=64, temp=-127, **changes):
    """A reading with a bad temperature, received so long after NOW."""
    at = NOW + dt.timedelta(seconds=seconds)
    body = json.dumps({"timestamp": at.isoformat(), "soc": soc, "batteryTemp": temp}).encode()
    fields = {"connection": 1, "size": len(body), **changes}
    return models.Message(f"volt/vehicle/{device}/telemetry", body, packet_id, at, **fields)


@pytest.fixture
def dsn(migrated_database):
    return migrated_database


class Rig:
    """A daemon's store, as volt_writer, and what is in the table."""

    def __init__(self, dsn):
        connect = connections.connector(config.Settings(database={"dsn": dsn}))

        def as_writer():
            connection = connect()
            connection.execute("SET ROLE volt_writer")
            return connection

        self._dsn = dsn
        parts = (("one", "stream"), ("other", "stream"), ("one", "spool"))
        self.stores = [write.PostgresStore(as_writer, name, part=part) for name, part in parts]

    def write(self, *messages, store=0):
        batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode(list(messages))
        return self.stores[store].write(batch)

    @property
    def left(self):
        """Device, repeats, and seconds from NOW to the first and the last one."""
        with psycopg.connect(self._dsn) as connection:
            rows = connection.execute(
                "SELECT device_id, repeats, received_at, last_received_at FROM volt.dead_letter"
                " WHERE field = 'batteryTemp' AND device_type = 'vehicle' ORDER BY received_at"
            ).fetchall()
        return [(name, repeats, _after(first), _after(last)) for name, repeats, first, last in rows]


def _after(at):
    return None if at is None else (at - NOW).total_seconds()


@pytest.fixture
def rig(dsn):
    made = Rig(dsn)
    yield made
    for store in made.stores:
        store.close()


def test_repeats_within_the_hour_are_counted_in_one_row(rig):
    """In a batch and over batches, by device; another hour is another row. The readings are all stored."""
    result = rig.write(message("V1", 0), message("V2", 1), message("V1", 2))
    assert (result.vehicles_written, len(result.dead_letters), result.dead_letters_there) == (3, 3, [])
    rig.write(message("V1", 60), message("V1", 1800))
    rig.write(message("V2", 3599))
    assert rig.left == [("V1", 3, 0, 60), ("V2", 1, 1, None), ("V1", 1, 1800, None), ("V2", 1, 3599, None)]


def test_the_first_payload_and_value_are_kept(rig, dsn):
    """So that a person sees one of them; other reasons and fields have rows of their own."""
    rig.write(message(temp=-127), message(temp=-100, seconds=1), message(temp="cold", seconds=2))
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT reason, repeats, detail, payload FROM volt.dead_letter ORDER BY received_at"
        ).fetchall()
    assert [(reason, repeats) for reason, repeats, _, _ in rows] == [("out_of_range", 2), ("wrong_type", 1)]
    assert rows[0][2] == "batteryTemp: should be at least -60, not -127"
    assert json.loads(rows[0][3])["batteryTemp"] == -127


def test_a_redelivered_message_is_not_counted_again(rig):
    """Neither in the batch of its first delivery, nor in a later one, nor in the next hour."""
    first = message("V1", 1790)
    again = first._replace(redelivered=True, connection=2)
    assert rig.write(first, again).dead_letters_there[0].partial
    rig.write(again)
    result = rig.write(again._replace(received_at=NOW + dt.timedelta(seconds=1810)))
    assert [letter.field for letter in result.dead_letters_there] == ["batteryTemp"]
    assert rig.left == [("V1", 1, 1790, None)]


def test_a_redelivered_message_of_which_nothing_is_known_is_counted_once(rig):
    """Its first delivery was never written: two copies of it are one."""
    lost = message("V1", 5, redelivered=True, connection=2)
    assert len(rig.write(lost, lost).dead_letters_there) == 1
    assert rig.left == [("V1", 1, 5, None)]


def test_what_the_spool_gives_again_is_not_counted_again(rig):
    """Killed between COMMIT and removal: the same messages come once more."""
    spooled = [message("V1", seconds, connection=0) for seconds in (1, 2, 3)]
    rig.write(*spooled, store=_SPOOL)
    rig.write(*spooled, message("V1", 4, connection=0), store=_SPOOL)
    assert rig.left == [("V1", 4, 1, 4)]


def test_what_comes_through_the_spool_counts_beside_the_news(rig):
    """The database is back: a live message is first, and the drain brings what came before it, in pieces."""
    rig.write(message("V1", 600))
    for piece in (range(5), range(5, 10)):
        rig.write(*(message("V1", second, connection=0) for second in piece), store=_SPOOL)
    assert rig.left == [("V1", 11, 600, 600)]


def test_what_was_read_together_and_drained_apart(rig):
    """The end of a piece falls between messages of one moment: those of the next piece count, too."""
    rig.write(message("V1", 0, connection=0), message("V2", 0, connection=0), store=_SPOOL)
    rig.write(message("V2", 5, connection=0), store=_SPOOL)
    rig.write(message("V1", 5, connection=0), message("V1", 6, connection=0), store=_SPOOL)
    assert sorted(rig.left) == [("V1", 3, 0, 6), ("V2", 2, 0, 5)]


def test_a_field_that_is_alone_in_its_message_is_counted(rig, dsn):
    """Split readings: one row an hour for a device and each of its fields, and no row of a reading."""
    for second in range(3):
        at = NOW + dt.timedelta(seconds=second)
        for body in ({"batteryTemp": -127}, {"batteryTemp": -127, "soc": 101}):
            text = json.dumps({"timestamp": at.isoformat(), **body}).encode()
            rig.write(models.Message("volt/vehicle/V1/telemetry", text, 1, at, connection=1))
    assert rig.left == [("V1", 6, 0, 2)]
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT field, repeats FROM volt.dead_letter ORDER BY field").fetchall()
        assert connection.execute("SELECT count(*) FROM volt.vehicle_reading").fetchone() == (0,)
    assert found == [("batteryTemp", 6), ("soc", 3)]


def test_two_daemons_count_the_same_field(rig):
    """Daemons of a share group: whoever comes second waits and adds its own."""
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode([message("V1", 0), message("V2", 0)])
    threads = []
    with rig.stores[0]._open().transaction(), rig.stores[0]._open().cursor() as cursor:
        dead_letters.insert(cursor, batch.dead_letters, "one")
        theirs = (message("V2", 7), message("V1", 8))
        thread = threading.Thread(target=rig.write, args=theirs, kwargs={"store": 1})
        thread.start()
        threads.append(thread)
        thread.join(0.3)
        assert thread.is_alive(), "it waits"
    for thread in threads:
        thread.join(10)
    assert sorted(rig.left) == [("V1", 2, 0, 8), ("V2", 2, 0, 7)]


def test_a_fleet_with_a_bad_sensor_leaves_few_rows(rig):
    """300 devices, each ten times: 300 rows, in one batch or in many."""
    for minute in range(0, 10, 5):
        rig.write(*(message(f"V{n}", 60 * m, n + 1) for m in range(minute, minute + 5) for n in range(300)))
    assert [(repeats, first, last) for _, repeats, first, last in rig.left] == [(10, 0, 540)] * 300
