"""The spool: durable, in order, bounded, and honest about a disk that fails."""

import contextlib
import datetime as dt
import pathlib
import sqlite3
import stat

import msgspec
import pytest

from voltd import errors, models
from voltd.host import identity
from voltd.pipeline.spool import file as spool

NOW = dt.datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)


def messages(first, count=1, size=10):
    return [
        models.Message(f"t/{number}", b"x" * size, number, NOW + dt.timedelta(seconds=number), size=size)
        for number in range(first, first + count)
    ]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "spool-main.sqlite3"


@pytest.fixture
def make(file):
    """A function that opens the spool once more, as a restart does."""
    made = []

    def opened(max_bytes=1 << 20, min_free_bytes=0):
        for one in made:
            one._close()
        made.append(spool.SpoolFile(file, max_bytes, min_free_bytes))
        made[-1].open()
        return made[-1]

    yield opened
    for one in made:
        one.close()


@pytest.mark.parametrize("size", [10, 5000])
def test_messages_come_back_as_they_were_after_a_restart(make, size):
    """Topic, payload, times and flags survive, compressed or not; oldest first. No connection awaits their acks.

    They also say when they went into the spool, and by which run.
    """
    before = dt.datetime.now(dt.UTC)
    first, second = messages(1, 3, size), [messages(9)[0]._replace(retained=True, redelivered=True, connection=3)]
    made = make()
    made.put(first, 3)
    made.put(second, 1)
    again = make()
    assert (again.messages, again.readings, again.oldest_at) == (4, 4, NOW + dt.timedelta(seconds=1))
    found = again.oldest(100, 1 << 20)
    assert [one._replace(spooling=None) for one in found.messages] == [
        one._replace(connection=0) for one in first + second
    ]
    assert {one.spooling.run for one in found.messages} == {identity.run_number()}
    assert before <= found.messages[0].spooling.at <= found.messages[-1].spooling.at <= dt.datetime.now(dt.UTC)
    again.remove(found.through)
    assert (again.messages, again.readings, again.bytes, again.oldest_at) == (0, 0, 0, None)
    assert make().oldest(100, 1 << 20) is None


def test_what_an_earlier_version_spooled_comes_back(make, file):
    """Its messages do not say when they went into the spool."""
    one = messages(1)[0]
    make().put([one], 1)
    body = msgspec.msgpack.encode([tuple(one)[:-1]])
    make().close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE batch SET body = ?", [body])
    connection.close()
    assert make().oldest(100, 1 << 20).messages == [one]


def test_small_batches_are_taken_together_within_the_bounds(make):
    """An outage with a small window must not be drained in thousands of small transactions."""
    made = make()
    for number in range(6):
        made.put(messages(number * 10, 2), 2)
    found = made.oldest(5, 1 << 20)
    assert len(found.messages) == 4
    assert [one.packet_id for one in made.oldest(100, 1 << 20, after=found.through).messages][:2] == [20, 21]
    made.remove(found.through)
    assert made.messages == 8


@pytest.mark.parametrize(("payload", "readings"), [(b"[1" + b",1" * 9000 + b"]", 0), (b"[" + b" " * 9000 + b"]", 4000)])
def test_batches_that_pack_well_are_not_taken_together(make, payload, readings):
    """What comes out together is bounded as it is in memory and in the database, not as it lies on the disk."""
    made = make(max_bytes=64 << 20)
    for number in range(100):
        made.put([messages(number)[0]._replace(payload=payload)], readings)
    found = made.oldest(1000, 200_000)
    assert sum(len(one.payload) for one in found.messages) <= 200_000
    found = made.oldest(1000, 1 << 30).messages
    assert sum(one.payload.count(b",") for one in found) <= 400_000
    assert len(found) * readings <= 50_000
    assert len(made.oldest(1, 10).messages) == 1, "one that is larger than the bounds comes alone"


def test_full_by_its_own_bound_and_by_the_disk(make):
    """Full means nothing was kept: the messages must stay unacked; what is in it stays readable."""
    made = make(max_bytes=2000)
    made.put(messages(1, 5), 5)
    with pytest.raises(errors.SpoolUnavailable, match="is full"):
        made.put(messages(10, 1000), 1000)
    assert made.messages == 5
    with pytest.raises(errors.SpoolUnavailable, match="are free"):
        make(min_free_bytes=1 << 60).put(messages(1), 1)
    assert len(make().oldest(100, 1 << 20).messages) == 5


def test_opening_again_writes_nothing(make, file):
    """On a disk that is full by now the drain must still get at what is in it."""
    make().put(messages(1), 1)
    opened = make()
    assert opened.messages == 1
    log = file.with_name(file.name + "-wal")
    assert not log.exists() or log.stat().st_size == 0


def test_room_is_given_back_when_it_is_empty(make, file):
    """The file is gone once everything is stored, and made anew when it is needed."""
    made = make(max_bytes=64 << 20)
    for number in range(20):
        made.put([messages(number)[0]._replace(payload=bytes(range(256)) * 400)], 1)
    made.remove(made.oldest(100, 1 << 30).through)
    assert list(file.parent.iterdir()) == []
    made.put(messages(5), 1)
    assert [one.packet_id for one in made.oldest(100, 1 << 20).messages] == [5]
    made.remove(made.oldest(100, 1 << 20).through)
    made.close()
    assert list(file.parent.iterdir()) == []


