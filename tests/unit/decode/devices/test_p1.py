"""P1 and HAN meter readers: dsmr-reader, P1 Dongle, plan-d, dsmr2mqtt, esp8266_p1meter, amsreader."""

import datetime as dt
import functools

import pytest

from support import families
from voltd.models import Reason
from voltd.pipeline.decode import fields, timestamp

NOW = dt.datetime(2023, 3, 10, 17, 0, 30, tzinfo=dt.UTC)
AT = dt.datetime(2023, 3, 10, 17, 0, 22, tzinfo=dt.UTC)
decoded = functools.partial(families.decoded, received_at=NOW)
values = families.meters


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("230310180022W", "2023-03-10T17:00:22Z"),
        ("230710180022S", "2023-07-10T16:00:22Z"),
        ("231029023000S", "2023-10-29T00:30:00Z"),
        ("231029023000W", "2023-10-29T01:30:00Z"),
        ("000101010000W", None),
        ("000101000001W", None),
        ("000000000000W", None),
    ],
)
def test_time_of_a_telegram(written, expected):
    """The letter is the offset, also in the hour that comes twice; a clock that was never set is no time."""
    found = timestamp.from_telegram("timestamp", written)
    assert found == (expected and dt.datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    "written", ["230310180022", "230310180022w", "231310180022W", "-", "", 230310182912.0, None, True]
)
def test_no_time_of_a_telegram(written):
    """Without its letter it may be either hour."""
    with pytest.raises(fields.Invalid) as caught:
        timestamp.from_telegram("timestamp", written)
    assert caught.value.refusal[0::2] == (Reason.BAD_TIME, "timestamp")


DSMR_READER = (
    '{"id":7,"timestamp":"2023-03-10T17:00:22Z","electricity_delivered_1":"1234.567",'
    '"electricity_returned_1":"0.250","electricity_delivered_2":"2345.500","electricity_returned_2":"0.500",'
    '"electricity_currently_delivered":"0.000","electricity_currently_returned":"0.494",'
    '"phase_currently_delivered_l1":"0.494","phase_currently_delivered_l2":null,"extra_device_timestamp":null,'
    '"extra_device_delivered":null,"phase_voltage_l1":"233.1","phase_voltage_l2":null,"phase_voltage_l3":null,'
    '"phase_power_current_l1":2,"phase_power_current_l2":null,"phase_power_current_l3":null}'
)
EXPECTED = {
    "meter_id": "dsmr", "recorded_at": AT, "ac_register_kwh": 3580.067, "ac_returned_register_kwh": 0.75,
    "power_kw": -0.494, "voltage_v": 233.1, "current_a": 2.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        DSMR_READER,
        DSMR_READER.replace("2023-03-10T17:00:22Z", "2023-03-10T18:00:22+01:00"),
        DSMR_READER.replace('"1234.567"', "1234.567").replace('"233.1"', "233.1").replace('"0.494"', "0.494"),
    ],
)
def test_dsmr_reader(payload):
    """Numbers are texts; both tariffs are one register; phases that are not there are null."""
    assert values(decoded("dsmr_reader", ("dsmr/json", payload))) == [EXPECTED]


def test_dsmr_reader_three_phases():
    payload = DSMR_READER.replace('l2":null', 'l2":"235.1"').replace('l3":null', 'l3":"234.1"')
    (reading,) = decoded("dsmr_reader", ("dsmr/json", payload)).meters
    assert reading.voltage_v == pytest.approx(234.1)


def test_dsmr_reader_retains_everything():
    """A message with a time is stored, but is no sign of life."""
    batch = decoded("dsmr_reader", ("dsmr/json", DSMR_READER), retained=True)
    assert values(batch) == [EXPECTED]
    assert batch.retained


def test_dsmr_reader_backlog():
    """What waited while the broker was away has its own times."""
    sent = [("dsmr/json", DSMR_READER.replace("17:00:22", f"16:{minute:02}:00")) for minute in range(3)]
    assert [one.recorded_at.minute for one in decoded("dsmr_reader", *sent).meters] == [0, 1, 2]


def test_dsmr_reader_split():
    """A sum needs all of its parts."""
    sent = [
        ("dsmr/reading/timestamp", "2023-03-10T17:00:22Z"),
        ("dsmr/reading/electricity_delivered_1", "1234.5"),
        ("dsmr/reading/electricity_delivered_2", "2345.0"),
        ("dsmr/reading/electricity_returned_1", "5.5"),
        ("dsmr/reading/electricity_currently_delivered", "0.000"),
        ("dsmr/reading/electricity_currently_returned", "0.494"),
        ("dsmr/reading/phase_voltage_l1", "233.1"),
        ("dsmr/reading/phase_voltage_l2", "None"),
    ]
    taken = [one for one in sent if "timestamp" not in one[0] and "_l2" not in one[0]]
    assert values(decoded("dsmr_reader_split", *taken, id="house")) == [
        {"meter_id": "house", "recorded_at": NOW, "time_source": "arrival", "ac_register_kwh": 3579.5,
         "power_kw": -0.494, "voltage_v": 233.1}
    ]  # fmt: skip


