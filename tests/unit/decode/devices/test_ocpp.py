"""OCPP MeterValues: the shapes of gateways, 1.6 and 2.0.1, phases, contexts, units, and times."""

import datetime as dt
import json

import pytest

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.decode.devices import families

NOW = dt.datetime(2025, 3, 4, 21, 6, 58, tzinfo=dt.UTC)
AT = dt.datetime(2025, 3, 4, 21, 6, 56, 333000, tzinfo=dt.UTC)
STAMP = "2025-03-04T21:06:56.333Z"
TOPIC = "ocpp/cp/CP1"
REGISTER, CLOCK = "Energy.Active.Import.Register", "Sample.Clock"
BEGIN, END = "Transaction.Begin", "Transaction.End"
BODY = (
    b'{"connectorId":1,"transactionId":17,"meterValue":[{"timestamp":"2025-03-04T21:06:56.333Z","sampledValue":['
    b'{"measurand":"Energy.Active.Import.Register","unit":"Wh","value":"113500"},'
    b'{"measurand":"Power.Active.Import","unit":"kW","value":"3.4"},'
    b'{"measurand":"Voltage","phase":"L1-N","unit":"V","value":"229.7"},'
    b'{"measurand":"Current.Import","phase":"L1","unit":"A","value":"14.9"}]}]}'
)
EXPECTED = {
    "meter_id": "CP1-1", "recorded_at": AT, "ac_register_kwh": 113.5, "power_kw": 3.4, "voltage_v": 229.7,
    "current_a": 14.9,
}  # fmt: skip


def decoder(**family):
    settings = config.Settings(devices={"ocpp": family})
    return decode.Decoder(settings.mqtt.topics, settings.limits, 90, settings.timestamps, families.of(settings))


def message(payload, topic=TOPIC):
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return models.Message(topic, payload, 1, NOW, size=len(payload))


def body(*samples, at=STAMP, **more):
    return {"connectorId": 1, "meterValue": [{"timestamp": at, "sampledValue": list(samples)}], **more}


def sample(value, measurand=None, **more):
    return {"value": value, **({"measurand": measurand} if measurand else {}), **more}


def values(reading):
    """What is there, without receipt."""
    return {name: value for name, value in reading._asdict().items() if value is not None and name != "received_at"}


def read(*samples, **more):
    """The fields of one message of connector 1."""
    batch = decoder().decode([message(body(*samples, **more))])
    assert batch.dead_letters == []
    (reading,) = batch.meters
    found = values(reading)
    assert (found.pop("meter_id"), found.pop("recorded_at")) == ("CP1-1", AT)
    return found


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        pytest.param("ocpp/CP1/up/request/MeterValues/4711", BODY, id="EMQX 4.4: the body"),
        pytest.param(
            TOPIC,
            b'{"UniqueId":"3062609974","Payload":' + BODY + b',"MessageTypeId":2,"Action":"MeterValues"}',
            id="EMQX 5: an envelope",
        ),
        pytest.param(TOPIC, b'{"Action":"MeterValues","Payload":' + BODY + b"}", id="without a type"),
        pytest.param(TOPIC, b'[2,"3062609974","MeterValues",' + BODY + b"]", id="OCPP-J"),
        pytest.param(
            TOPIC,
            BODY.replace(b"connectorId", b"connector_id")
            .replace(b"transactionId", b"transaction_id")
            .replace(b"meterValue", b"meter_value")
            .replace(b"sampledValue", b"sampled_value"),
            id="snake_case",
        ),
    ],
)
def test_shapes(topic, payload):
    batch = decoder().decode([message(payload, topic)])
    assert [values(one) for one in batch.meters] == [EXPECTED]
    assert (batch.dead_letters, batch.alive) == ([], [])


