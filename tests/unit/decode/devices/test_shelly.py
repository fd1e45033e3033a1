"""Shelly Gen2+: notifications with what changed and when, statuses without a time, several meters a device."""

import datetime as dt
import json

import pytest

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.decode.devices import description, families, shelly

NOW = dt.datetime(2025, 1, 11, 14, 50, 11, tzinfo=dt.UTC)
TS = dt.datetime(2025, 1, 11, 14, 50, 10, 490000, tzinfo=dt.UTC)
DEVICE = "shellypro3em-fce8c0d96804"


def decoder(**family):
    settings = config.Settings(devices={"shelly": family})
    return decode.Decoder(settings.mqtt.topics, settings.limits, 90, settings.timestamps, families.of(settings))


def message(topic, payload, at=NOW, **fields):
    payload = payload if isinstance(payload, bytes) else payload.encode()
    return models.Message(topic, payload, 1, at, size=len(payload), **fields)


def notified(params, device=DEVICE, method="NotifyStatus", **fields):
    body = {"src": device, "dst": f"{device}/events", "method": method, "params": params}
    return message(f"{device}/events/rpc", json.dumps(body), **fields)


def values(reading):
    """What is there, without receipt."""
    return {name: value for name, value in reading._asdict().items() if value is not None and name != "received_at"}


