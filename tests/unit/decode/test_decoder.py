"""Payloads into readings or dead letters: every kind of input has exactly one fate and a fitting reason."""

import datetime as dt
import json
import unittest.mock
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voltd import config, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import decoder as decode
from voltd.pipeline.decode import fast, fields

NOW = dt.datetime(2026, 5, 1, 12, 0, 0, tzinfo=dt.UTC)
AT = "2026-05-01T11:59:58Z"
VEHICLE, METER, INGEST = "volt/vehicle/V1/telemetry", "volt/meter/M1/telemetry", "volt/ingest"


def decoder(**limits):
    return decode.Decoder(config.Topics(), config.Limits(**limits), 90)


def message(payload, topic=VEHICLE, **fields):
    if not isinstance(payload, bytes):
        payload = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    return models.Message(topic, payload, 1, NOW, size=len(payload), **fields)


def test_how_far_ahead_is_said_for_people():
    (letter,) = decoder().decode([message({"timestamp": "2026-05-01T13:05:00Z", "soc": 1})]).dead_letters
    assert letter.detail == "timestamp: 1 h 5 min ahead of its arrival, limits.max_future_s = 300"


def test_full_vehicle_reading():
    """Every field of the contract arrives in its column."""
    batch = decoder().decode(
        [
            message(
                {
                    "vehicleId": "V1", "timestamp": "2026-05-01T13:59:58+02:00", "soc": 55, "speed": 31.5,
                    "batteryTemp": 22.5, "kwhDeliveredDc": 0.5, "kwhDeliveredDcTotal": 100.25, "latitude": 48.1,
                    "longitude": 11.5, "chargingStatus": "CHARGING", "chargingPower": 22, "odometer": 1234.5,
                    "kwhReturnedDc": 0.25, "kwhReturnedDcTotal": 7.5, "kwhOnboardAcTotal": 110.5,
                    "timeSource": "arrival", "diagnostics": {"a": [1]},
                }
            )
        ]
    )  # fmt: skip
    (reading,) = batch.vehicles
    assert reading == models.VehicleReading(
        "V1", dt.datetime(2026, 5, 1, 11, 59, 58, tzinfo=dt.UTC), 55.0, 31.5, 22.5, 0.5, 100.25, 48.1, 11.5, "CHARGING",
        22.0, 1234.5, 0.25, 7.5, 110.5, "arrival", '{"a":[1]}', NOW,
    )  # fmt: skip
    assert (batch.dead_letters, batch.vehicle_sources, batch.unknown_fields) == ([], [(0, None)], 0)


def test_full_meter_reading():
    batch = decoder().decode(
        [message({"meterId": "M1", "timestamp": AT, "kwhConsumedAc": 1, "kwhConsumedAcTotal": 2, "voltage": 230,
                  "current": -3, "power": 4, "kwhReturnedAc": 5, "kwhReturnedAcTotal": 6, "timeSource": "arrival"},
                 METER)]
    )  # fmt: skip
    (reading,) = batch.meters
    assert reading[2:] == (1.0, 2.0, 230.0, -3.0, 4.0, 5.0, 6.0, "arrival", NOW)


def test_aliases_and_id_from_topic():
    batch = decoder().decode([message({"createdAt": AT, "temperature": 20, "note": "x", "more": 1})])
    assert batch.vehicles[0][:2] == ("V1", dt.datetime(2026, 5, 1, 11, 59, 58, tzinfo=dt.UTC))
    assert batch.vehicles[0].battery_temp_c == 20.0
    assert batch.unknown_fields == 2


def test_envelopes_single_and_in_arrays():
    vehicle = {"type": "VEHICLE", "payload": {"vehicleId": "V9", "timestamp": AT, "soc": 1}}
    meter = {"type": "METER", "payload": {"meterId": "M9", "timestamp": AT, "power": 1}}
    batch = decoder().decode([message(vehicle, INGEST), message([meter, {"type": "PUMP", "payload": {}}], INGEST)])
    assert [batch.vehicles[0].vehicle_id, batch.meters[0].meter_id] == ["V9", "M9"]
    assert [(letter.reason, letter.element) for letter in batch.dead_letters] == [(Reason.UNKNOWN_TYPE, 1)]


