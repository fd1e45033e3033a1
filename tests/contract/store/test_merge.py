"""Two messages of one device and one time belong together, whichever way they come; both stores agree on it."""

import datetime as dt
import itertools
import json

import pytest

from voltd import config, models
from voltd.pipeline.decode import decoder

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
AT = (NOW - dt.timedelta(minutes=1)).isoformat()
SOC, ENERGY = {"soc": 61.5}, {"kwhDeliveredDcTotal": 412.7}
PLACE = {"latitude": 48.1, "longitude": 11.5}
PARTS = (SOC, ENERGY, PLACE)
WHOLE = (61.5, 412.7, 48.1, 11.5)


def batch(*payloads, kind="vehicle", redelivered=False):
    """Messages of one device; each payload is that of a reading at AT, or an array of them."""
    messages = []
    for number, payload in enumerate(payloads, 1):
        readings = [{"timestamp": AT} | one for one in (payload if isinstance(payload, list) else [payload])]
        topic = f"volt/{kind}/D1/telemetry"
        text = json.dumps(readings if isinstance(payload, list) else readings[0]).encode()
        messages.append(models.Message(topic, text, number, NOW, redelivered=redelivered, connection=1))
    return decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)


def fates(result):
    """Written, filled, duplicates, conflicting."""
    return (result.vehicles_written, result.filled, result.duplicates, result.conflicting)


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)))
def test_parts_in_one_batch_are_one_row(store_rig, order):
    result = store_rig.store.write(batch(*order))
    assert fates(result) == (1, 2, 0, 0)
    assert store_rig.whole_vehicles() == [WHOLE]


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)))
def test_parts_in_batches_of_their_own_are_one_row(store_rig, order):
    assert [fates(store_rig.store.write(batch(part))) for part in order] == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0)]
    assert store_rig.whole_vehicles() == [WHOLE]


def test_parts_in_an_array_are_one_row(store_rig):
    assert fates(store_rig.store.write(batch([SOC, PLACE], ENERGY))) == (1, 2, 0, 0)
    assert fates(store_rig.store.write(batch([ENERGY, SOC]))) == (0, 0, 2, 0)
    assert store_rig.whole_vehicles() == [WHOLE]


def test_redelivered_parts_change_nothing(store_rig):
    store_rig.store.write(batch(*PARTS))
    assert fates(store_rig.store.write(batch(*PARTS, redelivered=True))) == (0, 0, 3, 0)
    assert store_rig.whole_vehicles() == [WHOLE]


def test_a_part_that_is_stored_and_two_that_are_not(store_rig):
    store_rig.store.write(batch(ENERGY))
    assert fates(store_rig.store.write(batch(SOC, ENERGY, PLACE))) == (0, 2, 1, 0)
    assert store_rig.whole_vehicles() == [WHOLE]


def test_another_value_is_a_conflict_and_the_first_stands(store_rig):
    """Stored, in the same batch, and in one array alike; what else such a message says is stored."""
    store_rig.store.write(batch(SOC))
    result = store_rig.store.write(batch({"soc": 62, "odometer": 5}, {"soc": 63}, [{"soc": 64}, PLACE]))
    assert fates(result) == (0, 2, 0, 2)
    assert [letter.reason for letter in result.dead_letters] == [models.Reason.CONFLICT] * 3
    assert store_rig.dead_letters() == ["conflict"] * 3
    assert store_rig.whole_vehicles() == [(61.5, None, 48.1, 11.5)]
    again = store_rig.store.write(batch({"soc": 61.5}))
    assert fates(again) == (0, 0, 1, 0)


def test_meters_are_merged_too(store_rig):
    first = store_rig.store.write(batch({"kwhConsumedAcTotal": 7.5}, kind="meter"))
    second = store_rig.store.write(batch({"voltage": 230}, {"kwhConsumedAcTotal": 8}, {"power": 3}, kind="meter"))
    assert (first.meters_written, second.meters_written, second.filled, second.conflicting) == (1, 0, 2, 1)
    assert store_rig.whole_meters() == [(7.5, 230.0, 3.0)]


def test_what_contradicts_is_not_effective(store_rig):
    """The current state is made of what is stored, not of what came."""
    store_rig.store.write(batch(SOC))
    given = batch({"soc": 9, "odometer": 5})
    (effective,) = store_rig.store.write(given).effective.values()
    assert (effective.soc_pct, effective.odometer_km) == (None, 5.0)


def test_equal_diagnostics_in_other_words(store_rig):
    """Key order and 1 against 1.0 are the same object; true is not 1."""
    first, same, other = '{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1.0}', '{"a": true, "b": [2]}'
    result = store_rig.store.write(batch(*({"diagnostics": json.loads(text)} for text in (first, same, other))))
    assert fates(result) == (1, 0, 1, 1)
    result = store_rig.store.write(batch(*({"diagnostics": json.loads(text)} for text in (same, other))))
    assert fates(result) == (0, 0, 1, 1)
