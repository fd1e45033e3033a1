"""Ids: no two devices get one, and where the settings give two devices one id, it is said once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import families as support
from voltd import metrics
from voltd.models import DeviceType, SharedId
from voltd.pipeline.decode.devices import parts, pattern
from voltd.pipeline.flush import flusher

# What could be taken for a separator, a number, or an escape.
LEVELS = st.text(alphabet="a1-0%2D_ ", min_size=1, max_size=5)
METER_VALUES = '{"connectorId":%d,"meterValue":[{"timestamp":"2026-05-01T11:59:58Z","sampledValue":[{"value":"%d"}]}]}'
SWITCH = '{"id":0,"output":true,"apower":%d}'


@given(one=st.tuples(LEVELS, st.integers(0, 12)), other=st.tuples(LEVELS, st.integers(0, 12)))
def test_parts_of_two_devices_never_have_one_id(one, other):
    assert (parts.part_id(*one) == parts.part_id(*other)) == (one == other)


@pytest.mark.parametrize("template", ["{a}-{b}", "{a}-{id}", "{id}-{a}", "x{a}-{id}--{b}y", "{a}_ {b}", "{a}a{b}"])
@given(data=st.data())
def test_levels_of_two_topics_never_make_one_id(template, data):
    names = [name for name in ("a", "b", "id") if f"{{{name}}}" in template]
    one, other = ({name: data.draw(LEVELS) for name in names} for _ in range(2))
    assert (pattern.fill(template, one) == pattern.fill(template, other)) == (one == other)


@pytest.mark.parametrize(
    ("template", "levels", "expected"),
    [
        ("{id}-{connector}", {"id": "CP-1", "connector": "2"}, "CP-1-2"),
        ("{user}-{id}", {"user": "alice", "id": "van-7"}, "alice-van-7"),
        ("{site}-{loadpoint}", {"site": "evcc-north", "loadpoint": "1"}, "evcc-north-1"),
        ("{group}/{node}/{device}", {"group": "a-b", "node": "c%2D", "device": "d-1"}, "a-b/c%2D/d-1"),
        ("{user}-{id}", {"user": "a-b", "id": "c"}, "a%2Db-c"),
    ],
)
def test_usual_names_stay_as_they_are(template, levels, expected):
    assert pattern.fill(template, levels) == expected


def test_two_levels_need_something_between_them():
    error = pattern.Pattern("{a}/{b}").template_error("{a}{b}")
    assert error is not None
    assert "between two levels" in error


def test_a_station_whose_name_ends_like_a_connector():
    """Three stations of one site; each has readings of its own, and nothing is shared."""
    given_ = support.settings(ocpp={})
    sent = [
        support.message(f"ocpp/cp/{station}", METER_VALUES % (connector, number * 1000))
        for number, (station, connector) in enumerate(itertools.product(["CP", "CP-1", "CP-1-1"], [0, 1]), 1)
    ]
    batch = support.decode(given_, *sent)
    assert {one.meter_id: one.ac_register_kwh for one in batch.meters} == {
        "CP": 1.0, "CP-1": 2.0, "CP-1-0": 3.0, "CP-1-1": 4.0, "CP-1-1-0": 5.0, "CP-1-1-1": 6.0,
    }  # fmt: skip
    assert (batch.dead_letters, batch.shared_ids) == ([], [])


def test_a_shelly_whose_name_ends_like_a_component():
    """Its last will, its status and its notifications are of one meter."""
    params = '{"method":"NotifyStatus","params":{"ts":1777636798,"sys":{}}}'
    batch = support.decode(
        support.settings(shelly={}),
        support.message("plug/status/switch:1", SWITCH % 5),
        support.message("plug-1/status/switch:0", SWITCH % 6),
        support.message("plug-1/online", "true"),
        support.message("plug-1/events/rpc", params),
    )
    assert [(one.meter_id, one.power_kw) for one in batch.meters] == [("plug-1", 0.005), ("plug-1-0", 0.006)]
    assert {one.device_id for one in batch.alive} == {"plug-1-0"}


OWN = '{"timestamp":"2026-05-01T11:59:58Z","power":1}'
SOC, SENSOR = "96.3", '{"ENERGY":{"Power":5}}'
MIXED = [
    pytest.param(
        {"ovms": {}},
        [(f"ovms/{name}/metric/v/b/soc", SOC) for name in ("ann/EV1", "bob/EV1", "ann/EV1")],
        SharedId(DeviceType.VEHICLE, "EV1", ("ovms/ann/EV1/metric/v/b/soc", "ovms/bob/EV1/metric/v/b/soc")),
        id="a level that the id leaves out",
    ),
    pytest.param(
        {"zigbee2mqtt": {}, "tasmota": {}},
        [("zigbee2mqtt/plug", '{"power":5}'), ("tele/plug/SENSOR", SENSOR), ("tele/plug/SENSOR", SENSOR)],
        SharedId(DeviceType.METER, "plug", ("zigbee2mqtt/plug", "tele/plug/SENSOR")),
        id="two families",
    ),
    pytest.param(
        {"dsmr_reader": {"topics": ["north", "south"]}},
        [(f"{name}/json", '{"electricity_currently_delivered":"1"}') for name in ("north", "south", "south")],
        SharedId(DeviceType.METER, "dsmr", ("north/json", "south/json")),
        id="an id without a level",
    ),
    pytest.param(
        {"ocpp": {"ids": {"CP-1": "bay", "CQ-1": "bay"}}},
        [(f"ocpp/cp/{name}", METER_VALUES % (1, 5000)) for name in ("CP", "CQ", "CQ")],
        SharedId(DeviceType.METER, "bay", ("ocpp/cp/CP", "ocpp/cp/CQ")),
        id="ids of the settings",
    ),
    pytest.param(
        {"zigbee2mqtt": {}},
        [("volt/meter/plug/telemetry", OWN), ("zigbee2mqtt/plug", '{"power":5}')],
        SharedId(DeviceType.METER, "plug", ("volt/meter/plug/telemetry", "zigbee2mqtt/plug")),
        id="voltd's own format",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("devices", "sent", "shared"), MIXED)
def test_one_id_of_two_devices_is_said_once(devices, sent, shared):
    reader = support.decoder_of(support.settings(**devices))
    found = [one for topic, payload in sent for one in reader.decode([support.message(topic, payload)]).shared_ids]
    assert found == [shared]


@pytest.mark.parametrize(
    ("devices", "sent"),
    [
        ({"tasmota": {}}, [("tele/plug/SENSOR", SENSOR), ("stat/plug/STATUS10", f'{{"StatusSNS":{SENSOR}}}')]),
        ({"evcc": {}}, [("evcc/site/grid/power", "5"), ("evcc/site/grid/energy", "5")]),
        ({"ocpp": {}}, [(f"ocpp/CP/up/request/MeterValues/{one}", METER_VALUES % (1, one)) for one in (1, 2)]),
        ({"zigbee2mqtt": {}, "tasmota": {}}, [("zigbee2mqtt/lamp", '{"state":"ON"}'), ("tele/lamp/SENSOR", SENSOR)]),
    ],
)
def test_one_device_on_several_topics_is_no_other_one(devices, sent):
    """Nor is one that measures nothing."""
    reader = support.decoder_of(support.settings(**devices))
    assert [reader.decode([support.message(*one)]).shared_ids for one in sent] == [[], []]


def test_it_is_counted_once_by_both_decoders_and_logged(capsys):
    """Stream and spool have a decoder each."""
    counters = metrics.Metrics()
    sent = [support.message("zigbee2mqtt/plug", '{"power":5}'), support.message("tele/plug/SENSOR", SENSOR)]
    for _ in range(2):
        batch = support.decode(support.settings(zigbee2mqtt={}, tasmota={}), *sent)
        flusher.log_decoded(counters, batch)
    assert counters.snapshot()["shared_ids"] == {"meter plug": ("zigbee2mqtt/plug", "tele/plug/SENSOR")}
    assert capsys.readouterr().out.count("device.id_shared") == 1
