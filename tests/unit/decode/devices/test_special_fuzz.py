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


@pytest.mark.parametrize("topic", ["s/events/rpc", "s/status/switch:0", "ocpp/cp/CP1"])
@given(documents=st.lists(st.one_of(JSON, METER_VALUES, NOTIFIED), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_fate_each(topic, documents):
    reader = decode.Decoder(FAMILIES.mqtt.topics, FAMILIES.limits, 90, FAMILIES.timestamps, families.of(FAMILIES))
    for document in documents:
        payload = json.dumps(document).encode()
        batch = reader.decode([models.Message(topic, payload, 1, NOW, size=len(payload))])
        assert len(batch.messages) == 1
        assert batch.meters or batch.alive or batch.dead_letters
        assert [one for one in batch.dead_letters if "please report" in one.detail] == []
        assert all(any(value is not None for value in one[2:-2]) for one in batch.meters)
