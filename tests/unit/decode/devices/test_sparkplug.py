"""Sparkplug B: payloads byte by byte, births and aliases, deaths and rebirths, and whatever else arrives."""

import datetime as dt
import gc
import importlib
import random
import struct
import sys
import time

import pytest

from support import sparkplug as sp
from voltd import config, errors, models
from voltd.models import Reason
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import families, gather

NOW = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
MS = int(NOW.timestamp() * 1000)
OWN = """
title = "Ours"
topics = ["spBv1.0/{group}"]
device = "vehicle"
id = "{node}/{device}"

[[special]]
reader = "sparkplug"

[special.fields]
soc = { path = "Battery/SoC", unit = "0..1" }
batteryTemp = { path = "Battery/Temp", unit = "°C", ignore = [-127] }
chargingPower = { path = "Power.Out", unit = "W", negate = true }
kwhDeliveredDcTotal = { path = "Energy", unit = "Wh" }
chargingStatus = { path = "State", words = { 2 = "Charging" } }
latitude = { path = "lat", unit = "degrees" }
longitude = { path = "lon", unit = "degrees" }
"""


class Host:
    """The decoder of a daemon's stream, with what it asked for."""

    def __init__(self, name="sparkplug", directory="/nonexistent", listens=True, **more):
        limits = config.Limits(**more.pop("limits", {}))
        self.settings = config.Settings(
            devices={name: config.DeviceFamily(**more)}, devices_directory=directory, limits=limits
        )
        self.asked = []
        ask = (lambda topic, payload: self.asked.append((topic, payload))) if listens else None
        self.decoder = decoder.Decoder(config.Topics(), limits, 90, others=families.of(self.settings, ask=ask))
        self.gathering = gather.Gather()

    def hear(self, topic, payload, after_s=0.0, **more):
        """A message of the stream; what waits stays."""
        at = NOW + dt.timedelta(seconds=after_s)
        message = models.Message(f"spBv1.0/{topic}", payload, 1, at, size=len(payload), **more)
        return self.decoder.decode([message], gathering=self.gathering)

    def later(self, after_s):
        """What has waited for too long by then."""
        batch = models.Batch([])
        self.decoder.complete(batch, self.gathering, NOW + dt.timedelta(seconds=after_s))
        return batch


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    return Host("own", tmp_path)


def born(host, node="n", aliases=None, session=1):
    """The birth of a node and of its device d, whose metrics have these aliases."""
    host.hear(f"g/NBIRTH/{node}", sp.birth(session=session, at_ms=MS))
    metrics = [sp.metric(name, 1.5, alias=alias) for alias, name in (aliases or {}).items()]
    return host.hear(f"g/DBIRTH/{node}/d", sp.payload(*metrics, seq=1, at_ms=MS))


def values(reading):
    return {
        name: value
        for name, value in reading._asdict().items()
        if value is not None and name not in ("received_at", "recorded_at", "vehicle_id", "meter_id")
    }


def test_a_meter_with_names():
    """javier-fg/mqtt-spb-wrapper issue 7, its values in the bytes of the wire; its clock is dated as it is."""
    host = Host(limits={})
    payload = (
        b"\x08" + sp.varint(MS)
        + b"\x12\x1f\x0a\x0bWatts_total\x18" + sp.varint(MS - 5000) + b"\x20\x0a\x69" + struct.pack("<d", 226.507)
        + b"\x12\x1f\x0a\x0bWh_received\x18" + sp.varint(MS - 5000) + b"\x20\x0a\x69" + struct.pack("<d", 37171.03)
        + b"\x18\x09"
    )  # fmt: skip
    batch = host.hear("wzero/DDATA/Node_1/Energy_meter", payload)
    (reading,) = batch.meters
    assert reading.meter_id == "wzero/Node_1/Energy_meter"
    assert reading.recorded_at == NOW - dt.timedelta(seconds=5)
    assert values(reading) == {"ac_register_kwh": 37.17103, "power_kw": pytest.approx(0.226507)}
    assert batch.dead_letters == []
    assert batch.messages[0].payload == payload


