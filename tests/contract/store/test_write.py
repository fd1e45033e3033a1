"""What every store promises to ``flush``: ``flusher.Store``."""

import datetime as dt
import json

import pytest

from voltd import config, errors, models
from voltd.pipeline.decode import decoder

NOW = dt.datetime.now(dt.UTC)
TOPIC = "volt/vehicle/V1/telemetry"


def batch(*payloads, redelivered=False):
    """A batch of vehicle messages; a number is a reading with that state of charge, text is malformed."""
    messages = []
    for number, payload in enumerate(payloads):
        body = payload
        if not isinstance(payload, str):
            at = NOW - dt.timedelta(seconds=payload)
            body = json.dumps({"timestamp": at.isoformat(), "soc": payload})
        messages.append(models.Message(TOPIC, body.encode(), number + 1, NOW, redelivered=redelivered, connection=1))
    return decoded(*messages)


def decoded(*messages):
    """The batch of these messages."""
    return decoder.Decoder(config.Topics(), config.Limits(), 90).decode(list(messages))


def test_readings_and_dead_letters_are_stored_together(store_rig):
    result = store_rig.store.write(batch(1, "malformed", 2))
    assert (result.vehicles_written, result.duplicates, len(result.dead_letters)) == (2, 0, 1)
    assert store_rig.vehicles() == {("V1", 1.0), ("V1", 2.0)}
    assert store_rig.dead_letters() == ["not_json"]


def test_redelivered_batch_changes_nothing(store_rig):
    """Invariant 4: the second delivery is all duplicates, and leaves no second dead letter."""
    store_rig.store.write(batch(1, 2, "malformed"))
    result = store_rig.store.write(batch(1, 2, "malformed", redelivered=True))
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


def test_the_same_malformed_payload_published_twice_is_two_dead_letters(store_rig):
    """Only a redelivery is the same message; a device that repeats itself is not, also when packet ids come round."""
    store_rig.store.write(batch("malformed", "malformed"))
    assert store_rig.dead_letters() == ["not_json", "not_json"]
    later = batch("malformed", "malformed")
    later = decoded(*(one._replace(received_at=NOW + dt.timedelta(seconds=7)) for one in later.messages))
    assert store_rig.store.write(later).dead_letters_there == []
    assert store_rig.dead_letters() == ["not_json"] * 4


def test_unavailable_store_keeps_nothing(store_rig):
    """Invariant 3: a transient failure commits nothing, and the same batch goes in afterwards."""
    store_rig.store.write(batch(1))
    store_rig.away()
    pending = batch(2, "malformed")
    with pytest.raises(errors.StoreUnavailable):
        store_rig.store.write(pending)
    assert len(store_rig.vehicles()) == 1
    assert store_rig.store.write(pending).vehicles_written == 1
    assert len(store_rig.vehicles()) == 2


def test_lost_reply_of_a_commit(store_rig):
    """Invariant 4: the reply of COMMIT is lost; writing the batch again stores and counts nothing twice."""
    store_rig.store.write(batch(9))
    store_rig.lose_next_reply()
    pending = batch(1, 2, "malformed")
    with pytest.raises(errors.CommitUnknown):
        store_rig.store.write(pending)
    result = store_rig.store.write(pending)
    assert (result.vehicles_written, result.duplicates) == (2, 0)
    assert len(store_rig.vehicles()) == 3
    assert store_rig.dead_letters() == ["not_json"]


def test_lost_reply_of_a_commit_whose_batch_is_not_given_again(store_rig):
    """It went into the spool: what the COMMIT came to is reported once, for the counters."""
    store_rig.lose_next_reply()
    with pytest.raises(errors.CommitUnknown):
        store_rig.store.write(batch(1, "malformed"))
    (late,) = store_rig.store.late_results()
    assert (late.vehicles_written, len(late.dead_letters)) == (1, 1)
    assert store_rig.store.late_results() == store_rig.store.write(batch(2)).earlier == []


def test_empty_rows_of_one_kind_are_fine(store_rig):
    result = store_rig.store.write(batch("malformed"))
    assert (result.vehicles_written, len(result.dead_letters)) == (0, 1)
