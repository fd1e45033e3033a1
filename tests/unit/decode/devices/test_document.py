"""Documents: the compiled way and the thorough way read the same."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support import families as support
from voltd import config
from voltd.models import DeviceType, Reason
from voltd.pipeline.decode import fields, timestamp
from voltd.pipeline.decode.devices import compiled, description, document

FIELDS = {
    "kwhConsumedAcTotal": {"path": "E.Total", "unit": "Wh", "less": "E.Back"},
    "power": {"path": "E.Power", "unit": "W", "take": "sum", "negate": True, "ignore": [-1, "none"]},
    "voltage": {"path": ["V", "E.V"], "unit": "mV", "take": "mean"},
    "current": {"path": "I", "unit": "A", "unless": "E.other"},
}
NUMBER = (
    st.integers(-5, 1_000_000) | st.floats(-1e6, 1e10) | st.sampled_from([None, "12.5", "x", "none", True, -1, 1e300])
)
MAYBE = {
    "E": st.fixed_dictionaries({}, optional={
        "Total": NUMBER, "Back": NUMBER, "Power": NUMBER | st.lists(NUMBER, max_size=3), "V": NUMBER, "other": NUMBER,
    }) | NUMBER,
    "V": NUMBER | st.lists(NUMBER, max_size=3),
    "I": NUMBER,
    "t": st.sampled_from(["2026-05-01T11:59:00Z", "2026-05-01T13:59:00+02:00", "2026-05-01T11:59:00", 1777636740,
                          1777636740.5, 1777636740000, "x", None, "1777636740", 1e20, True]),
    "n": st.sampled_from(["m1", "", "x" * 70, 5, None, "a\0b"]),
}  # fmt: skip


def of(more=None, **limits):
    found = description.Document(fields=FIELDS, time="t", id_path="n", **(more or {}))
    allowed = config.Limits(**limits)
    clock = timestamp.TimestampReader(epoch=True, as_text=allowed.numbers_as_text)
    reader = document.DocumentReader(found, DeviceType.METER, allowed, clock, None)
    return reader, compiled.compile_document(found, DeviceType.METER, allowed, None, epoch=True)


@pytest.mark.parametrize("others", ["refuse", "pass"])
@pytest.mark.parametrize("limits", [{}, {"ignore": {"current": [7.0]}, "negative_is_returned": True}])
def test_both_ways_read_the_same(others, limits):
    reader, quick = of({"others": others}, **limits)
    taken = []

    @given(value=st.fixed_dictionaries({}, optional=MAYBE))
    @example(value={"n": "m1", "t": 1777636740, "E": {"Total": 5.5, "Power": 1.5}, "V": 5})
    def compare(value):
        payload = json.dumps(value).encode()
        try:
            at, written, columns = quick(payload)
        except Exception:  # noqa: BLE001 the thorough way's
            return
        if not written or len(written) > 64 or columns.count(None) == len(columns):
            return
        message = support.message("x", payload)
        slow = reader._slowly(message, None)
        assert (slow.at, slow.device_id, tuple(slow.columns), list(slow.bad)) == (at, written, columns, [])
        taken.append(value)

    compare()
    assert taken  # some go the compiled way


def test_each_field_has_its_fate():
    reader, _ = of()
    payload = json.dumps(
        {"n": "m1", "t": 1777636740, "E": {"Total": "x", "Back": 3, "Power": [1, 2]}, "V": 5e9, "I": 3}
    )
    (found,) = reader.read(support.message("x", payload), None)
    assert found.at == dt.datetime(2026, 5, 1, 11, 59, tzinfo=dt.UTC)
    assert found.columns[:5] == [None, None, None, 3.0, -0.003]
    assert [(one.reason, one.field, one.detail) for one in found.bad] == [
        (
            Reason.WRONG_TYPE,
            "kwhConsumedAcTotal",
            "kwhConsumedAcTotal: a number belongs here, not the text 'x' (from E.Total in Wh)",
        ),
        (Reason.OUT_OF_RANGE, "voltage", "voltage: should be at most 1000, not 5000000.0 (from V in mV)"),
    ]


@pytest.mark.parametrize(
    ("payload", "reason", "says"),
    [
        ("{", Reason.NOT_JSON, "cut short"),
        ("[1]", Reason.NOT_AN_OBJECT, ""),
        ('{"n":"m1","t":1777636740,"x":1}', Reason.NO_MEASUREMENT, "nothing of what is read from it: E.Total, E.Power"),
        ('{"n":"m1","t":"soon","I":1}', Reason.BAD_TIME, "t: not RFC 3339"),
        ('{"t":1777636740,"I":1}', Reason.MISSING_FIELD, "n: needed"),
    ],
)
def test_refuses(payload, reason, says):
    reader, _ = of()
    with pytest.raises(fields.Invalid) as refused:
        reader.read(support.message("x", payload), None)
    assert refused.value.refusal.reason is reason
    assert says in refused.value.refusal.detail


@pytest.mark.parametrize(
    ("payload", "kwh", "kw"),
    [
        ({"a": 1.5, "b": 2, "p": 1, "q": 2}, 3.5, 3.0),
        ({"a": 1.5, "b": None, "p": 1, "q": None}, None, 1.0),
        ({"a": "1.5", "p": 1}, None, 1.0),
        ({"a": [1, 2], "b": [3], "p": [1, None]}, 6.0, 1.0),
        ({"a": [1, None], "b": 3, "p": 1}, None, 1.0),
    ],
)
def test_a_sum_of_registers_needs_all_of_them(payload, kwh, kw):
    """Of tariffs one alone would be a register that falls; of phases one may be all there are."""
    found = description.Document(
        fields={
            "kwhConsumedAcTotal": {"path": ["a", "b"], "take": "sum", "unit": "kWh"},
            "power": {"path": ["p", "q"], "take": "sum", "unit": "kW"},
        }
    )
    clock = timestamp.TimestampReader(epoch=True, as_text=True)
    reader = document.DocumentReader(found, DeviceType.METER, config.Limits(), clock, None)
    (one,) = reader.read(support.message("x", json.dumps(payload)), "m")
    assert (one.columns[1], one.columns[4]) == (kwh, kw)


def test_a_local_time_without_a_zone_is_dated_by_arrival():
    reader, _ = of()
    (found,) = reader.read(support.message("x", '{"n":"m1","t":"2026-05-01T11:59:00","I":1}'), None)
    assert found.at is None


@pytest.mark.parametrize("payload", ["null", "", '"<invalid>"', " null\n"])
def test_no_value_is_passed_over_where_others_are(payload):
    reader, _ = of({"others": "pass"})
    (found,) = reader.read(support.message("x", payload), "m1")
    assert (found.at, found.alive, set(found.columns)) == (None, True, {None})
    with pytest.raises(fields.Invalid):
        of()[0].read(support.message("x", payload), "m1")


def test_a_value_is_left_out_where_another_makes_it_another_things():
    reader, quick = of()
    payload = b'{"n":"m1","t":1777636740,"I":3,"V":5000,"E":{"other":1}}'
    assert quick(payload)[2][2:4] == (5.0, None)
    (found,) = reader.read(support.message("x", payload), None)
    slow = reader._slowly(support.message("x", payload), None)
    assert list(found.columns) == list(slow.columns)
    assert quick(b'{"n":"m1","t":1777636740,"I":3,"E":{"other":null}}')[2][3] == 3.0


@pytest.mark.parametrize("at", ["1777636740", "5", '"1970-01-01T00:00:00Z"', '"soon"'])
def test_what_is_passed_over_is_not_refused_for_its_time(at):
    reader, _ = of({"others": "pass"})
    (found,) = reader.read(support.message("x", f'{{"n":"m1","t":{at},"temperature":21}}'), None)
    assert (found.at, found.bad) == (None, ())