def test_fields_of_ones_own(own):
    """Units, sign, words and values that stand for none, as in the other descriptions; names are taken as they are."""
    own.hear("g/NBIRTH/n", sp.birth(at_ms=MS))
    batch = own.hear(
        "g/DDATA/n/car",
        sp.payload(
            sp.metric("Battery/SoC", 0.64, sp.FLOAT),
            sp.metric("Battery/Temp", -127, sp.INT16),
            sp.metric("Power.Out", -11_000, sp.INT32),
            sp.metric("Energy", 5_000_000_000, sp.UINT64),
            sp.metric("State", 2, sp.UINT32),
            sp.metric("lat", 0.0),
            sp.metric("lon", 0.0),
            sp.metric("Something else", "x", sp.STRING),
            seq=1,
            at_ms=MS,
        ),
    )
    (reading,) = batch.vehicles
    assert reading.vehicle_id == "n/car"
    assert values(reading) == {
        "soc_pct": pytest.approx(64, abs=1e-5),
        "charging_power_kw": 11.0,
        "dc_register_kwh": 5_000_000.0,
        "charging_status": "Charging",
    }
    assert batch.dead_letters == []


@pytest.mark.parametrize(
    ("datatype", "written", "kw"),
    [
        (sp.INT8, sp.number(10, 0xFF), -0.001),  # 8 bits
        (sp.INT8, sp.number(10, 0xFFFFFFFF), -0.001),  # 32
        (sp.INT16, sp.number(10, 0xFC18), -1.0),
        (sp.INT32, sp.number(10, 0xFFFFFC18), -1.0),
        (sp.INT32, sp.number(10, 1000), 1.0),
        (sp.INT64, sp.number(11, (1 << 64) - 1000), -1.0),
        (sp.UINT32, sp.number(10, 0xFFFFFFFF), 4294967.295),
        (sp.DOUBLE, sp.written(0.0), 0.0),
    ],
)
def test_integers_have_the_sign_of_their_type(host, datatype, written, kw):
    metric = sp.metric("Watts_total", None, datatype) + written
    batch = host.hear("g/DDATA/n/d", sp.payload(metric, at_ms=MS))
    assert [one.power_kw for one in batch.meters] == [kw]


def test_a_type_that_only_the_birth_has(host):
    """A negative number without its data type: the birth says it is signed; without one nobody knows."""
    metric = sp.metric("Watts_total", -1000, None)
    (letter,) = host.hear("g/DDATA/n/d", sp.payload(metric, seq=4, at_ms=MS)).dead_letters
    assert letter.reason is Reason.NO_BIRTH
    host.hear("g/NBIRTH/n", sp.birth(at_ms=MS), 1)
    host.hear("g/DBIRTH/n/d", sp.payload(sp.metric("Watts_total", -5, sp.INT32), seq=1, at_ms=MS), 1)
    batch = host.hear("g/DDATA/n/d", sp.payload(metric, seq=2, at_ms=MS), 2)
    assert [one.power_kw for one in batch.meters] == [-1.0]


def test_times_of_metrics_make_readings(host):
    """A metric's time goes before the message's; the same time is one reading."""
    payload = sp.payload(
        sp.metric("Watts_total", 1000.0, at_ms=MS - 60_000),
        sp.metric("Watts_total", 2000.0, at_ms=MS - 30_000),
        sp.metric("Volts", 230.0, at_ms=MS - 30_000),
        sp.metric("Amps", 9.0),
        at_ms=MS,
    )
    batch = host.hear("g/DDATA/n/d", payload)
    found = [((NOW - one.recorded_at).total_seconds(), values(one)) for one in batch.meters]
    assert found == [
        (60.0, {"power_kw": 1.0}),
        (30.0, {"power_kw": 2.0, "voltage_v": 230.0}),
        (0.0, {"current_a": 9.0}),
    ]
    assert batch.meter_sources == [(0, None)] * 3


def test_no_time_at_all_is_dated_by_arrival(host):
    batch = host.hear("g/DDATA/n/d", sp.payload(sp.metric("Watts_total", 1000.0)))
    assert batch.messages == []
    batch = host.later(2)
    assert [(one.recorded_at, one.time_source) for one in batch.meters] == [(NOW, "arrival")]