def test_array_elements_have_their_own_fate():
    """The good elements are stored, the bad ones dead-lettered one by one with their index."""
    elements = [{"timestamp": AT, "soc": 1}, {"timestamp": AT, "soc": 101}, 7, {"timestamp": AT, "soc": 3}]
    batch = decoder().decode([message(elements)])
    assert [reading.soc_pct for reading in batch.vehicles] == [1.0, 3.0]
    assert batch.vehicle_sources == [(0, 0), (0, 3)]
    assert [(letter.reason, letter.element) for letter in batch.dead_letters] == [
        (Reason.OUT_OF_RANGE, 1),
        (Reason.NOT_AN_OBJECT, 2),
    ]
    assert json.loads(batch.dead_letters[0].payload) == elements[1]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"hello", Reason.NOT_JSON),
        (b'{"timestamp":"%b","soc":1' % AT.encode(), Reason.NOT_JSON),
        (b'\xff\xfe{"soc":1}', Reason.NOT_JSON),
        (b'{"timestamp":"%b","chargingStatus":"\xff"}' % AT.encode(), Reason.NOT_JSON),
        (f'{{"timestamp":"{AT}","chargingStatus":"\\ud800"}}', Reason.NOT_JSON),
        ('{"timestamp":"' + AT + '","diagnostics":' + '{"a":' * 500 + "1" + "}" * 501, Reason.NOT_JSON),
        ("null", Reason.NOT_AN_OBJECT),
        ("7", Reason.NOT_AN_OBJECT),
        ({"soc": 1}, Reason.MISSING_FIELD),
        ({"timestamp": AT, "soc": "55,5"}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "soc": "0x37"}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "soc": " 55"}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "soc": ""}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "soc": "1e999"}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "soc": True}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "diagnostics": [1]}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "vehicleId": 7, "soc": 1}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "soc": 100.01}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "soc": -1}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "speed": 401}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "batteryTemp": -61}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "kwhDeliveredDc": -0.1}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "kwhDeliveredDcTotal": 1e10}, Reason.OUT_OF_RANGE),
        ({"timestamp": AT, "longitude": 181}, Reason.OUT_OF_RANGE),
        (f'{{"timestamp":"{AT}","soc":NaN}}', Reason.OUT_OF_RANGE),
        (f'{{"timestamp":"{AT}","speed":Infinity}}', Reason.OUT_OF_RANGE),
        (f'{{"timestamp":"{AT}","speed":1e999}}', Reason.OUT_OF_RANGE),
        (f'{{"timestamp":"{AT}","diagnostics":{{"a":NaN}}}}', Reason.OUT_OF_RANGE),
        ({"timestamp": "2026-05-01T12:00:00", "soc": 1}, Reason.BAD_TIME),
        ({"timestamp": "yesterday", "soc": 1}, Reason.BAD_TIME),
        ({"timestamp": 1777636800_000_000, "soc": 1}, Reason.BAD_TIME),
        ({"timestamp": True, "soc": 1}, Reason.BAD_TIME),
        ({"timestamp": [2026], "soc": 1}, Reason.BAD_TIME),
        (f'{{"timestamp":{"9" * 400},"soc":1}}', Reason.BAD_TIME),
        ('{"timestamp":NaN,"soc":1}', Reason.BAD_TIME),
        ({"timestamp": 12345, "soc": 1}, Reason.TOO_OLD),
        ({"timestamp": -1, "soc": 1}, Reason.TOO_OLD),
        ({"timestamp": 4102444800, "soc": 1}, Reason.IN_FUTURE),
        ({"timestamp": "2026-05-01T12:05:01Z", "soc": 1}, Reason.IN_FUTURE),
        ({"timestamp": "2026-01-31T11:59:59Z", "soc": 1}, Reason.TOO_OLD),
        ({"timestamp": "2021-01-31T11:59:59Z", "soc": 999}, Reason.TOO_OLD),
        ({"timestamp": "0001-01-01T00:00:00+14:00", "soc": 1}, Reason.TOO_OLD),
        ({"timestamp": "9999-12-31T23:59:59-14:00", "soc": 1}, Reason.IN_FUTURE),
        ({"timestamp": AT}, Reason.NO_MEASUREMENT),
        ({"timestamp": AT, "SOC": None}, Reason.NO_MEASUREMENT),
        ({"timestamp": AT, "power": 1}, Reason.NO_MEASUREMENT),
        ({"timestamp": AT, "soc": None, "speed": "fast"}, Reason.WRONG_TYPE),
        ({"timestamp": AT, "soc": 101, "speed": "fast"}, Reason.OUT_OF_RANGE),
        (b"{}{}", Reason.NOT_JSON),
        (b"\x1f\x8b\x08\x00\x00", Reason.NOT_JSON),
        ([], Reason.NO_MEASUREMENT),
        ({"timestamp": AT, "chargingStatus": "a\0b"}, Reason.BAD_TEXT),
        ({"timestamp": AT, "chargingStatus": "x" * 33}, Reason.BAD_TEXT),
        ({"timestamp": AT, "diagnostics": {"a": {"b\0": 1}}}, Reason.BAD_TEXT),
        ({"timestamp": AT, "vehicleId": "", "soc": 1}, Reason.BAD_TEXT),
        ({"timestamp": AT, "vehicleId": "V2", "soc": 1}, Reason.ID_MISMATCH),
        ([{"timestamp": AT, "soc": 1}] * 3, Reason.TOO_MANY),
        ("x" * 8193, Reason.TOO_LARGE),
    ],
)
def test_bad_input_is_one_dead_letter_with_a_fitting_reason(payload, reason):
    """Invariant 3: what can never be stored is a dead letter with a reason of the bounded list."""
    batch = decoder(max_array_readings=2, max_payload_bytes=8192).decode([message(payload)])
    assert batch.dead_letters[0].reason == reason
    assert len(batch.dead_letters) == 1 or all(letter.nothing_left for letter in batch.dead_letters)
    assert batch.readings == 0
    assert batch.dead_letters[0].detail


