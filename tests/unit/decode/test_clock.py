"""The clock guard: a fleet whose clocks are wrong is distinguished from a host whose clock is."""

import json

import pytest

from support.host import HOUR, LOST, SURE, World, at
from voltd import config, models
from voltd.host import witnesses
from voltd.models import Reason
from voltd.pipeline.decode import clock, decoder

SETTINGS = config.Settings()
DAY = 86400.0


class Rig:
    """A guard and a decoder on a host whose clock is off; devices date by the right time."""

    def __init__(self, kernel=SURE, off_s=0.0, database=False):
        self.world = World(kernel, off_s)
        topics, limits = SETTINGS.mqtt.topics, SETTINGS.limits
        self.guard = clock.ClockGuard(topics, limits, 90, self.world.clock)
        self.decoder = decoder.Decoder(topics, limits, 90)
        if database:
            self.world.clock.note_database(witnesses.DatabaseClock(-off_s, 0.01))

    def batch(self, ahead, *, retained=False):
        """A reading of each device, so many seconds ahead (a list of them: an array), received now."""
        now = self.world.clock.now()
        messages = []
        for number, (device, seconds) in enumerate(ahead.items()):
            times = [at(self.world.passed_s + one) for one in (seconds if isinstance(seconds, list) else [seconds])]
            body = [{"timestamp": one.isoformat(), "soc": 50} for one in times]
            payload = json.dumps(body if isinstance(seconds, list) else body[0]).encode()
            topic = f"volt/vehicle/{device}/telemetry"
            messages.append(models.Message(topic, payload, number, now, retained=retained))
        return self.decoder.decode(messages)

    def evaluate(self, ahead, **options):
        return self.guard.evaluate(self.batch(ahead, **options))


def fleet(count, ahead_s=0.0, name="V"):
    return {f"{name}{number}": ahead_s + number % 5 for number in range(count)}


def test_a_host_that_is_behind():
    """All devices are ahead by the same, and the kernel knows no better: the batch waits, and it says why."""
    found = Rig(LOST, -HOUR).evaluate(fleet(10))
    assert str(found) == (
        "this host's clock is 60 min behind, as 10 of 10 devices show; the kernel says that it is not synchronised"
    )


def test_a_firmware_with_a_bug():
    """All devices are ahead, and nobody else says so: dead letters, as ever. The host is right."""
    rig = Rig(SURE)
    batch = rig.batch(fleet(10, DAY))
    assert rig.guard.evaluate(batch) is None
    assert {one.reason for one in batch.dead_letters} == {Reason.IN_FUTURE}


@pytest.mark.parametrize("wrong", [1, 4])
def test_some_devices_of_a_fleet(wrong):
    """Where most are not ahead it is theirs, whatever kernel and database say."""
    rig = Rig(LOST)
    rig.world.clock.note_database(witnesses.DatabaseClock(DAY, 0.1))
    for _ in range(3):
        assert rig.evaluate(fleet(wrong, DAY, "W") | fleet(9)) is None


def test_they_do_not_agree():
    """Devices that are ahead by whatever it may be have clocks without batteries of their own."""
    rig = Rig(LOST)
    assert rig.evaluate({f"V{number}": 4000 + 3600 * number for number in range(10)}) is None


def test_one_message_a_batch():
    """Devices that were heard before count, too."""
    rig = Rig(LOST)
    for number in range(10):
        assert rig.evaluate({f"V{number}": 0.0}) is None
    assert rig.evaluate({"W1": 4000.0}) is None
    assert Rig(LOST).evaluate({"W1": 4000.0}).devices == 1


def test_one_message_a_batch_from_a_host_that_is_behind():
    """By a time zone, so that one device alone says little: the third decides."""
    rig = Rig(LOST, -HOUR)
    assert [bool(rig.evaluate({f"V{number}": 0.0})) for number in (1, 1, 2, 3)] == [False, False, False, True]


def test_a_device_that_is_always_wrong():
    """It keeps nobody from vouching for the host, nor is it taken for all."""
    rig = Rig(LOST)
    for _ in range(8):
        assert rig.evaluate(fleet(9) | {"W": 4000.0}) is None
        rig.world.passes(10)
    assert rig.world.clock.confirmed