def test_version_2():
    """Values are numbers with a multiplier, the EVSE is the connector."""
    payload = (
        b'{"evseId":2,"meterValue":[{"timestamp":"2025-03-04T21:06:56.333Z","sampledValue":['
        b'{"value":11350,"unitOfMeasure":{"unit":"Wh","multiplier":1}},'
        b'{"value":3400000,"measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W","multiplier":-3}},'
        b'{"value":7200,"measurand":"Energy.Active.Export.Register","unitOfMeasure":{}}]}]}'
    )
    (reading,) = decoder().decode([message(payload)]).meters
    assert values(reading) == {
        "meter_id": "CP1-2", "recorded_at": AT, "ac_register_kwh": 113.5, "power_kw": 3.4,
        "ac_returned_register_kwh": 7.2,
    }  # fmt: skip


def test_a_transaction_names_its_evse_once():
    reader = decoder()
    event = {
        "eventType": "Started", "timestamp": STAMP, "seqNo": 0, "transactionInfo": {"transactionId": "t-1"},
        "evse": {"id": 2, "connectorId": 1}, "meterValue": body(sample(1000))["meterValue"],
    }  # fmt: skip
    later = {**event, "eventType": "Updated", "seqNo": 1, "meterValue": body(sample(2000))["meterValue"]}
    del later["evse"]
    batch = reader.decode([message(event), message(later)])
    assert [(one.meter_id, one.ac_register_kwh) for one in batch.meters] == [("CP1-2", 1.0), ("CP1-2", 2.0)]
    unknown = decoder().decode([message(later)])
    assert (unknown.meters, [one.reason for one in unknown.dead_letters]) == ([], [Reason.MISSING_FIELD])


def test_snake_case_of_version_2():
    payload = {
        "event_type": "Ended", "transaction_info": {"transaction_id": "t"}, "evse": {"id": 1},
        "meter_value": [{"timestamp": STAMP, "sampled_value": [
            {"value": 5, "measurand": "Power.Active.Import", "unit_of_measure": {"unit": "kW", "multiplier": 0}}]}],
    }  # fmt: skip
    (reading,) = decoder().decode([message(payload)]).meters
    assert (reading.meter_id, reading.power_kw) == ("CP1-1", 5.0)


def test_the_values_of_a_transaction_that_ended():
    """A StopTransaction names no connector: earlier values of the transaction did."""
    reader = decoder()
    stop = {"transactionId": 17, "meterStop": 114000, "timestamp": STAMP, "transactionData": [
        {"timestamp": "2025-03-04T21:06:57Z", "sampledValue": [
            sample("113500", context=BEGIN), sample("114000", context=END), sample("113900")]}
    ]}  # fmt: skip
    batch = reader.decode([message(BODY), message(stop)])
    assert [(one.meter_id, one.ac_register_kwh) for one in batch.meters] == [("CP1-1", 113.5), ("CP1-1", 114.0)]
    batch = decoder().decode([message(stop)])
    assert (batch.meters, batch.dead_letters, [one.device_id for one in batch.alive]) == ([], [], ["CP1"])


def test_connector_0_is_the_station_and_ids_are_mapped():
    reader = decoder(ids={"CP1-1": "bay 7"})
    batch = reader.decode([message(body(sample("1000"), connectorId=number)) for number in (0, 1, "2")])
    assert [one.meter_id for one in batch.meters] == ["CP1", "bay 7", "CP1-2"]


def test_several_times_in_one_message():
    """Each is a reading; samples of one time are one."""
    entries = [
        {"timestamp": "2025-03-04T21:05:56Z", "sampledValue": [sample("1000")]},
        {"timestamp": "2025-03-04T21:06:56Z", "sampledValue": [sample("1100")]},
        {"timestamp": "2025-03-04T22:06:56+01:00", "sampledValue": [sample("7", "Power.Active.Import", unit="kW")]},
    ]
    batch = decoder().decode([message({"connectorId": 1, "meterValue": entries})])
    assert [(one.recorded_at.minute, one.ac_register_kwh, one.power_kw) for one in batch.meters] == [
        (5, 1.0, None),
        (6, 1.1, 7.0),
    ]


