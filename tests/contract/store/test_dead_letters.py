"""Dead letters in the real store: none is lost to an equal one, none is left twice where that can be known."""

import datetime as dt
import threading

import psycopg
import pytest
from psycopg import sql

from support import harness
from voltd import config, metrics, models
from voltd.database import connections
from voltd.host import identity
from voltd.pipeline.decode import decoder
from voltd.pipeline.flush import outage, policy
from voltd.pipeline.spool import drain as spool_drain
from voltd.pipeline.spool import file as spool
from voltd.pipeline.write import dead_letters, store

NOW = dt.datetime.now(dt.UTC)
MESSAGE = models.Message("volt/vehicle/V1/telemetry", b"malformed", 7, NOW, connection=1)
OTHER_DAEMON = 1


def at(seconds, message=MESSAGE, **changes):
    """An equal malformed message received so much later."""
    return message._replace(received_at=NOW + dt.timedelta(seconds=seconds), **changes)


def decoded(*messages):
    """The batch of these messages."""
    return decoder.Decoder(config.Topics(), config.Limits(), 90).decode(list(messages))


@pytest.fixture
def settings(migrated_database):
    """Of a daemon on a migrated database."""
    return config.Settings(database={"dsn": migrated_database}, spool={"min_free_bytes": 0})


class Rig:
    """A client's two stores, and what they left in the table."""

    def __init__(self, settings, patch):
        connect = connections.connector(settings)
        self.settings, self._patch, self._dsn = settings, patch, settings.database.dsn
        self.stream, self.drain = store.PostgresStore(connect, "c"), store.PostgresStore(connect, "c", part="spool")

    def write(self, *messages):
        return self.stream.write(decoded(*messages))

    def write_as_other(self, *messages):
        """As another daemon with the same client id writes."""
        with self._patch.context() as patch:
            patch.setattr(identity, "run_number", lambda: OTHER_DAEMON)
            return self.write(*messages)

    @property
    def left(self):
        return harness.count(self._dsn, "dead_letter")


@pytest.fixture
def rig(settings, monkeypatch):
    made = Rig(settings, monkeypatch)
    yield made
    made.stream.close()
    made.drain.close()


def test_two_writers_of_one_client_leave_a_dead_letter_once(settings):
    """Two daemons that evict each other: the redelivery waits for the first delivery's transaction, and sees it.

    Also where the server's default isolation would show it the table as it was before it waited.
    """
    with psycopg.connect(settings.database.dsn, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'").format(name)
        )
    connect = connections.connector(settings)
    one, other = connect(), store.PostgresStore(connect, "client")
    with one.transaction(), one.cursor() as cursor:
        dead_letters.insert(cursor, decoded(MESSAGE).dead_letters, "client")
        thread = threading.Thread(target=other.write, args=(decoded(MESSAGE._replace(redelivered=True)),))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits"
    thread.join(10)
    assert harness.count(settings.database.dsn, "dead_letter") == 1
    one.close()
    other.close()


def test_a_redelivery_that_overtakes_leaves_the_only_dead_letter(rig):
    """The daemon that lost its session to another writes late what the other was sent again and has written."""
    rig.write_as_other(at(1, redelivered=True))
    assert len(rig.write(MESSAGE).dead_letters_there) == 1
    rig.write(at(9))
    assert rig.left == 1, "it lay unread in the socket meanwhile"
    rig.write(at(99))
    assert rig.left == 2, "the packet id has come round: another message"


def test_the_packet_id_of_a_redelivered_message_is_given_to_the_next(rig):
    """A broker gives the lowest free id: what comes after a redelivery on the same connection is another message."""
    rig.write(at(0, redelivered=True))
    rig.write(at(1), at(2, packet_id=8))
    rig.write(at(3))
    assert rig.left == 4


def test_what_is_malformed_in_an_outage_is_not_taken_for_that_of_the_days_before(rig, tmp_path):
    """Equal malformed messages have used up all packet ids: each spooled one leaves its own, draining again none."""
    days_ago = [at(number / 100 - 3 * 86400, packet_id=number) for number in range(1, 101)]
    spooled = [at(number / 100, packet_id=number) for number in range(1, 101)]
    rig.write(*days_ago)
    for expected in (200, 200):
        malformed = spool.SpoolFile(tmp_path / "spool.sqlite3", 1 << 30, 0)
        malformed.put(spooled, 0)
        counters = metrics.Metrics()
        drain = spool_drain.Drain(
            malformed,
            decoder.Decoder(config.Topics(), config.Limits(), 90),
            rig.drain,
            policy.of(rig.settings),
            counters,
            outage=outage.Outage(counters),
        )
        while drain.step():
            pass
        assert rig.left == expected, "the same again after a kill between COMMIT and removal"