def test_one_bad_time_takes_no_other_reading_down(host):
    """In a birth a metric may be dated by the device's factory."""
    payload = sp.payload(
        sp.metric("Volts", 230.0, at_ms=1),
        sp.metric("Amps", 5.0, at_ms=(1 << 64) - 1),
        sp.metric("Watts_total", 1000.0, at_ms=MS),
        at_ms=MS,
    )
    batch = host.hear("g/DDATA/n/d", payload)
    assert [values(one) for one in batch.meters] == [{"power_kw": 1.0}]
    assert {(one.reason, one.field, one.partial) for one in batch.dead_letters} == {
        (Reason.TOO_OLD, "voltage", True),
        (Reason.BAD_TIME, "current", True),
    }
    (letter,) = host.hear("g/DDATA/n/d", sp.payload(sp.metric("Volts", 230.0, at_ms=1))).dead_letters
    assert (letter.reason, letter.partial) == (Reason.TOO_OLD, False)


def test_null_is_a_sign_of_life_and_other_metrics_are_none(host):
    """A gateway's own metrics and other kinds of devices must not look like meters."""
    batch = host.hear("g/DDATA/n/d", sp.payload(sp.metric("Volts", None, null=True), at_ms=MS))
    assert [one.device_id for one in batch.alive] == ["g/n/d"]
    batch = host.hear("g/NDATA/n", sp.payload(sp.metric("Uptime", 5, sp.INT64), at_ms=MS))
    assert (batch.alive, len(batch.alive_sources)) == ([], 1)


def test_a_node_measures_itself(host):
    batch = host.hear("g/NDATA/n", sp.payload(sp.metric("Volts", 230.0), at_ms=MS))
    assert [one.meter_id for one in batch.meters] == ["g/n"]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (sp.metric("Volts", float("nan")), Reason.OUT_OF_RANGE),
        (sp.metric("Volts", -5.0), Reason.OUT_OF_RANGE),
        (sp.metric("Volts", None, 11) + sp.number(14, 1), Reason.WRONG_TYPE),
        (sp.metric("Volts", "high", sp.STRING), Reason.WRONG_TYPE),
        (sp.metric("Volts", b"\x00\xff", 17), Reason.WRONG_TYPE),
        (sp.metric("Volts", None, 16) + sp.block(17, b"\x08\x01"), Reason.WRONG_TYPE),  # a data set
    ],
)
def test_a_bad_value_is_refused_alone(host, metric, reason):
    batch = host.hear("g/DDATA/n/d", sp.payload(metric, sp.metric("Amps", 5.0), at_ms=MS))
    assert [values(one) for one in batch.meters] == [{"current_a": 5.0}]
    assert [(one.reason, one.field) for one in batch.dead_letters] == [(reason, "voltage")]


def test_a_name_that_stands_in_for_the_first_one(host):
    """Whichever of the two comes first, the first name in the description counts."""
    both = [sp.metric("Wh_received", 5000.0), sp.metric("Energy Import Wh", 7000.0)]
    for metrics in (both, both[::-1]):
        batch = host.hear("g/DDATA/n/d", sp.payload(*metrics, at_ms=MS))
        assert [one.ac_register_kwh for one in batch.meters] == [5.0]


# -- births and aliases


def test_aliases_are_named_by_the_birth(host):
    """Also in the message itself: what is spooled, decoded again or a dead letter needs no birth."""
    born(host, aliases={0: "Volts", 7: "Wh_received", 8: "Unknown to us"})
    data = sp.payload(
        sp.metric(None, 230.0, None, alias=0), sp.metric(None, 9000.0, None, alias=7),
        sp.metric(None, 1.0, None, alias=8), seq=2, at_ms=MS,
    )  # fmt: skip
    batch = host.hear("g/DDATA/n/d", data)
    assert [values(one) for one in batch.meters] == [{"voltage_v": 230.0, "ac_register_kwh": 9.0}]
    assert host.asked == []
    (message,) = batch.messages
    assert all(name in message.payload for name in (b"Volts", b"Wh_received", b"Unknown to us"))
    assert message.size == len(data)
    again = Host(listens=False).decoder.decode([message])
    assert again.meters == batch.meters


