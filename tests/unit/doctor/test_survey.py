"""What the doctor makes of what it heard."""

from __future__ import annotations

import json
import tomllib

import pytest

from support import families as support
from voltd.doctor import fit, listen, proposal, report, survey
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
    return groups, proposal.settings_text(groups, given, described)


def ovms(base="ovms/alice/EV1", count=4):
    metrics = {"v/b/soc": "96.3", "v/p/speed": "0", "v/p/odometer": "1000", "v/b/power": "-3"}
    return [(f"{base}/metric/{name}", value) for name, value in list(metrics.items())[:count]]


def test_a_family_at_its_usual_place():
    groups, text = examined(
        *ovms(), *ovms("ovms/bob/EV2"), ("tele/plug/SENSOR", PLUG), ("tele/plug/LWT", "Online", True)
    )
    assert [(one.kind, one.patterns, one.devices) for one in groups] == [
        ("ovms", ("ovms/{user}/{id}",), {DeviceType.VEHICLE: {"EV1", "EV2"}}),
        ("tasmota", ("tele/{id}", "stat/{id}"), {DeviceType.METER: {"plug"}}),
    ]
    assert text == "[devices.ovms]\n\n[devices.tasmota]\n"
    assert (groups[1].rate, groups[1].retained) == (0.1, 1)