def spooled(seconds, put_s, run=None, **changes):
    """The equal message from the spool, into which it went so much later than NOW."""
    run = identity.run_number() if run is None else run
    put_at = NOW + dt.timedelta(seconds=put_s)
    return at(seconds, connection=0, spooling=models.Spooling(put_at, run), **changes)


def test_a_spooled_message_is_not_taken_for_what_came_after_it(rig):
    """Acked because it was spooled: its packet id went to a message that another daemon was sent again."""
    rig.write_as_other(at(9, redelivered=True))
    rig.drain.write(decoded(spooled(0, 1)))
    assert rig.left == 2
    rig.drain.write(decoded(spooled(1, 1, redelivered=True)))
    assert rig.left == 2, "this one is the redelivery of the spooled one"


def test_another_daemon_was_sent_again_what_the_spool_took_late(rig):
    """A stopped daemon continues, its session lost: what it held and what lay in its socket go into the spool."""
    rig.write_as_other(at(5, redelivered=True), at(5, packet_id=8, redelivered=True))
    held, unread = spooled(0, 10), spooled(9, 10, packet_id=8)
    assert len(rig.drain.write(decoded(held, unread)).dead_letters_there) == 2
    for number, again_s in ((9, 20), (10, 30)):
        rig.write_as_other(at(again_s, packet_id=number, redelivered=True))
        rig.drain.write(decoded(spooled(15, 16, packet_id=number)))
    assert rig.left == 2 + 1 + 2, "an ack is lost where the session is taken over soon after it; later it has arrived"


def test_what_a_stopped_daemon_writes_of_what_another_one_spooled(rig):
    """It reads its socket after the other daemon was sent the message again, perhaps after that one acked it."""
    for number, put_s in ((8, 10), (9, 6)):
        rig.write(at(9, packet_id=number))
        rig.drain.write(decoded(spooled(5, put_s, run=OTHER_DAEMON, packet_id=number, redelivered=True)))
    assert rig.left == 2
    rig.drain.write(decoded(spooled(5, 6, packet_id=9, redelivered=True)))
    assert rig.left == 3, "one daemon reads its first delivery first: this is another message"


def test_without_a_packet_id_nothing_is_the_same(rig):
    """QoS 0: equal malformed payloads in one read of the socket are as many messages, from the spool too."""
    rig.drain.write(decoded(*[at(0, packet_id=0, qos=0, connection=0)] * 2))
    rig.drain.write(decoded(at(0, packet_id=0, qos=0, connection=0)))
    assert rig.left == 3


@pytest.mark.parametrize("away_s", [5, 86400])
def test_redelivered_after_a_kill_before_the_ack(rig, away_s):
    """However long the daemon was down, and in however many batches the redelivery comes."""
    first = [at(number, packet_id=number) for number in range(1, 4)]
    rig.write(*first)
    for one in first:
        rig.write(at(away_s + 10 + one.packet_id, one, redelivered=True, connection=2))
        rig.write(at(away_s + 10 + one.packet_id, one, packet_id=100 + one.packet_id, redelivered=True, connection=2))
    assert rig.left == 3 + 3, "and what was not written before is"


def test_a_redelivery_is_not_taken_for_an_older_message(rig):
    """Another message with the id was acked minutes before the connection broke: this one is new to the table."""
    rig.write(MESSAGE)
    rig.write(at(200, packet_id=8))
    rig.write(at(202, redelivered=True, connection=2))
    assert rig.left == 3


def test_redelivered_into_the_batch_that_has_its_first_delivery(rig):
    """A connection breaks and comes back twice while a batch grows: one message, one dead letter."""
    batch = [MESSAGE, at(3, redelivered=True, connection=2), at(900, redelivered=True, connection=3)]
    assert len(rig.write(*batch).dead_letters_there) == 2
    assert rig.left == 1
    spooled = [at(0, packet_id=9, connection=0), at(900, packet_id=9, connection=0, redelivered=True)]
    rig.drain.write(decoded(*spooled))
    assert rig.left == 2, "nothing was received between them: the daemon was away"
    spooled.insert(1, at(890, packet_id=10, connection=0))
    rig.drain.write(decoded(*(one._replace(topic="volt/vehicle/V2/telemetry") for one in spooled)))
    assert rig.left == 5, "from the spool the packet id may have come round meanwhile"
