"""Devices of which everything is refused, from the writer to what the rules say of them."""

import datetime as dt

import psycopg
import pytest

from support import databases
from support.rules import cycle_fakes
from voltd import config, models, resources
from voltd.database import connections, queries
from voltd.pipeline.current import state as write_current
from voltd.pipeline.decode import decoder
from voltd.pipeline.write import refused as write_refused
from voltd.pipeline.write import store
from voltd.pipeline.write.excursions import Excursions
from voltd.rules import load, message
from voltd.rules.cycle import cycle, interfaces

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
TOPIC = "volt/meter/M1/telemetry"
BAD = f'{{"timestamp": "{(NOW - dt.timedelta(hours=1)).isoformat()}", "kwhConsumedAcTotal": "x"}}'.encode()


@pytest.fixture(autouse=True)
def _today():
    """The test's NOW: other tests may have run for minutes since this file was read."""
    global NOW  # noqa: PLW0603 what the helpers below go by
    NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


class Desk:
    """The writer of a daemon, with its own role, and what it left in the table."""

    def __init__(self, dsn):
        self.dsn, self._settings = dsn, config.Settings(database={"dsn": f"{dsn} options='-c role=volt_writer'"})
        connect = connections.connector(self._settings)
        self._current = write_current.CurrentState(connect, "t", 1.0, heal=False)
        self._stores = [self._store(connect)]
        self._connect = connect

    def _store(self, connect):
        refused = write_refused.Refused(self._settings.mqtt.topics)
        return store.PostgresStore(connect, "t", refused=refused)

    def restart(self):
        self._stores.append(self._store(self._connect))

    def receive(self, seconds_ago, *payloads, topic=TOPIC):
        at = NOW - dt.timedelta(seconds=seconds_ago)
        batch = decoder.Decoder(self._settings.mqtt.topics, self._settings.limits, 90).decode(
            [models.Message(topic, one, 1, at) for one in payloads]
        )
        self._current.note(batch, self._stores[-1].write(batch))
        self._current.merge()

    def good(self, seconds_ago):
        at = NOW - dt.timedelta(seconds=seconds_ago)
        self.receive(seconds_ago, f'{{"timestamp": "{at.isoformat()}", "power": 1}}'.encode())

    def check(self):
        """The shipped rules, by a daemon that is well since yesterday; (device, what is said, whether it is over)."""
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "UPDATE volt_internal.alert_progress SET healthy_since = now() - '1 day'::interval, healthy_at = now()"
            )
        report = interfaces.Report(0.0, spooling=False, healthy=True)
        one = cycle.EvaluationCycle(
            self._connect,
            "t",
            cycle_fakes.ThisDaemon(lambda: report),
            cycle_fakes.Notifier(),
            Excursions(),
        )
        one.use(load.load(resources.share("config") / "rules.toml"), ())
        one.run()
        one._close()
        return self.rows("SELECT device_id, message, resolved_at IS NOT NULL FROM volt.alert ORDER BY alert_id")

    def execute(self, statement):
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement)

    def rows(self, statement="SELECT device_id, since, last_at, reason FROM volt_internal.refused_device ORDER BY 1"):
        return databases.ask(self.dsn, statement)

    def close(self):
        for one in (*self._stores, self._current):
            one.close()


@pytest.fixture
def desk(migrated_database):
    made = Desk(migrated_database)
    yield made
    made.close()


def _ago(seconds):
    return NOW - dt.timedelta(seconds=seconds)


def test_since_is_the_first_refusal_after_the_last_accepted_reading(desk):
    """What came before it is over; a restart, and half a minute of the same, change nothing of since."""
    desk.receive(600, BAD, BAD)
    desk.restart()
    desk.receive(500, BAD)
    assert desk.rows() == [("M1", _ago(600), _ago(500), "wrong_type")]
    desk.good(400)
    desk.restart()
    desk.receive(300, b"malformed")
    assert desk.rows() == [("M1", _ago(300), _ago(300), "not_json")]
    desk.receive(290, b"malformed")  # within half a minute of the clock: not written again
    assert desk.rows() == [("M1", _ago(300), _ago(300), "not_json")]