def test_edges_of_the_time_limits_are_stored():
    edges = ["2026-05-01T12:05:00Z", "2026-01-31T12:00:00Z"]
    batch = decoder().decode([message({"timestamp": at, "soc": 1}) for at in edges])
    assert (batch.readings, batch.dead_letters) == (2, [])


def test_text_that_spells_backslash_u0000_is_stored():
    """A status of six ordinary characters is not a NUL."""
    batch = decoder().decode([message('{"timestamp":"%s","chargingStatus":"a\\\\u0000"}' % AT)])  # noqa: UP031
    assert [reading.charging_status for reading in batch.vehicles] == ["a\\u0000"]


def test_escaped_backslash_before_u0000_is_no_nul():
    """JSON text that spells a backslash followed by u0000 is fine for PostgreSQL."""
    batch = decoder().decode([message('{"timestamp":"%s","diagnostics":{"a":"\\\\u0000"}}' % AT)])  # noqa: UP031
    assert batch.readings == 1


def test_unknown_topic():
    batch = decoder().decode([message({"timestamp": AT, "soc": 1}, "other/topic")])
    assert batch.dead_letters[0].reason is Reason.UNKNOWN_TOPIC


def test_id_in_an_envelope_is_required():
    batch = decoder().decode([message({"type": "VEHICLE", "payload": {"timestamp": AT, "soc": 1}}, INGEST)])
    assert batch.dead_letters[0].reason is Reason.MISSING_FIELD


def test_topic_filter_with_several_levels():
    """The last + of a filter is the device id."""
    topics = config.Topics(vehicle=("fleet/+/car/+/up",), meter=(), ingest=())
    batch = decode.Decoder(topics, config.Limits(), 90).decode(
        [message({"timestamp": AT, "soc": 1}, "fleet/f7/car/c9/up")]
    )
    assert batch.vehicles[0].vehicle_id == "c9"


def test_shared_subscription():
    """The topics of $share/<group>/<filter> are those of the filter."""
    topics = config.Topics(vehicle=("$share/g/cars/+",), meter=(), ingest=())
    batch = decode.Decoder(topics, config.Limits(), 90).decode([message({"timestamp": AT, "soc": 1}, "cars/c9")])
    assert batch.vehicles[0].vehicle_id == "c9"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
MEASURED = sorted(readings.names())
FIELDS = st.sampled_from(["vehicleId", "meterId", "timestamp", "createdAt", "type", "payload"])
FIELDS |= st.sampled_from(MEASURED)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # two cores shared with servers
@given(
    payload=st.binary(max_size=200)
    | st.dictionaries(FIELDS, JSON | st.just(AT)).map(lambda value: json.dumps(value).encode())
    | st.lists(st.dictionaries(FIELDS, JSON | st.just(AT)), max_size=4).map(lambda value: json.dumps(value).encode()),
    topic=st.sampled_from([VEHICLE, METER, INGEST, "x"]),
)
def test_any_bytes_have_exactly_one_fate(payload, topic):
    """Invariant 3, for arbitrary input: a message without array is a reading, a sign of life or a dead letter."""
    batch = decoder().decode([message(payload, topic)])
    bad = {letter.element for letter in batch.dead_letters if letter.nothing_left or not letter.partial}
    fates = batch.readings + batch.signs_of_life + len(bad)
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        value = None
    array = isinstance(value, list) and topic != "x"
    whole = [letter for letter in batch.dead_letters if letter.element is None and not letter.partial]
    assert fates == (max(len(value), 1) if array and not whole else 1)