def test_data_before_any_birth_waits_for_the_rebirth(host):
    """The node is asked once; what waits is read when the births have come, and nothing is a dead letter."""
    for seq in (5, 6):
        batch = host.hear("g/DDATA/n/d", sp.payload(sp.metric(None, 230.0 + seq, alias=1), seq=seq, at_ms=MS + seq))
        assert batch.messages == []
    assert host.asked == [("spBv1.0/g/NCMD/n", sp.REBIRTH)]
    host.hear("g/NBIRTH/n", sp.birth(at_ms=MS), 1)
    assert host.gathering.held
    batch = born(host, aliases={1: "Volts"})
    assert [one.voltage_v for one in batch.meters] == [1.5, 235.0, 236.0]
    assert not host.gathering.held
    assert len(host.asked) == 1


def test_a_node_that_does_not_answer(host):
    """What waited becomes a dead letter that names the alias; the node is asked again after a minute, then two."""
    data = sp.payload(sp.metric(None, 230.0, alias=1), at_ms=MS)
    host.hear("g/DDATA/n/d", data)
    assert host.later(9).messages == []
    (letter,) = host.later(11).dead_letters
    assert (letter.reason, letter.payload) == (Reason.NO_BIRTH, data)
    assert "alias 1" in letter.detail
    assert "rebirth" in letter.detail
    for second in range(12, 600):
        batch = host.hear("g/DDATA/n/d", data, second)
        late = host.later(second)
        assert all(one.reason is Reason.NO_BIRTH for one in batch.dead_letters + late.dead_letters)
    assert len(host.asked) == 4  # at 0, 60, 180 and 420 s


def test_names_alone_need_no_birth_but_it_is_asked_for(host):
    """The node reports changes: what it said before voltd listened is in its birth."""
    batch = host.hear("g/NDATA/n", sp.payload(sp.metric("Volts", 230.0), seq=77, at_ms=MS))
    assert len(batch.meters) == 1
    assert [topic for topic, _ in host.asked] == ["spBv1.0/g/NCMD/n"]


def test_a_gap_may_have_been_a_birth(host):
    """After it aliases may mean something else, and wait for a rebirth. A number again is no gap, and 0 follows 255."""
    born(host, aliases={1: "Volts"})
    for seq in (*range(2, 256), 0, 0, 1):
        host.hear("g/DDATA/n/d", sp.payload(sp.metric(None, 230.0, alias=1), seq=seq, at_ms=MS + seq))
    assert host.asked == []
    batch = host.hear("g/DDATA/n/d", sp.payload(sp.metric(None, 16.0, alias=1), seq=3, at_ms=MS))
    assert batch.messages == []
    assert len(host.asked) == 1
    batch = born(host, aliases={1: "Amps"})
    assert [values(one) for one in batch.meters] == [{"current_a": 1.5}, {"current_a": 16.0}]


def test_a_death_ends_aliases(host):
    """Death is no sign of life; data after it waits for a birth; what waited for the dead one is refused."""
    born(host, aliases={1: "Volts"})
    batch = host.hear("g/NDEATH/n", sp.payload(sp.metric("bdSeq", 1, sp.INT64)))
    assert (batch.alive, len(batch.alive_sources), batch.dead_letters) == ([], 1, [])
    host.hear("g/DDATA/n/d", sp.payload(sp.metric(None, 230.0, alias=1), at_ms=MS))
    assert host.gathering.held
    batch = host.hear("g/NDEATH/n", sp.payload(sp.metric("bdSeq", 2, sp.INT64)))
    assert [one.reason for one in batch.dead_letters] == [Reason.NO_BIRTH]


