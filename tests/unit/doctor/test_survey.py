"""What the doctor makes of what it heard."""

from __future__ import annotations

import json

import pytest

from support import families as support
from voltd.doctor import listen, report, survey
from voltd.models import DeviceType
from voltd.pipeline.decode.devices import catalogue

OWN = '{"timestamp":"2026-05-01T11:59:58Z","soc":55.5}'
PLUG = '{"Time":"2026-05-01T11:59:58","ENERGY":{"Total":1290.396,"Power":47,"Voltage":231}}'


def heard(*messages, seconds=10.0):
    found = listen.Heard(seconds)
    for topic, payload, *retained in messages:
        found.add(support.message(topic, payload, retained=bool(retained)))
    return found


def examined(*messages, **devices):
    given = support.settings(**devices)
    described = catalogue.described(given.devices_directory)
    groups = survey.survey(heard(*messages), given, described)
    return groups, survey.settings_text(groups, given, described)


def ovms(base="ovms/alice/EV1", count=4):
    metrics = {"v/b/soc": "96.3", "v/p/speed": "0", "v/p/odometer": "1000", "v/b/power": "-3"}
    return [(f"{base}/metric/{name}", value) for name, value in list(metrics.items())[:count]]


def test_a_family_at_its_usual_place():
    groups, text = examined(
        *ovms(), *ovms("ovms/bob/EV2"), ("tele/plug/SENSOR", PLUG), ("tele/plug/LWT", "Online", True)
    )
    assert [(one.kind, one.patterns, one.devices) for one in groups] == [
        ("ovms", ("ovms/{user}/{id}",), {DeviceType.VEHICLE: {"EV1", "EV2"}}),
        ("tasmota", ("tele/{id}",), {DeviceType.METER: {"plug"}}),
    ]
    assert text == "[devices.ovms]\n\n[devices.tasmota]\n"
    assert (groups[1].rate, groups[1].retained) == (0.1, 1)


@pytest.mark.parametrize(
    ("bases", "topics"),
    [
        (["home/cars/EV1", "home/cars/EV2"], ["home/cars/{id}"]),
        (["a/x/EV1", "b/x/EV2"], ["{level1}/x/{id}"]),
        (["EV1/ovms"], ["{id}/ovms"]),
    ],
)
def test_a_family_elsewhere(bases, topics):
    groups, text = examined(*(message for base in bases for message in ovms(base)))
    (group,) = groups
    assert (group.kind, len(group.devices[DeviceType.VEHICLE])) == ("ovms", len(bases))
    assert text == f"[devices.ovms]\ntopics = {json.dumps(topics)}\n"


def test_a_topic_that_ends_alike_is_no_family():
    groups, text = examined(("weather/metric/v/b/soc", "5"), ("weather/metric/v/p/speed", "3"), ("x/SENSOR", PLUG))
    assert [(one.kind, one.patterns) for one in groups] == [("", ("weather/metric/v/+/+",)), ("", ("x/SENSOR",))]
    assert text == ""


@pytest.mark.parametrize(
    ("topics", "line"),
    [
        (["/volt/vehicle/V1/telemetry"], 'vehicle = ["volt/vehicle/+/telemetry", "/volt/vehicle/+/telemetry"]'),
        (["Volt/vehicle/V1/telemetry"], 'vehicle = ["volt/vehicle/+/telemetry", "Volt/vehicle/+/telemetry"]'),
        (
            ["volt/vehicle/V1/x/telemetry", "volt/vehicle/V2/x/telemetry"],
            'vehicle = ["volt/vehicle/+/telemetry", "volt/vehicle/+/x/telemetry"]',
        ),
    ],
)
def test_near_misses_of_the_filters(topics, line):
    groups, text = examined(*((topic, OWN) for topic in topics))
    assert [one.kind for one in groups] == [survey.OWN]
    assert text == f"[mqtt.topics]\n{line}\n"