PHASES = ["L1", "L2", "L3"]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        pytest.param([sample("113500")], {"ac_register_kwh": 113.5}, id="the defaults of OCPP"),
        pytest.param(
            [{"measurand": None, "context": None, "phase": None, "unit": None, "value": "113500"}],
            {"ac_register_kwh": 113.5},
            id="null is the default",
        ),
        pytest.param(
            [sample("171", phase=None), *(sample("57", phase=one) for one in PHASES)],
            {"ac_register_kwh": 0.171},
            id="total and phases: the total",
        ),
        pytest.param(
            [sample("57", phase=one) for one in [*PHASES, "N"]], {"ac_register_kwh": 0.171}, id="phases: their sum"
        ),
        pytest.param([sample("57", phase="L1")], {"ac_register_kwh": 0.057}, id="L1 alone is the total"),
        pytest.param(
            [sample("57", phase=one) for one in ("L1", "L2", "L3", "L1-N", "L2-N", "L3-N", "L1-L2")],
            {"ac_register_kwh": 0.171},
            id="one set of phases",
        ),
        pytest.param(
            [sample(value, "Power.Active.Import", unit=unit, phase=phase)
             for value, unit, phase in (("1.5", "kW", "L1-N"), ("500", "W", "L2-N"), ("0", "W", "N"))],
            {"power_kw": 2.0},
            id="phases in several units",
        ),
        pytest.param(
            [sample(value, "Voltage", phase=phase)
             for value, phase in (("230", "L1-N"), ("232", "L2-N"), ("234", "L3-N"), ("400", "L1-L2"), ("1", "N"))],
            {"voltage_v": 232.0},
            id="the mean voltage against N",
        ),
        pytest.param([sample("230", "Voltage", phase="L1")], {"voltage_v": 230.0}, id="a voltage named by its line"),
        pytest.param(
            [sample(value, "Current.import", phase=phase)
             for value, phase in (("10", "L1"), ("12", "L2"), ("14", "L3"), ("1", "N"))],
            {"current_a": 12.0},
            id="the mean current, however it is written",
        ),
        pytest.param(
            [sample("163630", context="Sample.Periodic"), sample("157440", context=BEGIN)],
            {"ac_register_kwh": 163.63},
            id="Growatt THOR: the beginning comes again and again",
        ),
        pytest.param(
            [sample("3", context="Trigger"), sample("2", context=CLOCK), sample("1", context="Sample.Periodic")],
            {"ac_register_kwh": 0.001},
            id="periodic before clock before others",
        ),
        pytest.param(
            [sample("9", context="Sample.Periodic"), sample("7", context=END), sample("8", context=CLOCK)],
            {"ac_register_kwh": 0.007},
            id="the end goes before",
        ),
        pytest.param([sample("7"), sample("9"), sample("8")], {"ac_register_kwh": 0.009}, id="the larger one of a tie"),
        pytest.param(
            [sample("7", location="Inlet"), sample("6", location="Outlet")], {"ac_register_kwh": 0.006}, id="outlet"
        ),
        pytest.param([sample(500.38, "Power.Active.Import")], {"power_kw": 0.50038}, id="Autel: no unit is W"),
        pytest.param([sample("500", "Power.Active.Import", unit="")], {"power_kw": 0.5}, id="an empty unit is none"),
        pytest.param(
            [sample("113500", unit="Wh"), sample("3.4", "Power.Active.Import", unit="kW")],
            {"ac_register_kwh": 113.5, "power_kw": 3.4},
            id="Wh and kW in one message",
        ),
        pytest.param([sample("113.5", unit="KWh")], {"ac_register_kwh": 113.5}, id="a unit, however it is written"),
        pytest.param(
            [sample("2000", "Power.Active.Import"), sample("57", "Power.Active.Export", unit="Wh")],
            {"power_kw": 2.0},
            id="power in Wh",
        ),
        pytest.param(
            [sample("0", "Power.Active.Import"), sample("7.4", "Power.Active.Export", unit="kW")],
            {"power_kw": -7.4},
            id="the vehicle feeds in",
        ),
        pytest.param(
            [sample("OCMF|{...}", format="SignedData"), sample("113500", format="Raw")],
            {"ac_register_kwh": 113.5},
            id="signed data is no number",
        ),
        pytest.param(
            [sample("", REGISTER), sample(" ", "Voltage"), sample("5", "Power.Active.Import", unit="kW")],
            {"power_kw": 5.0},
            id="an empty text is no 0",
        ),
        pytest.param(
            [sample("80", "SoC", unit="Percent"), sample("31", "Temperature", unit="Celcius"), sample("9", "Frequency"),
             sample("6", "Current.Offered", unit="A"), sample("1", "Energy.Reactive.Import.Register"), sample("1000")],
            {"ac_register_kwh": 1.0},
            id="what is no field of a meter",
        ),
    ],
)  # fmt: skip
def test_samples(samples, expected):
    assert read(*samples) == expected