def test_a_death_of_an_earlier_session_changes_nothing(host):
    """The broker publishes the will late, when the node is back already."""
    born(host, aliases={1: "Volts"}, session=8)
    host.hear("g/NDEATH/n", sp.payload(sp.metric("bdSeq", 7, sp.INT64)))
    batch = host.hear("g/DDATA/n/d", sp.payload(sp.metric(None, 230.0, alias=1), seq=2, at_ms=MS))
    assert [one.voltage_v for one in batch.meters] == [230.0]
    assert len(host.hear("g/DDEATH/n/d", sp.payload(seq=3, at_ms=MS)).alive_sources) == 1
    assert host.asked == []


def test_a_retained_birth_is_of_another_time(host):
    host.hear("g/NBIRTH/n", sp.birth(sp.metric("Volts", 1.0, alias=1), at_ms=MS), retained=True)
    host.hear("g/NDATA/n", sp.payload(sp.metric(None, 230.0, alias=1), seq=1, at_ms=MS))
    assert len(host.asked) == 1
    assert host.gathering.held


def test_history_is_stored_and_fires_nothing(host):
    """Like what the broker has retained; beside a value of now the message is live."""
    old = sp.metric("Volts", 230.0, at_ms=MS - 10_000, historical=True)
    batch = host.hear("g/DDATA/n/d", sp.payload(old, at_ms=MS))
    assert len(batch.meters) == 1
    assert batch.retained
    assert batch.messages[0].retained
    assert not host.hear("g/DDATA/n/d", sp.payload(old, sp.metric("Volts", 231.0), at_ms=MS)).retained


def test_nodes_do_not_share_aliases(host):
    born(host, "n1", {1: "Volts"})
    born(host, "n2", {1: "Amps"})
    data = sp.payload(sp.metric(None, 16.0, alias=1), seq=2, at_ms=MS)
    found = [values(host.hear(f"g/DDATA/{node}/d", data).meters[0]) for node in ("n1", "n2")]
    assert found == [{"voltage_v": 16.0}, {"current_a": 16.0}]


def test_commands_and_states_are_not_subscribed_to(host):
    filters = host.decoder._topics.families.filters
    assert "spBv1.0/+/NBIRTH/+" in filters
    assert "spBv1.0/+/DDATA/+/+" in filters
    assert not [one for one in filters if "CMD" in one or "STATE" in one]
    assert len(filters) == 6


# -- hostile bytes


def test_bytes_of_anybody(host):
    """Cut, flipped and random: one fate each."""
    rng = random.Random(7)
    births = sp.birth(*(sp.metric(f"m{i}", i, sp.INT32, alias=i) for i in range(20)), at_ms=MS)
    data = sp.payload(*(sp.metric(None, 1.0, alias=i) for i in range(20)), sp.metric("Volts", 1.0), seq=1, at_ms=MS)
    for _ in range(4000):
        flipped = bytearray(rng.choice([births, data, rng.randbytes(rng.randrange(1, 60))]))
        for _ in range(rng.randrange(4)):
            flipped[rng.randrange(len(flipped))] = rng.randrange(256)
        payload = bytes(flipped[: rng.randrange(len(flipped) + 1)])
        kind = rng.choice(["NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d"])
        batch = host.decoder.decode([models.Message(f"spBv1.0/g/{kind}", payload, 1, NOW)])
        assert len(batch.messages) == 1
        assert batch.readings + len(batch.dead_letters) + len(batch.alive_sources) >= 1
        assert not any("please report" in one.detail for one in batch.dead_letters)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x12\x00" * 2_000_000, Reason.TOO_MANY),
        (b"\x0b" * 1_000_000, Reason.NOT_PROTOBUF),  # groups in groups
        (b"\x12" + b"\xff" * 1_000_000, Reason.NOT_PROTOBUF),
        (b"\x12\x05ab", Reason.NOT_PROTOBUF),
        (sp.block(4, b"SPBV1.0_COMPRESSED") + sp.block(5, b"\x1f\x8b"), Reason.NOT_PROTOBUF),
        (sp.payload(*(sp.metric("Volts", 1.0) for _ in range(10_001))), Reason.TOO_MANY),
    ],
)
def test_bombs_are_refused_at_once(host, payload, reason):
    began = time.process_time()
    (letter,) = host.hear("g/DDATA/n/d", payload).dead_letters
    assert letter.reason is reason
    assert time.process_time() - began < 0.5


