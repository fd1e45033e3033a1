"""What every store promises to ``flush``: ``flush.Store``."""

import datetime as dt
import json
import threading

import pytest

import harness
from voltd import config, errors, models
from voltd.database import migrate, session
from voltd.pipeline import decode, write, write_dead_letters

NOW = dt.datetime.now(dt.UTC)


def batch(*payloads, redelivered=False):
    """A batch of vehicle messages; a number is a reading with that state of charge, text is rubbish."""
    messages = []
    for number, payload in enumerate(payloads):
        body = payload
        if not isinstance(payload, str):
            at = NOW - dt.timedelta(seconds=payload)
            body = json.dumps({"timestamp": at.isoformat(), "soc": payload})
        messages.append(
            models.Message("volt/vehicle/V1/telemetry", body.encode(), number + 1, NOW, redelivered=redelivered)
        )
    return decode.Decoder(config.Topics(), config.Limits(), 90).decode(messages)


def test_readings_and_dead_letters_are_stored_together(store_rig):
    result = store_rig.store.write(batch(1, "rubbish", 2))
    assert (result.vehicles_written, result.duplicates, len(result.dead_letters)) == (2, 0, 1)
    assert store_rig.vehicles() == {("V1", 1.0), ("V1", 2.0)}
    assert store_rig.dead_letters() == ["not_json"]


def test_redelivered_batch_changes_nothing(store_rig):
    """Invariant 4: the second delivery is all duplicates, and leaves no second dead letter."""
    store_rig.store.write(batch(1, 2, "rubbish"))
    result = store_rig.store.write(batch(1, 2, "rubbish", redelivered=True))
    assert (result.vehicles_written, result.duplicates) == (0, 2)
    assert store_rig.dead_letters() == ["not_json"]


def test_partly_stored_batch_adds_what_is_new(store_rig):
    store_rig.store.write(batch(1, 2))
    result = store_rig.store.write(batch(2, 3))
    assert (result.vehicles_written, result.duplicates) == (1, 1)
    assert len(store_rig.vehicles()) == 3


def test_duplicates_within_one_batch(store_rig):
    result = store_rig.store.write(batch(1, 1, 1))
    assert (result.vehicles_written, result.duplicates) == (1, 2)


def test_same_rubbish_published_twice_is_two_dead_letters(store_rig):
    """Only a redelivery is the same message; a device that repeats itself is not."""
    store_rig.store.write(batch("rubbish", "rubbish"))
    assert store_rig.dead_letters() == ["not_json", "not_json"]


def test_unavailable_store_keeps_nothing(store_rig):
    """Invariant 3: a transient failure commits nothing, and the same batch goes in afterwards."""
    store_rig.store.write(batch(1))
    store_rig.away()
    pending = batch(2, "rubbish")
    with pytest.raises(errors.StoreUnavailable):
        store_rig.store.write(pending)
    assert len(store_rig.vehicles()) == 1
    assert store_rig.store.write(pending).vehicles_written == 1
    assert len(store_rig.vehicles()) == 2


def test_lost_reply_of_a_commit(store_rig):
    """Invariant 4: the reply of COMMIT is lost; writing the batch again stores and counts nothing twice."""
    store_rig.store.write(batch(9))
    store_rig.lose_next_reply()
    pending = batch(1, 2, "rubbish")
    with pytest.raises(errors.CommitUnknown):
        store_rig.store.write(pending)
    result = store_rig.store.write(pending)
    assert (result.vehicles_written, result.duplicates) == (2, 0)
    assert len(store_rig.vehicles()) == 3
    assert store_rig.dead_letters() == ["not_json"]


def test_empty_rows_of_one_kind_are_fine(store_rig):
    result = store_rig.store.write(batch("rubbish"))
    assert (result.vehicles_written, len(result.dead_letters)) == (0, 1)


def test_two_writers_of_one_client_leave_a_dead_letter_once(fresh_database):
    """Two daemons that evict each other: the redelivery waits for the first delivery's transaction, and sees it."""
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    connect = session.connector(config.Settings(database={"dsn": fresh_database}))
    now = dt.datetime.now(dt.UTC)
    first = models.Message("volt/vehicle/V1/telemetry", b"rubbish", 7, now)
    decoder = decode.Decoder(config.Topics(), config.Limits(), 90)
    one, other = connect(), write.PostgresStore(connect, "client")
    with one.transaction(), one.cursor() as cursor:
        write_dead_letters.insert(cursor, decoder.decode([first]).dead_letters, "client")
        again = decoder.decode([first._replace(redelivered=True)])
        thread = threading.Thread(target=other.write, args=(again,))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits"
    thread.join(10)
    assert harness.count(fresh_database, "dead_letter") == 1
    one.close()
    other.close()


def test_a_redelivery_that_overtakes_leaves_the_only_dead_letter(fresh_database):
    """The daemon that lost its session to another writes late what the other was sent again and has written."""
    migrate.migrate(fresh_database, migrate.MigrateOptions(), report=lambda _line: None)
    store = write.PostgresStore(session.connector(config.Settings(database={"dsn": fresh_database})), "client")
    decoder = decode.Decoder(config.Topics(), config.Limits(), 90)
    now = dt.datetime.now(dt.UTC)
    first = models.Message("volt/vehicle/V1/telemetry", b"rubbish", 7, now)
    again = first._replace(redelivered=True, received_at=now + dt.timedelta(seconds=1))
    store.write(decoder.decode([again]))
    result = store.write(decoder.decode([first]))
    assert len(result.dead_letters_there) == 1
    assert harness.count(fresh_database, "dead_letter") == 1
    store.write(decoder.decode([first._replace(received_at=now + dt.timedelta(seconds=9))]))
    assert harness.count(fresh_database, "dead_letter") == 1, "it lay unread in the socket meanwhile"
    store.write(decoder.decode([first._replace(received_at=now + dt.timedelta(seconds=99))]))
    assert harness.count(fresh_database, "dead_letter") == 2, "the packet id has come round: another message"
    store.close()