def test_only_the_owner_can_read_it(make, file):
    """Payloads may hold anything: neither the folder nor the files are open to others."""
    made = make()
    made.put(messages(1), 1)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_file_is_set_aside_and_spooling_goes_on(make, file):
    """What cannot be read is kept for a person, counted as dropped where it is known, and replaced by a new file."""
    made = make()
    made.put(messages(1, 3), 3)
    made._close()
    for suffix in ("-wal", "-shm"):
        pathlib.Path(f"{file}{suffix}").unlink(missing_ok=True)
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(errors.SpoolUnavailable):
        made.put(messages(4), 1)
    made.put(messages(4), 1)
    assert made.messages == 1
    assert made.dropped == 3
    assert [path.name for path in file.parent.glob("*.damaged-*")]


def test_two_damaged_files_at_once_are_both_kept(make, file):
    """A disk that goes bad spoils the next file, too, in the same second: neither is overwritten."""
    made = make()
    for spoilt in (b"not a database" * 1000, b"another one" * 1000):
        made.put(messages(1), 1)
        made._close()
        file.write_bytes(spoilt)
        with pytest.raises(errors.SpoolUnavailable):
            made.put(messages(9), 1)
    aside = sorted(file.parent.glob(f"*.damaged-*/{file.name}"))
    assert [path.read_bytes()[:11] for path in aside] == [b"not a datab", b"another one"]


def test_killed_while_a_damaged_file_is_set_aside(make, file):
    """The file was moved and its log was not: the next start does not let SQLite delete that."""
    file.parent.mkdir(mode=0o700)
    file.with_name(file.name + "-wal").write_bytes(b"log")
    made = make()
    made.put(messages(1), 1)
    assert [path.read_bytes() for path in file.parent.glob(f"*.damaged-*/{file.name}-wal")] == [b"log"]
    assert len(make().oldest(100, 1 << 20).messages) == 1


@pytest.mark.parametrize("forgotten", [True, False], ids=["", "forgetting them failed before"])
def test_what_is_put_after_damage_outlives_the_draining_of_what_was_before(make, file, forgotten):
    """A drain that has begun on the damaged file ends: it takes nothing of the new file away, and then drains it."""
    made = make()
    for number in range(20):
        made.put(messages(number), 1)
    drained = made.oldest(10, 1 << 20).through
    made._close()
    file.write_bytes(b"not a database" * 1000)
    for number in (101, 102):
        with contextlib.suppress(errors.SpoolUnavailable):
            made.put(messages(number), 1)
    made.put(messages(103), 1)
    if forgotten:
        made.remove(drained)
    found = made.oldest(100, 1 << 20, after=drained)
    assert [one.packet_id for one in found.messages] == [102, 103]
    made.remove(found.through)
    assert made.messages == 0
    assert made.oldest(100, 1 << 20) is None


def test_what_is_put_after_the_last_was_drained_is_not_taken_for_it(make, file):
    """The file is gone before its log could be: what comes next is not what the store has already."""
    made = make()
    made.put(messages(1), 1)
    drained = made.oldest(10, 1 << 20).through
    made._close()
    file.unlink()  # and the drain still has to try again
    made.put(messages(2), 1)
    assert [one.packet_id for one in made.oldest(10, 1 << 20, after=drained).messages] == [2]
    made.remove(drained)
    assert [one.packet_id for one in made.oldest(10, 1 << 20).messages] == [2]


def test_a_damaged_batch_does_not_hold_up_the_others(make, file):
    """One spoilt row stays in the file; what is before and behind it is drained."""
    made = make()
    for number in (1, 2, 3):
        made.put(messages(number), 1)
    made._close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE batch SET body = x'c1c1' WHERE number = 2")
    connection.close()
    again = make()
    found = again.oldest(100, 1 << 20)
    assert [one.packet_id for one in found.messages] == [1, 3]
    again.remove(found.through)
    assert (again.dropped, again.oldest(100, 1 << 20)) == (1, None)


def test_a_second_process_is_refused(make, file):
    """Two daemons with one spool would drain each other's messages."""
    made = make()
    made.put(messages(1), 1)
    other = spool.SpoolFile(file, 1 << 20, 0)
    with pytest.raises(errors.SpoolUnavailable, match="another process"):
        other.open()


def test_messages_of_two_runs_do_not_come_in_one_piece(make):
    """What an earlier run received comes by itself and is named; so it is after the file was opened anew."""
    made = make()
    made.put(messages(1), 1)
    made.put(messages(2), 1)
    assert not made.oldest(100, 1 << 20).earlier, "of this run"
    again = make()
    again.put(messages(3), 1)
    again._close()
    again.put(messages(4), 1)
    first = again.oldest(100, 1 << 20)
    assert ([one.packet_id for one in first.messages], first.earlier) == ([1, 2], True)
    second = again.oldest(100, 1 << 20, after=first.through)
    assert ([one.packet_id for one in second.messages], second.earlier) == ([3, 4], False)
    again.remove(second.through)
    again.put(messages(5), 1)
    assert not again.oldest(100, 1 << 20).earlier
