"""What a message leaves out and earlier ones have said: put in when it is heard, never guessed where nobody knows."""

from __future__ import annotations

import json

import pytest

from support import families as support
from voltd.models import Reason
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families

DEVICE = "shellyplugsg3-fce8c0d96804"
BOTH = {"aenergy": {"total": 9000.0}, "ret_aenergy": {"total": 2000.0}}
IMPORT = {"apower": 40.0, "aenergy": {"total": 9500.0}}


def of_the_stream(**devices):
    """The decoder of the stream: it hears each message before it is read."""
    given = support.settings(**devices)
    heard = families.of(given, ask=lambda _topic, _payload: None)
    return decoder.Decoder(given.mqtt.topics, given.limits, given.max_age_days, given.timestamps, heard)


def notified(status, component="switch:0", method="NotifyStatus", **more):
    body = {"src": DEVICE, "method": method, "params": {"ts": 1777636790, component: status}}
    return support.message(f"{DEVICE}/events/rpc", json.dumps(body), **more)


def status(value, component="switch:0", **more):
    return support.message(f"{DEVICE}/status/{component}", json.dumps(value), **more)


def registers(batch):
    assert batch.dead_letters == []
    return [(one.ac_register_kwh, one.ac_returned_register_kwh, one.power_kw) for one in batch.meters]


@pytest.mark.parametrize(
    "make", [lambda: support.decoder_of(support.settings(shelly={})), lambda: of_the_stream(shelly={})]
)
def test_after_a_start_fed_in_energy_is_not_taken_for_import(make):
    """Nobody knows yet whether the switch returns energy: the register is left out and counted, the rest stays."""
    batch = make().decode([notified(IMPORT)])
    assert registers(batch) == [(None, None, 0.04)]
    assert batch.ignored_fields == 1
    alone = make().decode([notified({"aenergy": {"total": 9500.0}})])
    assert (registers(alone), [one.device_id for one in alone.alive], alone.ignored_fields) == ([], [DEVICE], 1)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (notified(BOTH), (7.5, 2.0, 0.04)),
        (status({"id": 0, "output": True} | BOTH), (7.5, 2.0, 0.04)),
        (
            notified({"id": 0, "aenergy": {"total": 9000.0}}, method="NotifyFullStatus"),
            (9.5, None, 0.04),
        ),
        (status({"id": 0, "output": True, "aenergy": {"total": 9000.0}}), (9.5, None, 0.04)),
        (status({"id": 0, "output": True} | BOTH, retained=True), (None, None, 0.04)),
    ],
)
def test_what_was_said_before_completes_it(before, expected):
    """A whole status says what the component does not have; a retained one is of a time that nobody knows."""
    reader = of_the_stream(shelly={})
    reader.decode([before])
    assert registers(reader.decode([notified(IMPORT)])) == [expected]


def test_the_mean_of_phases_needs_all_of_them():
    reader = of_the_stream(shelly={})
    batch = reader.decode([notified({"b_voltage": 234.0, "total_current": 1.0}, "em:0")])
    assert [(one.voltage_v, one.current_a) for one in batch.meters] == [(None, 1.0)]
    reader.decode([status({"a_voltage": 230.0, "b_voltage": 231.0, "c_voltage": 232.0}, "em:0")])
    (reading,) = reader.decode([notified({"b_voltage": 234.0}, "em:0")]).meters
    assert reading.voltage_v == 232.0


STARTED = {"eventType": "Started", "transactionInfo": {"transactionId": "t-1"}, "evse": {"id": 2}}
VALUES = [{"timestamp": "2026-05-01T11:59:58Z", "sampledValue": [{"value": 5000}]}]
UPDATED = {"eventType": "Updated", "transactionInfo": {"transactionId": "t-1"}, "meterValue": VALUES}


def ocpp(body, topic="ocpp/cp/CP"):
    return support.message(topic, json.dumps(body))


@pytest.mark.parametrize(
    ("devices", "before", "message"),
    [
        ({"shelly": {}}, notified(BOTH), notified(IMPORT)),
        ({"shelly": {}}, status({"id": 0, "output": True, "aenergy": {"total": 1.0}}), notified(IMPORT)),
        (
            {"shelly": {}},
            status({"a_voltage": 1.0, "b_voltage": 2.0, "c_voltage": None}, "em:0"),
            notified({"a_voltage": 3.0}, "em:0"),
        ),
        ({"ocpp": {}}, ocpp(STARTED), ocpp(UPDATED)),
        ({"ocpp": {}}, ocpp(STARTED), ocpp({"Action": "TransactionEvent", "Payload": UPDATED})),
        ({"ocpp": {}}, ocpp([2, "1", "TransactionEvent", STARTED]), ocpp([2, "2", "TransactionEvent", UPDATED])),
        ({"ocpp": {}}, ocpp(STARTED), ocpp(UPDATED, "ocpp/CP/up/request/TransactionEvent/7")),
    ],
)
def test_a_message_that_was_heard_needs_no_memory_any_more(devices, before, message):
    """The spool's drain, a replay of dead letters and a host whose clock was wrong decode it once more, without any."""
    reader = of_the_stream(**devices)
    reader.decode([before])
    heard = reader.decode([message])
    assert heard.meters != []
    again = support.decode(support.settings(**devices), *heard.messages)
    assert (again.meters, again.dead_letters, again.ignored_fields) == (heard.meters, [], 0)
    assert [(one.topic, one.packet_id, one.size) for one in heard.messages] == [(message.topic, 1, message.size)]


def test_a_message_that_is_sent_again_gets_nothing_of_later_ones():
    """What it was completed with at first may have been another value: the stored one would be contradicted."""
    reader = of_the_stream(shelly={})
    reader.decode([notified(BOTH), notified(IMPORT), notified({"ret_aenergy": {"total": 3000.0}})])
    assert registers(reader.decode([notified(IMPORT, redelivered=True)])) == [(None, None, 0.04)]


def test_a_transaction_of_which_nobody_knows_the_connector_is_kept():
    batch = of_the_stream(ocpp={}).decode([ocpp(UPDATED)])
    assert [(one.reason, json.loads(one.payload)) for one in batch.dead_letters] == [(Reason.MISSING_FIELD, UPDATED)]


@pytest.mark.parametrize("payload", [b"{", b"[]", b"7", b'{"params":7}', b"\xff", b'{"transactionId":1e999}', b"[2]"])
@pytest.mark.parametrize("topic", [f"{DEVICE}/events/rpc", "ocpp/cp/CP"])
def test_whatever_is_heard_has_one_fate(topic, payload):
    batch = of_the_stream(shelly={}, ocpp={}).decode([support.message(topic, payload)])
    assert len(batch.messages) == 1
    assert batch.meters or batch.alive or batch.dead_letters
    assert [one for one in batch.dead_letters if "please report" in one.detail] == []