VALUES = st.one_of(
    st.sampled_from(["64", "-0.5", "1e2", "1_0", "٣", "64,5", -127, 85.0]),
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=70),
    st.just("x" * 33),
)
_NAIVE = NOW.replace(tzinfo=None)
DATES = st.datetimes(_NAIVE - dt.timedelta(days=100), _NAIVE, timezones=st.just(dt.UTC))
TIME_TEXT = r"2026-0[45]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?([.,][0-9]{0,9})?(Z|z|[+-]0[0-9]:?00)?"
EPOCHS = DATES.map(dt.datetime.timestamp)
EPOCHS |= EPOCHS.map(int) | EPOCHS.map(lambda at: at * 1000) | EPOCHS.map(lambda at: int(at * 1000)) | st.floats()
TIMES = DATES.map(dt.datetime.isoformat) | st.from_regex(TIME_TEXT, fullmatch=True) | st.just(AT) | EPOCHS
WIRE = ["vehicleId", "meterId", "createdAt", "firmware", *MEASURED]
SETTINGS = [
    {},
    {"bad_field": "reject"},
    {"negative_is_returned": True, "numbers_as_text": False},
    {"ignore": {"batteryTemp": [-127, 85.0], "soc": [0, "64"], "voltage": [1]}},
]
GOOD = {
    "timestamp": TIMES,
    "soc": st.floats(0, 100),
    "power": st.floats(-1e9, 1e9),
    "vehicleId": st.just("V1"),
    "diagnostics": st.dictionaries(st.text(max_size=3), JSON, max_size=3),
}


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(
    fields=st.dictionaries(st.sampled_from(WIRE), VALUES, max_size=6),
    good=st.fixed_dictionaries({}, optional=GOOD),
    topic=st.sampled_from([VEHICLE, METER, INGEST]),
    array=st.sampled_from([0, 1, 3]),
    limits=st.sampled_from(SETTINGS),
)
def test_fast_and_slow_way_agree(fields, good, topic, array, limits):
    """Whatever the fast decoder takes, the slow one takes with the same values; alone, in an array, in an envelope."""
    value = fields | good
    if topic == INGEST:
        value = {"type": "METER" if "power" in value else "VEHICLE", "payload": value}
    arrived = message([value] * array if array else value, topic)
    quick = decoder(**limits).decode([arrived])
    slow = decoder(**limits)
    refuse: Any = {"add": lambda *_: False, "add_array": lambda *_, **_k: False}
    with unittest.mock.patch.multiple(fast, **refuse):
        thorough = slow.decode([arrived])
    assert quick.vehicles == thorough.vehicles
    assert quick.meters == thorough.meters
    assert (quick.unknown_fields, quick.unknown_names) == (thorough.unknown_fields, thorough.unknown_names)
    assert quick.alive == thorough.alive
    assert [letter[2:] for letter in quick.dead_letters] == [letter[2:] for letter in thorough.dead_letters]


def test_a_defect_of_the_decoder_is_a_dead_letter(monkeypatch):
    """It must not become a crash loop over one message: the others are decoded, and this one is kept."""

    def defect(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(fields.FieldReader, "read", defect)
    good, odd = message('{"timestamp":"%s","soc":5}' % AT), message('{"timestamp":"%s","soc":"5"}' % AT)  # noqa: UP031
    with structlog.testing.capture_logs() as logs:
        batch = decoder().decode([good, odd, good])
    (letter,) = batch.dead_letters
    assert (len(batch.vehicles), letter.message, letter.payload) == (2, odd, odd.payload)
    assert letter.detail == "voltd could not decode it (ZeroDivisionError): please report this"
    assert [one["event"] for one in logs] == ["message.decode_failed"]


def test_an_ignored_value_of_an_object_does_not_refuse_an_array():
    """Each element is stored, with its diagnostics or without."""
    limits = config.Limits.model_validate({"ignore": {"diagnostics": ["x"]}})
    body = '[{"timestamp":"%s","soc":5,"diagnostics":{"a":1}},{"timestamp":"%s","soc":6}]' % (AT, AT)  # noqa: UP031
    batch = decode.Decoder(config.Topics(), limits, 90).decode([message(body)])
    assert ([one.soc_pct for one in batch.vehicles], batch.dead_letters) == ([5, 6], [])