def test_a_small_fleet_asks_for_a_better_witness():
    """One device an hour ahead is a time zone, unless the database's clock says the same."""
    assert Rig(LOST, -HOUR).evaluate(fleet(1)) is None
    assert Rig(LOST, -HOUR, database=True).evaluate(fleet(1)) is not None


def test_a_backlog_before_the_news():
    """What was late on its way says nothing about the clock; of a device the newest reading does."""
    rig = Rig(SURE, -HOUR, database=True)
    assert rig.evaluate(fleet(50, -2 * DAY, "OLD")) is None
    assert rig.evaluate(fleet(3)) is not None
    assert rig.evaluate({"A": [-DAY, -HOUR, 0.0]}).ahead_s == HOUR


def test_retained_messages_are_no_devices():
    """Of another time."""
    rig = Rig(SURE, -HOUR, database=True)
    assert rig.evaluate(fleet(50, -HOUR), retained=True) is None
    assert rig.evaluate(fleet(2)) is not None


def test_a_host_that_is_far_ahead():
    """Everything would be too old; what only seems late is stored as it is."""
    assert Rig(SURE, 100 * DAY, database=True).evaluate(fleet(10)) is not None
    assert Rig(SURE, 100 * DAY).evaluate(fleet(10)) is None
    rig = Rig(SURE, 10 * DAY, database=True)
    assert rig.evaluate(fleet(10)) is None


def test_devices_that_step_while_the_daemon_runs():
    """They agreed with this host for a minute, and it has not stepped: the kernel is no witness against it any more."""
    rig = Rig(LOST)
    for _ in range(8):
        rig.evaluate(fleet(10))
        rig.world.passes(10)
    assert rig.evaluate(fleet(10, 4000)) is None
    rig.world.step(-4000)
    assert rig.evaluate(fleet(10)) is not None


def test_the_clock_is_set_right():
    """What waited is decoded again, received when it would have been by the clock that is right."""
    rig = Rig(SURE, -HOUR, database=True)
    batch = rig.batch(fleet(3))
    suspicion = rig.guard.evaluate(batch)
    assert rig.guard.again(batch, suspicion) == (batch, suspicion)
    rig.world.passes(100)
    rig.world.step(HOUR)
    fresh, left = rig.guard.again(batch, suspicion)
    assert left is None
    assert not fresh.dead_letters
    assert {one.received_at for one in fresh.vehicles} == {at(0)}
    assert [one.packet_id for one in fresh.messages] == [0, 1, 2]


def test_the_clock_is_set_wrong_again():
    """A step that does not help: it goes on waiting, and says the new amount."""
    rig = Rig(SURE, -HOUR, database=True)
    batch = rig.batch(fleet(3))
    suspicion = rig.guard.evaluate(batch)
    rig.world.passes(1)
    rig.world.step(-DAY)
    batch, left = rig.guard.again(batch, suspicion)
    assert round(left.ahead_s) == round(HOUR + DAY) + 1
    rig.world.passes(1)
    rig.world.step(HOUR + DAY)
    batch, left = rig.guard.again(batch, left)
    assert left is None
    assert {one.received_at for one in batch.vehicles} == {at(0)}


def test_what_arrived_before_the_step_and_is_decoded_after_it():
    """It is corrected, with when it was spooled; a batch that was on its way meanwhile is not held for it."""
    rig = Rig(SURE, -HOUR, database=True)
    spooling = models.Spooling(rig.world.clock.now(), 1)
    batch = rig.decoder.decode([one._replace(spooling=spooling) for one in rig.batch(fleet(3)).messages])
    rig.world.passes(0.1)
    rig.world.step(HOUR)
    batch = rig.guard.corrected(batch)
    assert rig.guard.evaluate(batch) is None
    assert not batch.dead_letters
    assert {(one.received_at, one.spooling.at) for one in batch.messages} == {(at(0), at(0))}


def test_a_witness_that_goes_away():
    """Who does not answer any more has not changed its mind; the database's clock goes on counting while it is away."""
    rig = Rig(LOST, -4000)
    batch = rig.batch(fleet(3))
    suspicion = rig.guard.evaluate(batch)
    rig.world.kernel = witnesses.Kernel(synchronised=None)
    assert rig.guard.again(batch, suspicion) == (batch, suspicion)
    rig.world.kernel = SURE
    assert rig.guard.again(batch, suspicion)[1] is None