@pytest.mark.parametrize(
    ("bases", "topics"),
    [
        (["home/cars/EV1", "home/cars/EV2"], ["home/cars/{id}"]),
        (["a/x/EV1", "b/x/EV2"], ["a/x/{id}", "b/x/{id}"]),
        ([f"{user}/x/EV{user}" for user in range(11)], ["{level1}/x/{id}"]),
        (["EV1/ovms"], ["{id}/ovms"]),
        (["ovms/alice/EV1", "home/EV2"], ["ovms/{user}/{id}", "home/{id}"]),
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


def test_an_envelope_on_a_misspelt_topic_goes_into_ingest():
    reading = {"vehicleId": "V1", "timestamp": "2026-05-01T11:59:58Z", "soc": 5}
    _, text = examined(("volt/Ingest", json.dumps({"type": "VEHICLE", "payload": reading})))
    assert text == '[mqtt.topics]\ningest = ["volt/ingest", "volt/Ingest"]\n'


EVCC = [("loadpoints/1/chargePower", "7400"), ("loadpoints/1/chargeTotalImport", "5"), ("site/grid/power", "300")]


def test_ids_are_of_the_levels_that_the_family_names():
    groups, text = examined(*((f"home/depot/{rest}", value) for rest, value in EVCC))
    assert [(one.kind, one.devices) for one in groups] == [("evcc", {DeviceType.METER: {"depot-1", "depot-grid"}})]
    assert text == '[devices.evcc]\ntopics = ["home/{site}"]\n'


def test_a_family_that_needs_two_levels_gets_both():
    described = catalogue.described(support.settings().devices_directory)
    bases = [("garage", "C1", "1"), ("garage", "C1", "2"), ("garage", "C2", "1")]
    assert fit.topics_of(bases, described["ctek"]) == ("garage/{id}/{evse}",)


def test_the_words_behind_an_id_tell_which_level_it_is():
    described = catalogue.described(support.settings().devices_directory)
    bases = [("gw", f"CS{number}", "up", "request", "MeterValues", str(number)) for number in range(12)]
    assert fit.topics_of(bases, described["ocpp"]) == ("gw/{id}/up/request/{action}/{message}",)
    assert fit.topics_of([("gw", "cp", "CS1")], described["ocpp"]) == ("gw/cp/{id}",)


def test_a_level_with_braces_is_written_as_any():
    described = catalogue.described(support.settings().devices_directory)
    assert fit.topics_of([("a{b}", "EV1")], described["ovms"]) == ("+/{id}",)


def test_tasmota_with_its_levels_turned_round():
    groups, text = examined(
        *(
            (f"{base}/{rest}", payload)
            for base in ("tele/plug1", "plug2/tele")
            for rest, payload in (("SENSOR", PLUG), ("LWT", "Online"))
        )
    )
    assert [one.devices for one in groups] == [{DeviceType.METER: {"plug1", "plug2"}}]
    assert text == '[devices.tasmota]\ntopics = ["tele/{id}", "{id}/tele"]\n'


def test_an_error_of_one_family_leaves_the_others(monkeypatch):
    topics_of = fit.topics_of

    def fails(bases, described, template):
        if described.title == "OVMS v3":
            raise KeyError("site")
        return topics_of(bases, described, template)

    monkeypatch.setattr(fit, "topics_of", fails)
    groups, text = examined(*ovms(), ("tele/plug/SENSOR", PLUG))
    assert [(one.kind, bool(one.trouble)) for one in groups] == [("ovms", True), ("tasmota", False)]
    assert text == "[devices.tasmota]\n"
    assert "write [devices.ovms] topics yourself" in "\n".join(report.lines(groups, 10, None))


def test_what_the_daemon_would_refuse_is_left_out():
    given = support.settings(tasmota={})
    described = catalogue.described(given.devices_directory)
    covered = survey.Group("tasmota", ("tele/plug",), ["tele/plug/SENSOR"])
    own = survey.Group(survey.OWN, ("volt/#",), ["volt/x"], section="vehicle")
    fine = survey.Group(survey.OWN, ("cars/+",), ["cars/V1"], section="vehicle")
    groups = [covered, own, fine]
    text = proposal.settings_text(groups, given, described)
    assert text == '[mqtt.topics]\nvehicle = ["volt/vehicle/+/telemetry", "cars/+"]\n'
    assert ["overlap" in one.trouble or "needs the level" in one.trouble for one in groups] == [True, True, False]
    assert "  left out of the settings: " in "\n".join(report.lines(groups[:1], 10, None))


def test_a_family_of_the_settings_gets_its_whole_section():
    plugs = [("tele/plug/SENSOR", PLUG), ("home/new/SENSOR", PLUG), ("home/new/LWT", "Online")]
    there = {"topics": ["tele/{id}"], "gather_s": 2.0, "ids": {"plug": "P.1"}}
    groups, text = examined(*plugs, tasmota=there)
    assert [(one.kind, one.configured, one.enabled) for one in groups] == [
        ("tasmota", True, False),
        ("tasmota", False, True),
    ]
    assert text.startswith("# in place of the section that is there\n[devices.tasmota]\n")
    assert tomllib.loads(text) == {"devices": {"tasmota": there | {"topics": ["tele/{id}", "home/{id}"]}}}
    assert examined(*plugs, tasmota=tomllib.loads(text)["devices"]["tasmota"])[1] == ""


def test_a_family_that_is_configured_elsewhere():
    _, text = examined(*ovms(), ovms={"topics": ["cars/{id}"]})
    assert tomllib.loads(text) == {"devices": {"ovms": {"topics": ["cars/{id}", "ovms/{user}/{id}"]}}}


def test_one_id_of_two_groups_is_said():
    groups, _ = examined(
        ("tele/plug/SENSOR", PLUG), ("volt/meter/plug/telemetry", '{"timestamp":1777636798,"power":1}')
    )
    assert (
        "  plug: the same meter id as volt/vehicle/+/telemetry, volt/meter/+/telemetry, volt/ingest: "
        "give one of them an id, [devices.tasmota] id = ..."
    ) in list(report.lines(groups, 10, None))


def test_two_devices_of_one_group_under_one_id_are_said():
    groups, _ = examined(*ovms(), *ovms("ovms/bob/EV1"), ovms={})
    (group,) = groups
    assert [(one.device_id, one.topics) for one in group.shared] == [
        ("EV1", ("ovms/alice/EV1/metric/v/b/soc", "ovms/bob/EV1/metric/v/b/soc"))
    ]
    (line,) = (one for one in report.lines(groups, 10, None) if "two devices" in one)
    assert "EV1" in line


def test_special_readers_convince_on_their_own():
    rpc = {
        "src": "shelly",
        "method": "NotifyStatus",
        "params": {"ts": 1777636798.0, "switch:0": {"id": 0, "apower": 47.0}},
    }
    values = {"connectorId": 1, "meterValue": [{"timestamp": "2026-05-01T11:59:58Z", "sampledValue": [{"value": "5"}]}]}
    groups, text = examined(("home/plug/events/rpc", json.dumps(rpc)), ("gate/CS1", json.dumps(values)))
    assert {one.kind for one in groups} == {"shelly", "ocpp"}
    assert tomllib.loads(text)["devices"] == {"ocpp": {"topics": ["gate/{id}"]}, "shelly": {"topics": ["home/{id}"]}}


def test_parts_of_a_sum_belong_to_the_family():
    parts = [(f"P1-Dongle/energy_delivered_tariff{number}", "12.5") for number in (1, 2)]
    groups, text = examined(*parts[:1])
    assert [(one.kind, len(one.topics)) for one in groups] == [("p1_dongle", 1)]
    groups, text = examined(*parts)
    assert [(one.kind, len(one.topics)) for one in groups] == [("p1_dongle", 2)]
    assert text == "[devices.p1_dongle]\n"


@pytest.mark.parametrize("devices", [{}, {"tasmota": {}}])
def test_what_a_family_does_not_read_is_passed_over(devices):
    groups, _ = examined(
        ("tele/plug/SENSOR", PLUG), ("tele/plug/STATE", "{}"), ("tele/plug/a/b", "1"), ("x", "1"), **devices
    )
    assert [(one.kind, one.topics, one.passed) for one in groups] == [
        ("tasmota", ["tele/plug/SENSOR"], ["tele/plug/STATE", "tele/plug/a/b"]),
        ("", ["x"], []),
    ]
    lines = list(report.lines(groups, 10, None))
    assert lines[0] == "Heard 4 topics in 10 s."
    assert "  2 topics of this family are passed over, such as tele/plug/STATE" in lines


def test_a_topic_of_any_length_and_any_letters():
    assert heard(("x" * 1025, "1")).left_out == 1
    assert examined(("a/" * 512, "1"), ("/" * 1024, OWN), ("x" * 1024, OWN), ("volt/" * 200, OWN))[0]
    _, text = examined(*ovms("\N{AUTOMOBILE}\x7f\x9b/EV1"))
    assert "\N{AUTOMOBILE}\\U0000007f\\U0000009b" in text
    assert tomllib.loads(text)["devices"]["ovms"]["topics"] == ["\N{AUTOMOBILE}\x7f\x9b/{id}"]


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
        "tele/{id}, stat/{id}: tasmota, which the settings do not enable\n"
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