DONGLE = (
    '{"timestamp":"230310180022W","energy_delivered_tariff1":11741.29,"energy_delivered_tariff2":8000.5,'
    '"energy_returned_tariff1":1.5,"energy_returned_tariff2":2.25,"electricity_tariff":"0002","power_delivered":0.49,'
    '"power_returned":0,"voltage_l1":231,"current_l1":2,"gas":4321.001,"gas_ts":"230310180000W"}'
)
DONGLE_EXPECTED = {
    "ac_register_kwh": 19741.79, "ac_returned_register_kwh": 3.75, "power_kw": 0.49, "voltage_v": 231.0,
}  # fmt: skip


def test_p1_dongle():
    """One message with everything, dated by the meter."""
    assert values(decoded("p1_dongle", ("P1-Dongle/all", DONGLE))) == [
        {"meter_id": "p1-dongle", "recorded_at": AT, "current_a": 2.0, **DONGLE_EXPECTED}
    ]


def test_p1_dongle_of_a_meter_without_a_clock():
    """It writes the same time in every telegram: arrival dates them."""
    (reading,) = decoded("p1_dongle", ("P1-Dongle/all", DONGLE.replace("230310180022W", "000101010000W"))).meters
    assert (reading.recorded_at, reading.time_source) == (NOW, "arrival")


def test_p1_dongle_of_a_meter_whose_clock_lags():
    """Months behind is a time like any other until it is older than what is taken."""
    batch = decoded("p1_dongle", ("P1-Dongle/all", DONGLE.replace("230310", "220310")))
    assert (batch.meters, [one.reason for one in batch.dead_letters]) == ([], [Reason.TOO_OLD])


SPLIT = {
    "energy_delivered_tariff1": ("kWh", 11741.29), "energy_delivered_tariff2": ("kWh", 8000.5),
    "energy_returned_tariff1": ("kWh", 1.5), "energy_returned_tariff2": ("kWh", 2.25),
    "power_delivered": ("kW", 0.49), "power_returned": ("kW", 0.0), "voltage_l1": ("V", 231),
}  # fmt: skip


@pytest.mark.parametrize(
    "shape",
    [
        '{{"{name}":[{{"value":{value},"unit":"{unit}"}}]}}',
        '{{"{name}": [{{"value": {value}, "unit": "{unit}"}}]}}',
        "{value}",
    ],
    ids=["P1 Dongle", "DSMRloggerAPI", "plain"],
)
@pytest.mark.parametrize("prefix", ["P1-Dongle", "DSMR-API"])
def test_p1_dongle_one_value_a_topic(shape, prefix):
    sent = [
        (f"{prefix}/{name}", shape.format(name=name, unit=unit, value=value)) for name, (unit, value) in SPLIT.items()
    ]
    assert values(decoded("p1_dongle", *sent, topics=[prefix])) == [
        {"meter_id": "p1-dongle", "recorded_at": NOW, "time_source": "arrival", **DONGLE_EXPECTED}
    ]


@pytest.mark.parametrize(("word", "heard"), [("Online", ["p1-dongle"]), ("Offline", [])])
def test_p1_dongle_lwt(word, heard):
    batch = decoded("p1_dongle", ("P1-Dongle/LWT", word))
    assert ([one.device_id for one in batch.alive], batch.dead_letters) == (heard, [])


def test_plan_d():
    """Numbers with a time of their own, and with everything that its longest format adds."""
    base = "data/devices/utility_meter/"
    more = '"friendly_name":"Total energy consumed","sensorId":"utility_meter.total_energy_consumed","entity":"x"'
    sent = [
        (base + "total_energy_consumed", '{"value":1234.5,"unit":"kWh","timestamp":1678467622,' + more + "}"),
        (base + "total_energy_injected", '{"value":7,"unit":"kWh","timestamp":1678467622}'),
        (base + "total_active_power", '{"value":-0.35,"unit":"kW","timestamp":1678467622}'),
    ]
    assert values(decoded("p1_plan_d", *sent)) == [
        {"meter_id": "utility_meter", "recorded_at": AT, "ac_register_kwh": 1234.5},
        {"meter_id": "utility_meter", "recorded_at": AT, "ac_returned_register_kwh": 7.0},
        {"meter_id": "utility_meter", "recorded_at": AT, "power_kw": -0.35},
    ]


