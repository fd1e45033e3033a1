"""Whatever JSON the special readers get: one fate each, no defect, no reading without a value."""

import datetime as dt
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voltd import config, models
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.decode.devices import families

NOW = dt.datetime(2025, 3, 4, 21, 6, 58, tzinfo=dt.UTC)
FAMILIES = config.Settings(devices={"shelly": {}, "ocpp": {"zone": "Europe/Berlin"}})
HEARD = families.of(FAMILIES, ask=lambda _topic, _payload: None)
OTHERS = families.of(FAMILIES)


def made(known):
    return decode.Decoder(FAMILIES.mqtt.topics, FAMILIES.limits, 90, FAMILIES.timestamps, known)


STREAM, DRAIN = made(HEARD), made(OTHERS)


def without_memory(one):
    """The decoder as it is after a start: to make one takes longer than all that it decodes here."""
    for reader in one._topics.families._remembering.values():
        for name in ("_known", "_notified", "_transactions", "_connectors"):
            getattr(reader, name, {}).clear()
    return one


# Names that lead the readers on.
KEYS = st.sampled_from(
    [
        "method",
        "params",
        "ts",
        "em:0",
        "switch:0",
        "switch:1",
        "aenergy",
        "ret_aenergy",
        "total",
        "apower",
        "a_voltage",
        "Payload",
        "Action",
        "connectorId",
        "evse",
        "id",
        "evseId",
        "transactionInfo",
        "transactionId",
        "meterValue",
        "sampledValue",
        "meter_value",
        "timestamp",
        "value",
        "measurand",
        "context",
        "phase",
        "unit",
        "unitOfMeasure",
        "multiplier",
        "format",
        "location",
        "transactionData",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["NotifyStatus", "Power.Active.Export", "L1", "L2-N", "Wh", "kW", "12.5", "Transaction.Begin"]),
    st.sampled_from(["2025-03-04T21:06:56Z", "2025-03-04T22:06:56", 1741122416.5, 10**400, -1, 0, 1]),
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
SAMPLES = st.lists(st.dictionaries(KEYS, LEAVES, max_size=6), max_size=4)
METER_VALUES = st.fixed_dictionaries(
    {
        "connectorId": st.integers(0, 3),
        "meterValue": st.lists(st.fixed_dictionaries({"sampledValue": SAMPLES}), max_size=3),
    }
)
NOTIFIED = st.fixed_dictionaries(
    {
        "method": st.just("NotifyStatus"),
        "params": st.dictionaries(st.sampled_from(["ts", "em:0", "switch:0", "switch:1", "pm1:2"]), JSON, max_size=4),
    }
)


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none(), st.just(10**30))
COUNTERS = st.fixed_dictionaries({}, optional={"total": NUMBERS, "by_minute": st.lists(NUMBERS, max_size=2)})
SWITCH = st.fixed_dictionaries(
    {},
    optional={
        "aenergy": COUNTERS | NUMBERS,
        "ret_aenergy": COUNTERS | st.none(),
        "apower": NUMBERS,
        "output": st.booleans(),
        "a_voltage": NUMBERS,
        "b_voltage": NUMBERS,
        "c_voltage": NUMBERS,
    },
)
COMPONENTS = ["switch:0", "switch:1", "em:0", "pm1:0"]
SHELLY = st.one_of(
    st.tuples(st.sampled_from([f"s/status/{name}" for name in ("switch:0", "em:0")]), SWITCH),
    st.tuples(
        st.just("s/events/rpc"),
        st.fixed_dictionaries(
            {
                "method": st.sampled_from(["NotifyStatus", "NotifyStatus", "NotifyFullStatus"]),
                "params": st.dictionaries(st.sampled_from(COMPONENTS), SWITCH, min_size=1, max_size=3),
            }
        ),
    ),
)
TRANSACTIONS = st.tuples(
    st.just("ocpp/cp/CP1"),
    st.fixed_dictionaries(
        {},
        optional={
            "connectorId": st.integers(-1, 3) | st.none(),
            "transactionId": st.integers(1, 2) | st.just("t") | NUMBERS,
            "meterValue": st.just([{"sampledValue": [{"value": "1000"}]}]),
            "more": NUMBERS,
        },
    ),
)


@given(sent=st.lists(st.tuples(SHELLY | TRANSACTIONS, st.booleans(), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_heard_needs_no_memory(sent):
    """Whatever came before: what the stream makes of a message, the spool's drain makes of what was heard."""
    stream = without_memory(STREAM)
    for (topic, document), redelivered, retained in sent:
        payload = json.dumps(document).encode()
        batch = stream.decode([models.Message(topic, payload, 1, NOW, 1, retained, redelivered, size=len(payload))])
        assert len(batch.messages) == 1
        assert [one for one in batch.dead_letters if "please report" in one.detail] == []
    known = [HEARD.remember(values=values) for values in (True, False)]
    for one in json.loads(json.dumps(known)):
        OTHERS.recall(one)
    if "/status/" in topic:  # it counts as a sign of life after a notification, which the drain may not have seen
        return
    again = without_memory(DRAIN).decode(batch.messages)
    assert (again.meters, [one[2:] for one in again.dead_letters]) == (
        batch.meters,
        [one[2:] for one in batch.dead_letters],
    )


@pytest.mark.parametrize("topic", ["s/events/rpc", "s/status/switch:0", "ocpp/cp/CP1"])
@given(documents=st.lists(st.one_of(JSON, METER_VALUES, NOTIFIED), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_fate_each(topic, documents):
    reader = without_memory(DRAIN)
    for document in documents:
        payload = json.dumps(document).encode()
        batch = reader.decode([models.Message(topic, payload, 1, NOW, size=len(payload))])
        assert len(batch.messages) == 1
        assert batch.meters or batch.alive or batch.dead_letters
        assert [one for one in batch.dead_letters if "please report" in one.detail] == []
        assert all(any(value is not None for value in one[2:-2]) for one in batch.meters)