@pytest.mark.parametrize(
    "payload",
    [
        (
            b'{"UniqueId":"3062609974","Payload":{"connectorId":0,"errorCode":"NoError","status":"Available"},'
            b'"MessageTypeId":2,"Action":"StatusNotification"}'
        ),
        b'{"UniqueId":"1","Payload":{"chargePointVendor":"V","chargePointModel":"M"},"Action":"BootNotification"}',
        b'{"MessageTypeId":2,"Action":"Heartbeat","UniqueId":"2","Payload":{}}',
        b'[2,"2","Heartbeat",{}]',
        b'[3,"2",{"status":"Accepted"}]',
        b'[4,"2","GenericError","",{}]',
        b'{"Action":"Heartbeat","Payload":null}',
        b"{}",
    ],
)
def test_a_sign_of_life(payload):
    batch = decoder().decode([message(payload)])
    assert (batch.meters, batch.dead_letters) == ([], [])
    assert [(one.device_id, one.received_at) for one in batch.alive] == [("CP1", NOW)]


def test_a_sign_of_life_of_connectors():
    """Of the one that is named, or of all that are known."""
    status = {"connectorId": 2, "errorCode": "NoError", "status": "Charging"}
    batch = decoder().decode(
        [message(BODY), message([2, "1", "StatusNotification", status]), message([2, "2", "Heartbeat", {}])]
    )
    assert [one.device_id for one in batch.alive] == ["CP1-2", "CP1", "CP1-1", "CP1-2"]


@pytest.mark.parametrize("samples", [[sample("157440", context=BEGIN)], [sample("80", "SoC")], [], [sample("")]])
def test_values_that_measure_nothing(samples):
    batch = decoder().decode([message(body(*samples))])
    assert (batch.meters, batch.dead_letters, [one.device_id for one in batch.alive]) == ([], [], ["CP1-1"])


@pytest.mark.parametrize(
    ("zone", "expected"),
    [(None, (NOW, "arrival")), ("Europe/Berlin", (dt.datetime(2025, 3, 4, 21, 6, 50, tzinfo=dt.UTC), None))],
)
def test_a_local_time(zone, expected):
    """Growatt THOR writes no zone: its readings are dated by arrival, unless the settings name it."""
    reader = decoder(zone=zone) if zone else decoder()
    (reading,) = reader.decode([message(body(sample("1000"), at="2025-03-04T22:06:50"))]).meters
    assert (reading.recorded_at, reading.time_source) == expected