def test_an_admin_goes_on():
    """With the clock as it is: the readings become dead letters."""
    rig = Rig(LOST, -4000)
    batch = rig.batch(fleet(3))
    suspicion = rig.guard.evaluate(batch)
    rig.guard.accept()
    batch, left = rig.guard.again(batch, suspicion)
    assert left is None
    assert len(batch.dead_letters) == 3
    assert rig.evaluate(fleet(3)) is None


def test_a_spool_of_an_earlier_run():
    """Put while the clock was behind, before a restart: nobody knows how far, but most readings show it."""
    rig = Rig(SURE)
    old = [one._replace(received_at=at(-HOUR)) for one in rig.batch(fleet(5, -10)).messages]
    rig.world.passes(60)
    fresh = rig.guard.spooled(rig.decoder.decode(old), earlier=True)
    assert not fresh.dead_letters
    assert {one.received_at for one in fresh.vehicles} == {one.recorded_at for one in fresh.vehicles}


def test_a_spool_of_an_earlier_run_after_a_step_of_this_one():
    """The step says nothing about times that an earlier run gave; of this run's messages it does."""
    rig = Rig(SURE)
    messages = rig.batch({"V1": 0.0, "V2": -100 * DAY}).messages
    rig.world.passes(0.1)
    rig.world.step(HOUR)
    for earlier, by_s in ((True, 0.0), (False, HOUR)):
        batch = rig.guard.spooled(rig.decoder.decode(messages), earlier=earlier)
        assert [one.reason for one in batch.dead_letters] == [Reason.TOO_OLD]
        moved = batch.messages[0].received_at - messages[0].received_at
        assert abs(moved.total_seconds() - by_s) < 1


def test_a_spool_with_one_wrong_device():
    """What was in the future then, and others were not, stays a dead letter."""
    rig = Rig(SURE)
    messages = rig.batch(fleet(5, -HOUR) | {"W": -10}).messages
    fresh = rig.guard.spooled(
        rig.decoder.decode([one._replace(received_at=at(-HOUR)) for one in messages]), earlier=True
    )
    assert [one.reason for one in fresh.dead_letters] == [Reason.IN_FUTURE]


def test_a_reading_that_is_in_the_future_even_now():
    """Of an array only that element is refused."""
    rig = Rig(SURE)
    message = rig.batch({"V1": [-HOUR, -10, DAY]}).messages[0]
    retimer = clock.Retimer(SETTINGS.mqtt.topics, SETTINGS.limits, 90)
    batch = rig.decoder.decode([message._replace(received_at=at(-DAY), retained=True)])
    assert len(batch.dead_letters) == 3
    batch = retimer.received_when_dated(batch, at(0))
    assert [(one.reason, one.element) for one in batch.dead_letters] == [(Reason.IN_FUTURE, 2)]
    assert {one.received_at for one in batch.vehicles} == {at(-10)}


def test_what_is_cached_is_bounded():
    """Whatever arrives, whatever its size."""
    rig = Rig(SURE)
    for _ in range(50):
        rig.evaluate(fleet(400))
    assert sum(map(len, rig.guard._recent)) < 1000


def test_a_recording_on_a_host_that_is_not_synchronised():
    """Older than anything that is stored: the kernel's doubts hold no stream for it, the database's clock does."""
    batch = Rig(LOST).batch(fleet(10, -100 * DAY))
    assert {one.reason for one in batch.dead_letters} == {Reason.TOO_OLD}
    assert Rig(LOST).guard.evaluate(batch) is None
    assert Rig(LOST, 100 * DAY, database=True).evaluate(fleet(10)) is not None


@pytest.mark.parametrize(("off_s", "confirmed"), [(-40, False), (-20, True)])
def test_who_vouches_for_a_host_that_is_a_little_off(off_s, confirmed):
    """Devices that are half a minute ahead of it do not agree with it."""
    rig = Rig(LOST, off_s)
    for _ in range(8):
        rig.evaluate(fleet(10))
        rig.world.passes(10)
    assert rig.world.clock.confirmed is confirmed