def test_liveness_shows_whose_messages_are_all_refused(desk):
    """Also a device of which nothing was ever stored; not one that was accepted since."""
    desk.good(900)
    desk.receive(800, b"malformed")
    desk.receive(700, b"malformed", topic="volt/vehicle/NEW/telemetry")
    shown = "SELECT device_id, status, refused_reason, refused_since FROM volt.device_liveness ORDER BY device_id"
    assert desk.rows(shown) == [("M1", None, "not_json", _ago(800)), ("NEW", None, "not_json", _ago(700))]
    desk.good(600)
    assert desk.rows(shown) == [("M1", None, None, None), ("NEW", None, "not_json", _ago(700))]
    with psycopg.connect(desk.dsn) as connection:
        connection.execute("SET ROLE volt_writer")
        connection.execute(queries.text("forget_refused_devices"))
    assert [row[0] for row in desk.rows()] == ["NEW"]


def test_a_device_that_was_refused_since_its_first_message(desk):
    """It is raised while it sends, says so, and is over when a reading is accepted; one message alone is nothing."""
    desk.receive(900, BAD)
    desk.receive(900, b"malformed", topic="volt/vehicle/ONCE/telemetry")
    assert desk.check() == []
    desk.restart()
    desk.receive(30, BAD)
    said = f"sends, but everything is refused: wrong_type kwhConsumedAcTotal since {_ago(900):%Y-%m-%d %H:%M} UTC"
    assert desk.check() == [("M1", f"meter M1: stale warning: {said}", False)]
    desk.good(1)
    ((device, text, over),) = desk.check()
    assert (device, over) == ("M1", True)
    assert "heard again" in text


def test_a_device_that_was_never_accepted_and_stops(desk):
    """What is said changes, and with the last row of it the episode ends; one that had stopped before is not raised."""
    desk.receive(900, BAD)
    desk.restart()
    desk.receive(30, BAD)
    desk.receive(8 * 3600, b"malformed", topic="volt/vehicle/GONE/telemetry")
    desk.restart()
    desk.receive(7 * 3600, b"malformed", topic="volt/vehicle/GONE/telemetry")
    assert [one[0] for one in desk.check()] == ["M1"]
    desk.execute(
        "UPDATE volt_internal.refused_device SET last_at = last_at - '7 hours'::interval WHERE device_id = 'M1'"
    )
    ((_, text, over),) = desk.check()
    assert "stale warning: silent for" in text
    assert not over
    desk.execute("DELETE FROM volt_internal.refused_device")
    assert [one[2] for one in desk.check()] == [True]
    assert [one[2] for one in desk.check()] == [True]


def test_an_alert_that_says_silent_says_refused_once_the_device_sends_again(desk):
    """The row's message follows, the other way as well; it stays one episode."""
    desk.good(3600)
    ((_, text, over),) = desk.check()
    assert "stale warning: silent for" in text
    desk.receive(10, BAD)
    ((_, text, over),) = desk.check()
    assert "sends, but everything is refused: wrong_type kwhConsumedAcTotal since" in text
    desk.execute("UPDATE volt_internal.refused_device SET last_at = last_at - '30 minutes'::interval")
    ((_, text, over),) = desk.check()
    assert "stale warning: silent for" in text
    assert not over


def test_what_is_said_of_it():
    """Reason, field and since when; the whole detail where it names no field."""
    since = dt.datetime(2026, 3, 2, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    said = message.refused("wrong_type", "kwhConsumedAcTotal: should be a number", since)
    assert said == "sends, but everything is refused: wrong_type kwhConsumedAcTotal since 2026-03-02 10:30 UTC"
    assert "not_json expected value at line 1: x since" in message.refused(
        "not_json", "expected value\nat line 1: x", since
    )