def test_what_the_settings_take_is_said_to_be_taken():
    groups, text = examined(
        ("volt/vehicle/V1/telemetry", OWN), ("volt/vehicle/V2/telemetry", '{"soc":1}'), *ovms(), ovms={}
    )
    assert [(one.kind, one.configured) for one in groups] == [(survey.OWN, True), ("ovms", True)]
    assert list(groups[0].refused) == ["missing_field: no timestamp"]
    assert text == ""


def test_our_own_status_is_no_device():
    assert examined(("voltd/main/status", "{}", True), ("voltd/live/f/v", OWN)) == ([], "")


def test_the_report():
    groups, _ = examined(("tele/plug/SENSOR", PLUG), ("volt/vehicle/V1/telemetry", OWN), ("noise/x", "1"))
    text = "\n".join(report.lines(groups, 10, {(DeviceType.VEHICLE, "V1")}))
    assert text == (
        "Heard 3 topics in 10 s.\n\n"
        "volt/vehicle/+/telemetry, volt/meter/+/telemetry, volt/ingest: voltd's own format, as in the settings\n"
        "  1 topics, 0.1 messages/s, 0 retained\n"
        "  1 vehicle: V1\n"
        "  example: volt/vehicle/V1/telemetry\n"
        '  becomes  {"vehicleId": "V1", "timestamp": "2026-05-01T11:59:58.000Z", "soc": 55.5}\n\n'
        "tele/{id}: tasmota, which the settings do not enable\n"
        "  1 topics, 0.1 messages/s, 0 retained\n"
        "  1 meter: plug\n"
        "  not in the registry: plug\n"
        "  example: tele/plug/SENSOR\n"
        '  becomes  {"meterId": "plug", "timestamp": "2026-05-01T12:00:00.000Z", "kwhConsumedAcTotal": 1290.396, '
        '"voltage": 231.0, "power": 0.047, "timeSource": "arrival"}\n\n'
        "noise/x: no device family fits\n"
        "  1 topics, 0.1 messages/s, 0 retained\n"
        "  such as noise/x"
    )


DESCRIBED = """
title = "Depot chargers"
topics = ["depot/{id}"]
device = "meter"
[[document]]
topic = "state"
time = "at"
[document.fields]
kwhConsumedAcTotal = { path = "total", unit = "UNIT" }
power = { path = "power", unit = "W" }
"""


@pytest.mark.parametrize(
    ("unit", "looks", "ratio", "power"),
    [
        ("Wh", None, None, None),
        ("kWh", "looks like Wh", "1,000", "looks like MW"),
        ("Wmin", "looks 60 times too small", "0.0167", "looks 60 times too large"),
    ],
)
def test_a_wrong_description_is_found(tmp_path, unit, looks, ratio, power):
    """Chargers whose register counts Wh, described in another unit."""
    (tmp_path / "depot.toml").write_text(DESCRIBED.replace("UNIT", unit))
    given = support.settings(tmp_path, depot={})
    messages = [
        (
            f"depot/c{number}/state",
            json.dumps({"at": 1777600800 + second, "total": 1290396 + 2 * second, "power": 7200}),
        )
        for number in range(2)
        for second in range(0, 40, 4)
    ]
    (group,) = survey.survey(heard(*messages), given, catalogue.described(given.devices_directory))
    lines = [line for line in report.lines([group], 40, None) if "unit in doubt" in line]
    said = (
        f"  unit in doubt, of c0 and 1 more: kwhConsumedAcTotal says kWh, {looks}: {ratio} times the integral of power"
        f" over 36 seconds; or power says kW, {power}"
    )
    assert lines == ([said] if looks else [])


def test_a_state_of_charge_between_0_and_1():
    groups, _ = examined(
        *(
            ("volt/vehicle/V1/telemetry", f'{{"timestamp":"2026-05-01T11:59:0{second}Z","soc":0.5{second}}}')
            for second in range(6)
        )
    )
    assert list(groups[0].units) == [("soc", 0.01)]


def test_silence():
    assert "Nothing was heard in 30 s" in next(report.lines([], 30, None))


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(listen, "_MOST_TOPICS", 2)
    found = heard(*((f"a/{number % 4}", "1") for number in range(200)))
    assert (len(found.topics), found.left_out, len(found.topics["a/0"].samples)) == (2, 100, 20)