def test_invented_nodes_and_aliases_do_not_fill_the_memory(host, monkeypatch):
    """The oldest is forgotten, and will be asked again."""
    nodes = sys.modules["voltd.pipeline.decode.devices.sparkplug.nodes"]
    monkeypatch.setattr(nodes, "_MOST_NODES", 10)
    monkeypatch.setattr(nodes, "_MOST_ALIASES", 50)
    known = host.decoder._topics.route("spBv1.0/g/NBIRTH/n").family.listener._nodes
    for number in range(100):
        metrics = [sp.metric(f"m{alias}", 1, sp.INT32, alias=alias) for alias in range(10)]
        host.hear(f"g/NBIRTH/n{number}", sp.birth(*metrics, at_ms=MS))
        assert len(known._nodes) <= 10
        assert known._aliases == sum(one.size for one in known._nodes.values()) <= 50


# -- settings


def test_without_the_package(monkeypatch):
    package = importlib.import_module("voltd.pipeline.decode.devices.sparkplug")
    for name in ("reader", "payload"):
        monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)
        monkeypatch.delattr(package, name, raising=False)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(errors.ConfigurationError, match="protobuf") as raised:
        Host()
    assert "voltd[sparkplug]" in raised.value.hint


def test_a_share_group_would_divide_births_from_data():
    settings = config.Settings(devices={"sparkplug": config.DeviceFamily()}, mqtt={"share_group": "all"})
    with pytest.raises(errors.ConfigurationError, match="share_group"):
        families.of(settings)


def test_ids_are_made_of_the_topics_levels():
    """A template without the group, where the topics have none; the node's own id is the same without the device."""
    with pytest.raises(errors.ConfigurationError, match="group"):
        Host(topics=("spBv1.0/plant",))
    host = Host(topics=("spBv1.0/plant",), id="{node}-{device}", ids={"n-d": "M1"})
    payload = sp.payload(sp.metric("Volts", 230.0), at_ms=MS)
    found = [host.hear(f"plant/{topic}", payload).meters[0].meter_id for topic in ("DDATA/n/d", "NDATA/n")]
    assert found == ["M1", "n"]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('unit = "0..1"', 'unit = "Wh"', "soc"),
        ('path = "Energy"', 'path = ["Energy", "State"]', "becomes one field"),
        ("[special.fields]", "[special.field]", "field"),
        ("soc =", "stateOfCharge =", "stateOfCharge"),
    ],
)
def test_mistakes_are_named(tmp_path, before, after, says):
    (tmp_path / "own.toml").write_text(OWN.replace(before, after))
    with pytest.raises(errors.ConfigurationError, match=says):
        Host("own", tmp_path)


@pytest.mark.slow
def test_a_message_of_five_metrics_is_cheap(host):
    """At most so many times what a message of voltd's own format with as many fields takes; the best of 100 rounds."""
    born(host, aliases=dict(enumerate(["Wh_received", "Wh_delivered", "Watts_total", "Volts", "Amps"])))
    messages = [
        models.Message(
            "spBv1.0/g/DDATA/n/d",
            sp.payload(*(sp.metric(None, 230.5, alias=i) for i in range(5)), at_ms=MS + n),
            1,
            NOW,
        )
        for n in range(64)
    ]
    numbers = '"kwhConsumedAcTotal": 1, "kwhReturnedAcTotal": 2, "power": 3, "voltage": 230, "current": 5'
    own = f'{{"timestamp": "{NOW.isoformat()}", {numbers}}}'.encode()
    others = [models.Message("volt/meter/M1/telemetry", own, 1, NOW)] * 64

    def best(some):
        times = []
        gc.collect()
        gc.disable()
        for _ in range(100):
            began = time.process_time()
            assert len(host.decoder.decode(some).meters) == 64
            times.append(time.process_time() - began)
        gc.enable()
        return min(times)

    assert best(messages) < 15 * best(others)