def test_plan_d_plain():
    base = "data/devices/utility_meter/"
    sent = [(base + "total_energy_consumed", "1234.5"), (base + "total_active_power", "-0.35")]
    assert values(decoded("p1_plan_d", *sent)) == [
        {"meter_id": "utility_meter", "recorded_at": NOW, "time_source": "arrival", "ac_register_kwh": 1234.5,
         "power_kw": -0.35}
    ]  # fmt: skip


def test_dsmr2mqtt():
    """W and Wh; the total is there beside its parts."""
    payload = (
        '{"el_consumed":23679687.0,"el_consumed1":16230145.0,"el_consumed2":7449542.0,"el_returned":21097674.0,'
        '"p_consumed":889.0,"p_generated":0.0,"V1":232.0,"tariff_indicator":1,"timestamp":1678467622}'
    )
    assert values(decoded("dsmr2mqtt", ("dsmr/el", payload))) == [
        {"meter_id": "dsmr", "recorded_at": AT, "ac_register_kwh": 23679.687, "ac_returned_register_kwh": 21097.674,
         "power_kw": 0.889, "voltage_v": 232.0}
    ]  # fmt: skip


def test_esp8266_p1meter():
    base = "sensors/power/p1meter/"
    sent = [
        (base + "consumption_low_tarif", "2209397"), (base + "consumption_high_tarif", "1964962"),
        (base + "returndelivery_low_tarif", "2209397"), (base + "returndelivery_high_tarif", "1964962"),
        (base + "actual_consumption", "313"), (base + "actual_returndelivery", "0"), (base + "l1_voltage", "233"),
    ]  # fmt: skip
    assert values(decoded("esp8266_p1meter", *sent)) == [
        {"meter_id": "p1meter", "recorded_at": NOW, "time_source": "arrival", "ac_register_kwh": 4174.359,
         "ac_returned_register_kwh": 4174.359, "power_kw": 0.313, "voltage_v": 233.0}
    ]  # fmt: skip


AMS = (
    '{"id":"A0:B1","name":"ams","up":1,"t":1678467622,"vcc":3.3,"rssi":-66,"temp":0.0,"data":{"P":369,"PO":0,"Q":1,'
    '"I1":1.1,"I2":0.4,"I3":0.5,"U1":230.0,"U2":232.0,"U3":234.0,"tPI":24091.900,"tPO":0.250,"tPIT1":20000.0,'
    '"rtc":1678467620},"realtime":{"h":1}}'
)
AMS_EXPECTED = {
    "meter_id": "house", "recorded_at": AT, "ac_register_kwh": 24091.9, "ac_returned_register_kwh": 0.25,
    "power_kw": 0.369, "voltage_v": 232.0, "current_a": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("topic", ["ams/house", "ams/house/list3"])
@pytest.mark.parametrize("nested", [True, False])
def test_amsreader(topic, nested):
    """JSON, multi topic, and flat."""
    payload = AMS if nested else AMS.replace('"data":{', "").replace("},", ",")
    assert values(decoded("amsreader", (topic, payload))) == [AMS_EXPECTED]


def test_amsreader_list_1_and_other_messages():
    """The first list has power alone; prices and the system are no readings."""
    batch = decoded(
        "amsreader",
        ("ams/house", '{"id":"A0:B1","name":"ams","up":1,"t":1678467622,"vcc":3.3,"data":{"P":369}}'),
        ("ams/house", '{"id":"A0:B1","name":"ams","up":1,"vcc":3.3,"rssi":-66,"temp":0.0}'),
        ("ams/house", '{"temperatures":{"28FF":21.5}}'),
        ("ams/house/status", "online"),
        ("ams/house/status", "offline"),
    )
    assert values(batch) == [{"meter_id": "house", "recorded_at": AT, "power_kw": 0.369}]
    assert [one.device_id for one in batch.alive] == ["house"] * 3


def test_amsreader_for_home_assistant():
    batch = decoded(
        "amsreader",
        ("ams/house/power", '{"P":0,"PO":1200,"t":"2023-03-10T17:00:22Z"}'),
        ("ams/house/energy", '{"tPI":24091.900,"tPO":0.250,"rtc":"2023-03-10T17:00:00Z","t":"2023-03-10T17:00:22Z"}'),
    )
    assert values(batch) == [
        {"meter_id": "house", "recorded_at": AT, "power_kw": -1.2},
        {"meter_id": "house", "recorded_at": AT, "ac_register_kwh": 24091.9, "ac_returned_register_kwh": 0.25},
    ]