def test_no_time_at_all():
    (reading,) = decoder().decode([message(body(sample("1000"), at=None))]).meters
    assert (reading.recorded_at, reading.time_source) == (NOW, "arrival")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(body(sample("1"), at="1970-01-01T00:00:12Z"), Reason.TOO_OLD, id="before BootNotification"),
        pytest.param(body(sample("1"), at="2025-03-04T22:06:56Z"), Reason.IN_FUTURE, id="local time, marked Z"),
        pytest.param(body(sample("1"), at="soon"), Reason.BAD_TIME, id="no time"),
        pytest.param(body(sample("1"), at=1741122416), Reason.BAD_TIME, id="a number is no time of OCPP"),
        pytest.param({**body(sample("1")), "connectorId": None}, Reason.MISSING_FIELD, id="no connector"),
        pytest.param({**body(sample("1")), "connectorId": True}, Reason.WRONG_TYPE, id="a connector of another type"),
        pytest.param({**body(sample("1")), "connectorId": -1}, Reason.WRONG_TYPE, id="a negative connector"),
        pytest.param({"connectorId": 1, "meterValue": {"a": 1}}, Reason.WRONG_TYPE, id="values that are no list"),
        pytest.param({"connectorId": 1, "meterValue": [1]}, Reason.WRONG_TYPE, id="values that are no objects"),
        pytest.param(b"Available", Reason.NOT_JSON, id="text"),
        pytest.param(b"17", Reason.NOT_AN_OBJECT, id="a number"),
        pytest.param(b"[]", Reason.NOT_AN_OBJECT, id="an empty array"),
    ],
)
def test_refused_whole(payload, reason):
    batch = decoder().decode([message(payload)])
    assert (batch.meters, batch.alive, [one.reason for one in batch.dead_letters]) == ([], [], [reason])


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (sample("many"), "kwhConsumedAcTotal"),
        (sample("113,5"), "kwhConsumedAcTotal"),
        (sample("-5"), "kwhConsumedAcTotal"),
        (sample(value=True), "kwhConsumedAcTotal"),
        (sample("9", unit="varh"), "kwhConsumedAcTotal"),
        (sample(9, unitOfMeasure={"unit": "Wh", "multiplier": 99999999}), "kwhConsumedAcTotal"),
        (sample("230", "Voltage", unit="Wh"), "voltage"),
    ],
)
def test_one_bad_field(bad, field):
    """It is refused by itself."""
    batch = decoder().decode([message(body(bad, sample("5", "Power.Active.Import", unit="kW"), "x", None))])
    assert [one.power_kw for one in batch.meters] == [5.0]
    assert [(one.field, one.partial) for one in batch.dead_letters] == [(field, True)]


@pytest.mark.parametrize("name", ["measurand", "context", "phase", "unit", "location", "format", "unitOfMeasure"])
@pytest.mark.parametrize("odd", [b"1" * 4200, b"[1]", b"{}", b"true", b"-1.5"])
def test_words_that_are_none(name, odd):
    """Each has a fate, and none is a defect."""
    payload = json.dumps(body({"value": "5", name: "@"}, transactionId="#")).encode()
    batch = decoder().decode([message(payload.replace(b'"@"', odd).replace(b'"#"', odd))])
    assert batch.meters or batch.alive or batch.dead_letters
    assert [one for one in batch.dead_letters if "please report" in one.detail] == []


def test_topics_of_another_gateway():
    reader = decoder(topics=["charging/{site}/{id}/raw"], id="{site}.{id}")
    (reading,) = reader.decode([message(BODY, "charging/north/CP1/raw")]).meters
    assert reading.meter_id == "north.CP1-1"


def test_the_hour_that_comes_twice():
    """A station without an offset: its messages are of the hour that they arrive in."""
    reader = decoder(zone="Europe/Berlin")
    sent = message(body(sample("1000"), at="2024-10-27T02:30:00"))
    moments = [dt.datetime(2024, 10, 27, hour, 30, 2, tzinfo=dt.UTC) for hour in (0, 1)]
    batch = reader.decode([sent._replace(received_at=moment) for moment in moments])
    assert [f"{one.recorded_at:%H:%M}" for one in batch.meters] == ["00:30", "01:30"]
