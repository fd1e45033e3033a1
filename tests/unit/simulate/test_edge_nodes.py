"""What simulated edge nodes of Sparkplug B send, byte by byte, and how they answer."""

import datetime as dt
import random

from support import sparkplug as sp
from voltd.simulate.families import catalogue
from voltd.simulate.fleet.fleet import Fleet, FleetOptions
from voltd.simulate.fleet.meter import Meter

AT = dt.datetime(2025, 1, 17, 8, 0, 0, 250_000, tzinfo=dt.UTC)
MS = 1_737_100_800_250
SECOND = dt.timedelta(seconds=1)
PLAIN, OTHER = "C", "D"  # ids by which a device has the usual or the other model
CONTROL = sp.block(1, b"Node Control/Rebirth") + sp.number(4, 11) + sp.number(14, 0)
METRICS = (
    ("Wh_received", 1, sp.DOUBLE, 113_500.25),
    ("Wh_delivered", 2, sp.DOUBLE, 0.0),
    ("Watts_total", 3, sp.DOUBLE, 399.2),
    ("Volts", 4, sp.FLOAT, 230.5),
    ("Amps", 5, sp.FLOAT, 1.75),
    ("Uptime", 130, sp.UINT64, 100_800),
)


def _node(device_id=PLAIN):
    return catalogue.FAMILIES["sparkplug"].speaks_for(device_id)


def _meter():
    made = Meter(random.Random(1))
    made.power_kw, made.voltage_v, made.current_a = 0.3992, 230.5, 1.75
    return made


def _nbirth(session, seq=0, at_ms=MS):
    return sp.payload(sp.metric("bdSeq", session, sp.INT64), CONTROL, seq=seq, at_ms=at_ms)


def _sent(publications):
    return [(one.topic, one.payload) for one in publications]


def test_birth_then_data():
    """The births name the metrics and number them; data have the numbers; each message counts on."""
    node, meter = _node(), _meter()
    births = [*node.comes(AT), *node.report(AT, meter, 113.50025)]
    named = [sp.metric(name, value, kind, alias=alias, at_ms=MS) for name, alias, kind, value in METRICS]
    assert _sent(births) == [
        ("spBv1.0/voltd/NBIRTH/edge-C", _nbirth(0)),
        ("spBv1.0/voltd/DBIRTH/edge-C/C", sp.payload(*named, seq=1, at_ms=MS)),
    ]
    assert [(one.meter, one.device, one.retain) for one in births] == [(0, "C", False), (1, "C", False)]
    (data,) = node.report(AT, meter, 113.50025)
    numbered = [sp.metric(None, value, kind, alias=alias, at_ms=MS) for _, alias, kind, value in METRICS]
    assert (data.topic, data.payload) == ("spBv1.0/voltd/DDATA/edge-C/C", sp.payload(*numbered, seq=2, at_ms=MS))
    assert data.meter == 1


def test_another_model_names_its_metrics_and_counts_whole_watt_hours():
    node = _node(OTHER)
    list(node.comes(AT))
    node.report(AT, _meter(), 113.50025)
    (data,) = node.report(AT, _meter(), 113.50025)
    assert sp.block(2, sp.metric("Wh_received", 113_500, sp.UINT64, at_ms=MS)) in data.payload
    assert sp.block(2, sp.metric("Watts_total", 399.2, at_ms=MS)) in data.payload


def test_sequence_numbers_end_at_255():
    node = _node()
    list(node.comes(AT))
    found = [node.report(AT, _meter(), 1.0)[0].payload for _ in range(256)]
    assert found[0].endswith(sp.number(3, 1))
    assert found[254].endswith(sp.number(3, 255))
    assert found[255].endswith(sp.number(3, 0))


def test_death_and_return():
    """The will has the number of its session; the next birth has the next one."""
    node = _node()
    assert _sent(node.goes(AT)) == []
    sent = [*node.comes(AT), *node.comes(AT), *node.goes(AT), *node.goes(AT), *node.comes(AT)]
    assert _sent(sent) == [
        ("spBv1.0/voltd/NBIRTH/edge-C", _nbirth(0)),
        ("spBv1.0/voltd/NDEATH/edge-C", sp.payload(sp.metric("bdSeq", 0, sp.INT64))),
        ("spBv1.0/voltd/NBIRTH/edge-C", _nbirth(1)),
    ]
    (again,) = node.report(AT, _meter(), 1.0)
    assert again.topic == "spBv1.0/voltd/DBIRTH/edge-C/C"


def test_rebirth():
    """The births of what was measured last, dated as then: a duplicate. No answer offline, or to another command."""
    node = _node()
    assert list(node.command(sp.REBIRTH, AT)) == []
    list(node.comes(AT))
    assert _sent(node.command(sp.REBIRTH, AT)) == [("spBv1.0/voltd/NBIRTH/edge-C", _nbirth(0))]
    _, birth = node.report(AT, _meter(), 1.0)[0], node.report(AT, _meter(), 113.50025)
    assert len(birth) == 1
    later = AT + 5 * SECOND
    node_birth, device_birth = node.command(sp.REBIRTH, later)
    assert node_birth.payload == _nbirth(0, at_ms=MS + 5000)
    named = [sp.metric(name, value, kind, alias=alias, at_ms=MS) for name, alias, kind, value in METRICS]
    assert device_birth.payload == sp.payload(*named, seq=1, at_ms=MS + 5000)
    assert (device_birth.meter, device_birth.duplicate) == (1, 1)
    assert list(node.command(sp.payload(sp.metric("Node Control/Next Server", 1)), later)) == []


def test_a_fleet_passes_commands_on():
    """To the node that is asked; a node with numbers sends no message twice."""
    fleet = Fleet(FleetOptions(0, 3, 7, AT, bad_share=0.0, duplicate_share=1.0, families=("sparkplug",)))
    assert fleet.commands == ["spBv1.0/voltd/NCMD/+"]
    published = list(fleet.step(AT + 200 * SECOND))
    assert len(published) == len({one.payload for one in published}) > 9
    topic = "spBv1.0/voltd/NCMD/edge-METER-00002"
    answers = list(fleet.command(topic, sp.REBIRTH, AT + 200 * SECOND))
    assert [one.topic for one in answers] == [
        "spBv1.0/voltd/NBIRTH/edge-METER-00002",
        "spBv1.0/voltd/DBIRTH/edge-METER-00002/METER-00002",
    ]
    assert list(fleet.command("spBv1.0/voltd/NCMD/nobody", sp.REBIRTH, AT)) == []
    assert Fleet(FleetOptions(1, 1, 7, AT)).commands == []