STATUSES = [
    pytest.param(
        "em:0",
        b'{"id":0,"a_current":5.5,"a_voltage":230.1,"a_act_power":1200.0,"b_voltage":229.9,"c_voltage":231.2,'
        b'"n_current":null,"total_current":10.8,"total_act_power":2350.0,"total_aprt_power":2400.0,'
        b'"user_calibrated_phase":[]}',
        {"power_kw": 2.35, "voltage_v": 230.4, "current_a": 10.8},
        id="em",
    ),
    pytest.param(
        "emdata:0",
        b'{"id":0,"a_total_act_energy":411522.3,"a_total_act_ret_energy":40.0,"total_act":1234567.0,'
        b'"total_act_ret":100.0}',
        {"ac_register_kwh": 1234.567, "ac_returned_register_kwh": 0.1},
        id="emdata",
    ),
    pytest.param(
        "em1:0",
        b'{"id":0,"current":2.598,"voltage":234.9,"act_power":-501.8,"aprt_power":612.4,"pf":0.84,"freq":50,'
        b'"calibration":"factory"}',
        {"power_kw": -0.5018, "voltage_v": 234.9, "current_a": 2.598},
        id="em1",
    ),
    pytest.param(
        "em1data:0",
        b'{"id":0,"total_act_energy":5420.7,"total_act_ret_energy":0.0}',
        {"ac_register_kwh": 5.4207, "ac_returned_register_kwh": 0.0},
        id="em1data",
    ),
    pytest.param(
        "switch:0",
        b'{"id":0,"output":true,"apower":399.2,"voltage":240.8,"current":1.886,"aenergy":{"total":2574466.629,'
        b'"by_minute":[6632.1,6650.0,6641.9],"minute_ts":1700000000},"ret_aenergy":{"total":74466.629},'
        b'"temperature":{"tC":54.0,"tF":129.3}}',
        {"ac_register_kwh": 2500.0, "ac_returned_register_kwh": 74.466629, "power_kw": 0.3992, "voltage_v": 240.8,
         "current_a": 1.886},
        id="switch: what is returned is in aenergy, too",
    ),
    pytest.param(
        "switch:0",
        b'{"id":0, "source":"init", "output":false, "apower":0.0, "voltage":230.8, "freq":50.0, "current":0.000, '
        b'"pf":0.00, "aenergy":{"total":123.585,"by_minute":[0.000,0.000,0.000],"minute_ts":1698999959},'
        b'"temperature":{"tC":44.9, "tF":112.9}}',
        {"ac_register_kwh": 0.123585, "power_kw": 0.0, "voltage_v": 230.8, "current_a": 0.0},
        id="switch that measures one direction",
    ),
    pytest.param(
        "pm1:0",
        b'{"id":0,"voltage":233.6,"current":0.451,"apower":77.5,"freq":50.0,"aenergy":{"total":820.5,"by_minute":'
        b'[1,2,3],"minute_ts":1700000000},"ret_aenergy":{"total":20.5,"by_minute":[0,0,0],"minute_ts":1700000000}}',
        {"ac_register_kwh": 0.8, "ac_returned_register_kwh": 0.0205, "power_kw": 0.0775, "voltage_v": 233.6,
         "current_a": 0.451},
        id="pm1",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("component", "payload", "expected"), STATUSES)
def test_a_status(component, payload, expected):
    """A whole component without a time: dated by its arrival, energies from Wh."""
    batch = decoder().decode([message(f"{DEVICE}/status/{component}", payload)])
    (reading,) = batch.meters
    found = values(reading)
    assert found == {"meter_id": DEVICE, "recorded_at": NOW, "time_source": "arrival", **expected}
    assert batch.dead_letters == []


@pytest.mark.parametrize(("component", "payload", "expected"), STATUSES)
def test_the_same_in_a_notification(component, payload, expected):
    """The time is the device's."""
    batch = decoder().decode([notified({"ts": 1736607010.49, component: json.loads(payload)})])
    (reading,) = batch.meters
    found = values(reading)
    assert found == {"meter_id": DEVICE, "recorded_at": TS, **expected}


def test_the_components_of_one_number_are_one_meter():
    batch = decoder().decode(
        [notified({"ts": 1736607010.49, "em:0": {"id": 0, "total_act_power": 2350.0}, "emdata:0": {"total_act": 5e6}})]
    )
    (reading,) = batch.meters
    assert values(reading) == {"meter_id": DEVICE, "recorded_at": TS, "power_kw": 2.35, "ac_register_kwh": 5000.0}


def test_each_further_number_is_a_meter_of_its_own():
    """Number 0 has the device's id; ids can be mapped."""
    components = {f"switch:{number}": {"id": number, "apower": 1000.0 * number} for number in range(3)}
    reader = decoder(ids={"shellypro4pm-a-1": "garage"})
    batch = reader.decode([notified({"ts": 1736607010.49, **components}, "shellypro4pm-a")])
    assert [(one.meter_id, one.power_kw) for one in batch.meters] == [
        ("shellypro4pm-a", 0.0),
        ("garage", 1.0),
        ("shellypro4pm-a-2", 2.0),
    ]
    later = reader.decode([message("shellypro4pm-b/status/switch:1", '{"id":1,"apower":5}')])
    assert [one.meter_id for one in later.meters] == ["shellypro4pm-b-1"]


def test_a_delta_has_only_what_changed():
    """A real one: nothing is made up for what it does not name."""
    payload = (
        b'{"src":"shelly1pmminig3-5432044edbc0","dst":"shelly1pmminig3-5432044edbc0/events","method":"NotifyStatus",'
        b'"params":{"ts":1736607010.49,"switch:0":{"apower":11.5,"current":0.071}}}'
    )
    (reading,) = decoder().decode([message("shelly1pmminig3-5432044edbc0/events/rpc", payload)]).meters
    assert values(reading) == {
        "meter_id": "shelly1pmminig3-5432044edbc0", "recorded_at": TS, "power_kw": 0.0115, "current_a": 0.071,
    }  # fmt: skip


def test_what_stays_the_same_is_known_from_before():
    """The import needs the returned energy, the mean voltage all three phases."""
    reader = decoder()
    batch = reader.decode(
        [
            notified({"ts": 1736607000, "switch:0": {"aenergy": {"total": 9000.0}, "ret_aenergy": {"total": 2000.0}}}),
            notified({"ts": 1736607005, "switch:0": {"aenergy": {"total": 9500.0}}}),
            notified({"ts": 1736607006, "switch:0": {"ret_aenergy": {"total": 2500.0}}}),
            notified({"ts": 1736607007, "em:1": {"a_voltage": 230.0, "b_voltage": 231.0, "c_voltage": 232.0}}),
            notified({"ts": 1736607008, "em:1": {"b_voltage": 234.0}}),
        ]
    )
    assert [one.ac_register_kwh for one in batch.meters] == [7.0, 7.5, 7.0, None, None]
    assert [one.ac_returned_register_kwh for one in batch.meters] == [2.0, 2.0, 2.5, None, None]
    assert [one.voltage_v for one in batch.meters] == [None, None, None, 231.0, 232.0]


def test_a_full_notification():
    params = {
        "ts": 1736607010.49,
        "sys": {"mac": "A"},
        "wifi": {"rssi": -60},
        "switch:0": {"apower": 40, "output": True},
    }
    (reading,) = decoder().decode([notified(params, method="NotifyFullStatus")]).meters
    assert (reading.recorded_at, reading.power_kw) == (TS, 0.04)


@pytest.mark.parametrize(
    "sent",
    [
        notified({"ts": 1736607010.49, "mqtt": {"connected": True}}),
        notified({"ts": 1736607010.49, "switch:0": {"id": 0, "output": False, "source": "button"}}),
        notified({"ts": 1736607010.49, "events": [{"component": "input:0"}]}, method="NotifyEvent"),
        notified({"ts": 1736607010.49, "switch:0": None}),
        message(f"{DEVICE}/events/rpc", '{"id":1,"src":"x","result":{"switch:0":{"apower":4}}}'),
        message(f"{DEVICE}/online", "true"),
        message(f"{DEVICE}/status/switch:0", '{"id":0,"output":true}'),
    ],
)
def test_a_sign_of_life(sent):
    batch = decoder().decode([sent])
    assert (batch.meters, batch.dead_letters) == ([], [])
    assert [(one.device_id, one.received_at) for one in batch.alive] == [(DEVICE, NOW)]


def test_offline_is_no_sign_of_life():
    batch = decoder().decode([message(f"{DEVICE}/online", "false"), message(f"{DEVICE}/online", "true", retained=True)])
    assert (batch.meters, batch.dead_letters, batch.alive) == ([], [], [])


def test_both_switches_on():
    """A status is a sign of life while notifications come, and is read again when they stopped."""
    reader = decoder()
    status = message(f"{DEVICE}/status/switch:0", '{"id":0,"apower":40.0,"aenergy":{"total":5000.0}}')
    batch = reader.decode([notified({"ts": 1736607010.49, "switch:0": {"apower": 40.0}}), status])
    assert [values(one) for one in batch.meters] == [{"meter_id": DEVICE, "recorded_at": TS, "power_kw": 0.04}]
    assert [one.device_id for one in batch.alive] == [DEVICE]
    later = NOW + dt.timedelta(minutes=10)
    batch = reader.decode([status._replace(received_at=later)])
    assert [(one.recorded_at, one.power_kw, one.ac_register_kwh) for one in batch.meters] == [(later, 0.04, 5.0)]


@pytest.mark.parametrize("ts", [None, 12.5, 0])
def test_a_device_that_has_no_time_yet(ts):
    """Its clock is not set: the reading is dated by its arrival."""
    (reading,) = decoder().decode([notified({"ts": ts, "switch:0": {"apower": 40.0}})]).meters
    assert (reading.recorded_at, reading.time_source) == (NOW, "arrival")


def test_several_meters_without_a_time():
    """The message is in the batch once, so that it is acked once."""
    sent = notified({"ts": None, "switch:0": {"apower": 40.0}, "switch:1": {"apower": 50.0}})
    batch = decoder().decode([sent])
    assert batch.messages == [sent]
    assert [(one.recorded_at, one.power_kw, one.time_source) for one in batch.meters] == [
        (NOW, 0.04, "arrival"),
        (NOW, 0.05, "arrival"),
    ]
    assert batch.meter_sources == [(0, None), (0, None)]


def test_retained_statuses_are_of_a_time_that_nobody_knows():
    batch = decoder().decode([message(f"{DEVICE}/status/em:0", '{"total_act_power":5}', retained=True)])
    assert (batch.meters, batch.alive, batch.dead_letters) == ([], [], [])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"online", Reason.NOT_JSON),
        (b"[1]", Reason.NOT_AN_OBJECT),
        (b'{"method":"NotifyStatus","params":{"ts":"soon","switch:0":{"apower":1}}}', Reason.BAD_TIME),
        (b'{"method":"NotifyStatus","params":{"ts":4102444800,"switch:0":{"apower":1}}}', Reason.IN_FUTURE),
    ],
)
def test_a_notification_that_is_refused(payload, reason):
    batch = decoder().decode([message(f"{DEVICE}/events/rpc", payload)])
    assert (batch.meters, [one.reason for one in batch.dead_letters]) == ([], [reason])


def test_one_bad_field():
    """It is refused by itself, and does not come back with the next delta."""
    reader = decoder()
    batch = reader.decode(
        [
            notified({"ts": 1736607010.49, "switch:0": {"apower": 40.0, "voltage": 5000, "current": {"a": 1}}}),
            notified({"ts": 1736607010.99, "switch:0": {"apower": 50.0}}),
        ]
    )
    assert [one.power_kw for one in batch.meters] == [0.04, 0.05]
    assert [(one.reason, one.field, one.partial) for one in batch.dead_letters] == [
        (Reason.OUT_OF_RANGE, "voltage", True),
        (Reason.WRONG_TYPE, "current", True),
    ]


def test_invented_devices_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(shelly, "_MOST", 10)
    reader = shelly.ShellyReader(description.Special(reader="shelly"), models.DeviceType.METER, config.Limits(), None)
    for number in range(100):
        sent = notified({"ts": 1736607010.49, "switch:0": {"apower": 1}})
        reader.read(sent, f"s{number}")
    assert len(reader._known) <= 10
    assert len(reader._notified) <= 10
