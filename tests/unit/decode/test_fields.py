"""One bad field does not take the others down: every field of every message has exactly one fate."""

import datetime as dt
import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voltd import config, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import decoder, fast
from voltd.pipeline.decode import fields as decode_fields
from voltd.pipeline.flush import circuit_breaker

NOW = dt.datetime(2026, 5, 1, 12, 0, 0, tzinfo=dt.UTC)
AT = "2026-05-01T11:59:58Z"
VEHICLE, METER, INGEST = "volt/vehicle/V1/telemetry", "volt/meter/M1/telemetry", "volt/ingest"


def decoded(payload, topic=VEHICLE, *, retained=False, **limits):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    message = models.Message(topic, body, 1, NOW, retained=retained, size=len(body))
    return decoder.Decoder(config.Topics(), config.Limits(**limits), 90).decode([message])


def stored(batch):
    """The values of the only reading, by column, without those that are missing."""
    (reading,) = batch.vehicles + batch.meters
    return {name: value for name, value in list(reading._asdict().items())[2:-1] if value is not None}


def refused(batch):
    """Field, reason and whether the rest was taken, of each dead letter."""
    return [(letter.field, letter.reason, letter.partial) for letter in batch.dead_letters]


@pytest.mark.parametrize(
    ("fields", "values", "bad"),
    [
        ({"soc": 64, "batteryTemp": -127, "kwhDeliveredDcTotal": 88.1}, {"soc_pct": 64, "dc_register_kwh": 88.1},
         [("batteryTemp", Reason.OUT_OF_RANGE)]),
        ({"soc": 64, "kwhDeliveredDc": -0.21}, {"soc_pct": 64}, [("kwhDeliveredDc", Reason.OUT_OF_RANGE)]),
        ({"soc": 64, "speed": -0.3}, {"soc_pct": 64}, [("speed", Reason.OUT_OF_RANGE)]),
        ({"soc": 64, "temperature": 999}, {"soc_pct": 64}, [("temperature", Reason.OUT_OF_RANGE)]),
        ({"soc": 64, "speed": "fast", "odometer": [1]}, {"soc_pct": 64},
         [("speed", Reason.WRONG_TYPE), ("odometer", Reason.WRONG_TYPE)]),
        ({"soc": 64, "chargingStatus": "x" * 33}, {"soc_pct": 64}, [("chargingStatus", Reason.BAD_TEXT)]),
        ({"soc": 64, "chargingStatus": "a\0"}, {"soc_pct": 64}, [("chargingStatus", Reason.BAD_TEXT)]),
        ({"soc": 64, "diagnostics": {"a": "\0"}}, {"soc_pct": 64}, [("diagnostics", Reason.BAD_TEXT)]),
        ({"soc": 64, "diagnostics": "none"}, {"soc_pct": 64}, [("diagnostics", Reason.WRONG_TYPE)]),
        ({"soc": 64, "speed": float("nan")}, {"soc_pct": 64}, [("speed", Reason.OUT_OF_RANGE)]),
        ({"soc": True, "speed": 5}, {"speed_kmh": 5}, [("soc", Reason.WRONG_TYPE)]),
        ({"soc": 10**200, "speed": 5}, {"speed_kmh": 5}, [("soc", Reason.OUT_OF_RANGE)]),
        ({"batteryTemp": 20, "temperature": 21}, {"battery_temp_c": 20}, [("temperature", Reason.CONFLICT)]),
        ({"batteryTemp": 20, "temperature": 20}, {"battery_temp_c": 20}, []),
        ({"batteryTemp": None, "temperature": 21}, {"battery_temp_c": 21}, []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("array", [False, True])
def test_a_bad_field_is_a_dead_letter_by_itself(fields, values, bad, array):
    """The rest is stored; the letter names field, value and device and has the whole reading as payload."""
    body = {"timestamp": AT, **fields}
    batch = decoded([body] if array else body)
    assert stored(batch) == values
    assert refused(batch) == [(field, reason, True) for field, reason in bad]
    for letter in batch.dead_letters:
        assert (letter.device_type, letter.device_id, letter.element) == ("vehicle", "V1", 0 if array else None)
        assert letter.detail.startswith(f"{letter.field}: ")
        assert json.loads(letter.payload)["timestamp"] == AT


def test_the_old_way_is_a_setting():
    """limits.bad_field = "reject": one bad field, and the reading is a dead letter whole."""
    batch = decoded({"timestamp": AT, "soc": 64, "batteryTemp": -127}, bad_field="reject")
    assert (batch.readings, refused(batch)) == (0, [("batteryTemp", Reason.OUT_OF_RANGE, False)])


def test_a_reading_whose_fields_are_all_bad():
    """No empty row and no sign of life: each field is named, and marked as of a message that left nothing."""
    body = {"timestamp": AT, "soc": 101, "speed": "fast", "odometer": None}
    batch = decoded(body)
    assert (batch.readings, batch.signs_of_life) == (0, 0)
    assert refused(batch) == [("soc", Reason.OUT_OF_RANGE, True), ("speed", Reason.WRONG_TYPE, True)]
    assert [letter.nothing_left for letter in batch.dead_letters] == [True, True]
    assert {letter.device_id for letter in batch.dead_letters} == {"V1"}
    assert not decoded({**body, "odometer": 1}).dead_letters[0].nothing_left
    assert refused(decoded(body, bad_field="reject")) == [("soc", Reason.OUT_OF_RANGE, False)]


@pytest.mark.parametrize("text", ["64", "64.0", "+64", "6.4e1", "640e-1", "064", "64."])
def test_a_number_as_text(text):
    """What is plainly a number is taken; with the setting off it is a wrong type."""
    body = {"timestamp": AT, "soc": text, "speed": 3}
    assert stored(decoded(body)) == {"soc_pct": 64, "speed_kmh": 3}
    batch = decoded(body, numbers_as_text=False)
    assert (stored(batch), refused(batch)) == ({"speed_kmh": 3}, [("soc", Reason.WRONG_TYPE, True)])
    assert "limits.numbers_as_text" in batch.dead_letters[0].detail


@pytest.mark.parametrize(
    "text", ["64,0", " 64", "64 ", "0x40", "NaN", "inf", "1_0", "٣", "6 4", "", "--1", "1e", "6" * 500]
)
def test_a_text_that_is_no_plain_number(text):
    batch = decoded({"timestamp": AT, "soc": text, "speed": 3})
    assert (stored(batch), refused(batch)) == ({"speed_kmh": 3}, [("soc", Reason.WRONG_TYPE, True)])


def test_values_that_stand_for_none_are_left_out_silently():
    """limits.ignore: by number or text, under either name, and counted; other values of the field stay."""
    ignore = {"batteryTemp": [-127, 85.0], "soc": ["N/A"], "chargingStatus": ["unknown"]}
    for fields in ({"batteryTemp": 85}, {"temperature": -127.0}, {"batteryTemp": "-127"}, {"soc": "N/A"},
                   {"chargingStatus": "unknown"}):  # fmt: skip
        for body in ({"timestamp": AT, "speed": 3, **fields}, [{"timestamp": AT, "speed": 3, **fields}]):
            batch = decoded(body, ignore=ignore)
            assert (stored(batch), batch.dead_letters, batch.ignored_fields) == ({"speed_kmh": 3}, [], 1)
    assert stored(decoded({"timestamp": AT, "batteryTemp": 84.9}, ignore=ignore)) == {"battery_temp_c": 84.9}


@pytest.mark.parametrize("zeros", [(0, 0), (0.0, -0.0), ("0", "0.0"), (0, "0")])
@pytest.mark.parametrize("more", [{}, {"firmware": 3}, {"temperature": 20.5}, {"soc": 200}])
def test_a_position_of_zero_is_no_fix(zeros, more):
    """Both fields are left out and counted; all else of the reading is as it is without them, alone and in an array."""
    rest = {"timestamp": AT, "odometer": 30, **more}
    body = rest | dict(zip(readings.POSITION, zeros, strict=True))
    plain = decoded(rest)
    for payload in (body, [body], [{"timestamp": AT, "latitude": None}, body]):
        batch = decoded(payload)
        assert (stored(batch), refused(batch)) == (stored(plain), refused(plain))
        assert (batch.ignored_fields, batch.unknown_fields) == (2, plain.unknown_fields)
    assert decoded(body | {"soc": 64}, bad_field="reject").ignored_fields == 2


@pytest.mark.parametrize("position", [(0, 11.5), (48.1, 0), (0.000001, 0), (0, None)])
def test_a_position_on_the_equator_or_the_prime_meridian_is_one(position):
    there = {name: value for name, value in zip(readings.POSITION, position, strict=True) if value is not None}
    for body in ({"timestamp": AT, **there}, [{"timestamp": AT, **there}]):
        batch = decoded(body)
        assert (stored(batch), batch.ignored_fields) == (there, 0)


def test_no_fix_and_nothing_else_is_a_sign_of_life():
    """In arrays and envelopes, too; a meter has no position."""
    nowhere = {"timestamp": AT, "latitude": 0, "longitude": 0}
    for payload, topic in ((nowhere, VEHICLE), ([nowhere], VEHICLE),
                           ({"type": "VEHICLE", "payload": nowhere | {"vehicleId": "V1"}}, INGEST)):  # fmt: skip
        batch = decoded(payload, topic)
        assert (batch.readings, batch.dead_letters, batch.signs_of_life) == (0, [], 1)
    assert decoded(nowhere | {"power": 1}, METER).unknown_names.keys() == {
        (models.DeviceType.METER, name) for name in readings.POSITION
    }


@pytest.mark.parametrize(
    ("topic", "interval", "returned"),
    [(VEHICLE, "kwhDeliveredDc", "kwh_returned_dc"), (METER, "kwhConsumedAc", "kwh_returned_ac")],
)
def test_a_negative_interval_is_returned_energy_where_the_setting_says_so(topic, interval, returned):
    """Its amount goes into the field of its own; the interval's own field stays empty."""
    body = {"timestamp": AT, interval: -0.21}
    assert stored(decoded(body, topic, negative_is_returned=True)) == {returned: 0.21}
    assert refused(decoded(body, topic)) == [(interval, Reason.OUT_OF_RANGE, True)]
    assert "limits.negative_is_returned" in decoded(body, topic).dead_letters[0].detail
    own = {VEHICLE: "kwhReturnedDc", METER: "kwhReturnedAc"}[topic]
    assert stored(decoded({**body, own: 0.21}, topic, negative_is_returned=True)) == {returned: 0.21}
    zero = decoded({**body, own: 0}, topic, negative_is_returned=True)
    assert (stored(zero), refused(zero)) == ({returned: 0.21}, []), "a device that always sends both"
    both = decoded({**body, own: 0.3}, topic, negative_is_returned=True)
    assert (stored(both), refused(both)) == ({returned: 0.3}, [(interval, Reason.CONFLICT, True)])


def test_returned_energy_has_fields_of_its_own():
    assert stored(decoded({"timestamp": AT, "kwhReturnedDc": "1", "kwhReturnedDcTotal": 7})) == {
        "kwh_returned_dc": 1, "dc_returned_register_kwh": 7,
    }  # fmt: skip
    assert stored(decoded({"timestamp": AT, "kwhReturnedAc": 1, "kwhReturnedAcTotal": "7"}, METER)) == {
        "kwh_returned_ac": 1, "ac_returned_register_kwh": 7,
    }  # fmt: skip


@pytest.mark.parametrize("body", [{"soc": None}, {"soc": None, "speed": None, "firmware": 3}, {"batteryTemp": -127}])
def test_nothing_measured_is_a_sign_of_life(body):
    """Known fields that are all null, or stand for no value: neither reading nor dead letter; not of retained ones."""
    ignore = {"batteryTemp": [-127]}
    batch = decoded({"timestamp": AT, **body}, ignore=ignore)
    assert (batch.readings, batch.dead_letters, batch.signs_of_life) == (0, [], 1)
    assert batch.alive == [(models.DeviceType.VEHICLE, "V1", NOW)]
    assert decoded({"timestamp": AT, **body}, ignore=ignore, retained=True).alive == []


@pytest.mark.parametrize(
    ("payload", "reason", "said"),
    [
        ({"Time": AT, "soc": 1}, Reason.MISSING_FIELD, "no timestamp; found Time"),
        ({"ts": 1777636800, "soc": 1}, Reason.MISSING_FIELD, "no timestamp; found ts"),
        ({"data": {"timestamp": AT, "soc": 1}}, Reason.MISSING_FIELD, "values are nested: timestamp is in data"),
        ({"soc": 1}, Reason.MISSING_FIELD, "no timestamp"),
        ({"timestamp": AT, "data": {"soc": 1}}, Reason.NO_MEASUREMENT, "values are nested: soc is in data"),
        ({"timestamp": AT, "SOC": 1}, Reason.NO_MEASUREMENT, "SOC (did you mean soc?)"),
        ({"timestamp": AT, "kwhConsumedAc": 1}, Reason.NO_MEASUREMENT, "kwhConsumedAc belongs to the other one"),
        (b"64", Reason.NOT_AN_OBJECT, "a bare value, 64"),
        (b'"on"', Reason.NOT_AN_OBJECT, "a bare value, 'on'"),
        ([[1]], Reason.NOT_AN_OBJECT, "an array within an array"),
        ({"timestamp": "2026-05-01T12:00:00", "soc": 1}, Reason.BAD_TIME, "timestamps.zone"),
        ({"timestamp": 1777636800000000, "soc": 1}, Reason.BAD_TIME, "neither seconds nor milliseconds"),
        ({"timestamp": AT, "speed": "3,5"}, Reason.WRONG_TYPE, "write it with a dot"),
        ({"timestamp": AT, "soc": 101}, Reason.OUT_OF_RANGE, "soc: should be at most 100, not 101"),
    ],
)
def test_the_detail_says_what_was_probably_meant(payload, reason, said):
    (letter,) = decoded(payload).dead_letters
    assert letter.reason is reason
    assert said in letter.detail


def test_unknown_fields_are_counted_by_name():
    """Also beside a bad field, in arrays, and where nothing else is known."""
    bodies = [{"timestamp": AT, "soc": 1, "kwhDeliveredDCTotal": 5}, {"timestamp": AT, "fw": 1}]
    bodies += [{"timestamp": AT, "soc": 200, "speed": 1, "fw": 1}]
    batch = decoded(bodies)
    vehicle = models.DeviceType.VEHICLE
    assert batch.unknown_names == {(vehicle, "kwhDeliveredDCTotal"): 1, (vehicle, "fw"): 2}
    assert batch.unknown_fields == 3


def test_both_ways_have_the_same_fields_and_bounds():
    """The fast way's structs and the thorough way's table are one contract."""
    for device_type, parser in fast.PARSERS.items():
        family = decode_fields.FieldReader(device_type, config.Limits())
        decode: Any = parser._tolerant
        struct = decode.__self__.type
        names = dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
        own = set(names) - {"timestamp", readings.id_name(device_type)}
        assert own == family.fields.keys() - fast.ALIASES
        types = typing.get_type_hints(struct, include_extras=True)
        for name in own:
            metas = [m for one in typing.get_args(types[names[name]]) for m in getattr(one, "__metadata__", ())]
            bounds = [(m.ge, m.le) for m in metas if isinstance(m, msgspec.Meta) and m.ge is not None]
            if bounds:
                assert bounds == [(family.fields[name].low, family.fields[name].high)], name


def test_a_fleet_with_a_bad_sensor_does_not_stop_the_stream():
    """The circuit breaker counts messages that are nothing but dead letters: of these a reading was stored."""
    guard = circuit_breaker.CircuitBreaker(config.DeadLetters.model_validate({"ratio_over": 100, "max_run": 20}))
    body = json.dumps({"timestamp": AT, "soc": 64, "batteryTemp": -127}).encode()
    messages = [models.Message(f"volt/vehicle/V{number}/telemetry", body, number, NOW) for number in range(500)]
    batch = decoder.Decoder(config.Topics(), config.Limits(), 90).decode(messages)
    assert (batch.readings, len(batch.dead_letters)) == (500, 500)
    assert guard.evaluate(batch) is None


VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=40)
)
VALUES |= st.sampled_from(["64", "-1", "1e3", "5,5"]) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    fields=st.dictionaries(st.sampled_from([*sorted(readings.names()), "firmware", "SOC"]), VALUES, max_size=8),
    topic=st.sampled_from([VEHICLE, METER]),
    returned=st.booleans(),
)
def test_every_field_has_exactly_one_fate(fields, topic, returned):
    """Stored, refused by name, left out as null, or unknown: the counts add up to the fields of the message."""
    limits = {"negative_is_returned": returned, "ignore": {"voltage": [0], "soc": [0, "64"]}}
    batch = decoded({"timestamp": AT, **fields}, topic, **limits)
    whole = [letter for letter in batch.dead_letters if not letter.partial]
    if whole:
        assert (len(batch.dead_letters), batch.readings, batch.signs_of_life) == (1, 0, 0)
        return
    device_type = models.DeviceType.VEHICLE if topic == VEHICLE else models.DeviceType.METER
    known = {name for name in fields if name in readings.known_names(device_type) | fast.ALIASES
             and (topic == VEHICLE or name != "temperature")}  # fmt: skip
    assert batch.unknown_fields == len(fields) - len(known)
    nulls = sum(fields[name] is None for name in known)
    bad = [letter.field for letter in batch.dead_letters]
    assert len(set(bad)) == len(bad)
    values = stored(batch) if batch.readings else {}
    twice = len(known) - nulls - len(bad) - batch.ignored_fields - len(values)
    # Two names may fill one column with the same value.
    assert 0 <= twice <= 2
    assert twice == 0 or "temperature" in fields or returned
    assert batch.signs_of_life == (not values and not bad)
    assert all(letter.nothing_left == (not batch.readings) for letter in batch.dead_letters)
