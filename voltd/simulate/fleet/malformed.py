"""Malformed messages of a simulated fleet: every kind of bad input of the wire contract, each one a dead letter.

``fleet`` picks a kind by weight; each makes one message with exactly one bad reading (a whole message, or one element
of an array whose other element is good). ``reasons`` are those that the contract permits for it. Pure.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from voltd.models import Reason
from voltd.simulate.fleet import wire
from voltd.simulate.publish.publication import Publication

LARGE_BYTES = (4 << 20) + 1  # over limits.max_payload_bytes
MANY = 10_001  # over limits.max_array_readings
CENTURY = dt.timedelta(days=36_525)  # in the future, and too old, for any clock and limits


Make = Callable[[wire.SimulatedDevice, float, str], Publication]
Change = Callable[[wire.SimulatedDevice, float], dict[str, Any]]


class MalformedKind(NamedTuple):
    """One kind of malformed message.

    Attributes:
        name: for tests and people.
        weight: how often it is picked, relative to the others.
        reasons: dead-letter reasons that fit it.
        make: its message, from the device, its time in seconds since the epoch and a good reading's text.
    """

    name: str
    weight: int
    reasons: frozenset[Reason]
    make: Make


def pick(rng: random.Random) -> MalformedKind:
    """Draws a kind by weight."""
    return rng.choices(KINDS, cum_weights=_CUMULATIVE)[0]


def _own(device: wire.SimulatedDevice, payload: bytes | str) -> Publication:
    return Publication(device.topic, payload.encode() if isinstance(payload, str) else payload, bad=1)


def _ingest(payload: str) -> Publication:
    return Publication(wire.INGEST_TOPIC, payload.encode(), bad=1)


def _fields(device: wire.SimulatedDevice, now_s: float, **changes: Any) -> dict[str, Any]:
    """A good reading as a mapping, then changed; a change to None leaves the field out."""
    fields = {
        device.id_key: device.device_id,
        "timestamp": device.time_text(now_s),
        device.measure: 50.5,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _changed(name: str, weight: int, reasons: set[Reason], change: Change) -> MalformedKind:
    """A reading on the device's own topic with some fields changed."""

    def make(device: wire.SimulatedDevice, now_s: float, _good: str) -> Publication:
        return _own(device, json.dumps(_fields(device, now_s, **change(device, now_s))))

    return MalformedKind(name, weight, frozenset(reasons), make)


def _fixed(name: str, weight: int, reasons: set[Reason], payload: bytes) -> MalformedKind:
    return MalformedKind(name, weight, frozenset(reasons), lambda device, _now_s, _: _own(device, payload))


def _enveloped(name: str, weight: int, reasons: set[Reason], envelope: Change) -> MalformedKind:
    """A message on the gateway's topic."""

    def make(device: wire.SimulatedDevice, now_s: float, _good: str) -> Publication:
        return _ingest(json.dumps(envelope(device, now_s)))

    return MalformedKind(name, weight, frozenset(reasons), make)


def _type(device: wire.SimulatedDevice) -> str:
    return "VEHICLE" if device.is_vehicle else "METER"


def _envelope(device: wire.SimulatedDevice, fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": _type(device), "payload": fields}


def _number(text: str) -> Make:
    """The reading with ``text``, which a JSON encoder would not write, as its measured value."""
    return lambda device, now_s, _: _own(device, json.dumps(_fields(device, now_s)).replace("50.5", text))


def _bad_element(device: wire.SimulatedDevice, now_s: float, good: str) -> Publication:
    bad = _fields(device, now_s, **{device.measure: "faulty"})
    if device.habits.envelope:
        bad = _envelope(device, bad)
    return device.message([good, json.dumps(bad)], bad=1)


def _text(device: wire.SimulatedDevice, value: str) -> dict[str, Any]:
    """A text field of the contract set to ``value``; a meter's only text is its id."""
    return {"chargingStatus": value} if device.is_vehicle else {"meterId": device.device_id + value}


def _alone(device: wire.SimulatedDevice, field: dict[str, Any]) -> dict[str, Any]:
    """The field as the only measurement: beside a good one it alone would be refused."""
    return {device.measure: None, **field}


def _at(now_s: float, away: dt.timedelta) -> str:
    return (wire.EPOCH + dt.timedelta(seconds=now_s) + away).isoformat()


R = Reason
KINDS = (
    MalformedKind("truncated", 6, frozenset({R.NOT_JSON}),
         lambda device, now_s, _: _own(device, json.dumps(_fields(device, now_s))[:-9])),
    _fixed("empty", 2, {R.NOT_JSON}, b""),
    _fixed("not_utf8", 6, {R.NOT_JSON}, b'{"note":"\xff\xfe\x80","soc":1}'),
    _fixed("nested_too_deeply", 1, {R.NOT_JSON, R.NOT_AN_OBJECT}, b"[" * 2000 + b"]" * 2000),
    _fixed("a_number", 3, {R.NOT_AN_OBJECT}, b"42"),
    _fixed("a_text", 3, {R.NOT_AN_OBJECT}, b'"on"'),
    _changed("text_for_a_number", 8, {R.WRONG_TYPE}, lambda device, _: {device.measure: "faulty"}),
    _changed("object_for_a_number", 4, {R.WRONG_TYPE}, lambda device, _: {device.measure: {"value": 50}}),
    _changed("list_for_a_time", 2, {R.BAD_TIME, R.WRONG_TYPE}, lambda _device, _: {"timestamp": [2026]}),
    _changed("out_of_range", 10, {R.OUT_OF_RANGE},
             lambda device, _: _alone(device, {"soc": 140.5} if device.is_vehicle else {"voltage": 4000.5})),
    _changed("negative_energy", 6, {R.OUT_OF_RANGE},
             lambda device, _: _alone(device, {"kwhDeliveredDc" if device.is_vehicle else "kwhConsumedAc": -0.25})),
    MalformedKind("not_a_number", 6, frozenset({R.OUT_OF_RANGE, R.NOT_JSON}), _number("NaN")),
    MalformedKind("infinite", 4, frozenset({R.OUT_OF_RANGE, R.NOT_JSON}), _number("-Infinity")),
    MalformedKind("overflows", 2, frozenset({R.OUT_OF_RANGE, R.NOT_JSON}), _number("1e999")),
    _changed("nul_in_text", 6, {R.BAD_TEXT, R.ID_MISMATCH},
             lambda device, _: _alone(device, _text(device, "CHARGE\0"))),
    _changed("lone_surrogate", 4, {R.BAD_TEXT, R.NOT_JSON, R.ID_MISMATCH},
             lambda device, _: _text(device, "\ud800")),
    _changed("text_too_long", 4, {R.BAD_TEXT, R.OUT_OF_RANGE, R.ID_MISMATCH},
             lambda device, _: _alone(device, _text(device, "X" * 65))),
    _changed("no_time", 8, {R.MISSING_FIELD}, lambda _device, _: {"timestamp": None}),
    _changed("not_a_time", 4, {R.BAD_TIME}, lambda _device, _: {"timestamp": "yesterday noon"}),
    _changed("time_without_offset", 8, {R.BAD_TIME},
             lambda _device, now_s: {"timestamp": _at(now_s, dt.timedelta())[:19]}),
    _changed("future", 8, {R.IN_FUTURE}, lambda _device, now_s: {"timestamp": _at(now_s, CENTURY)}),
    _changed("too_old", 8, {R.TOO_OLD}, lambda _device, now_s: {"timestamp": _at(now_s, -CENTURY)}),
    _changed("nothing_measured", 6, {R.NO_MEASUREMENT}, lambda device, _: {device.measure: None}),
    _changed("foreign_id", 8, {R.ID_MISMATCH}, lambda device, _: {device.id_key: f"{device.device_id}-SPOOF"}),
    _enveloped("unknown_type", 6, {R.UNKNOWN_TYPE},
               lambda device, now_s: {"type": "TRACTOR", "payload": _fields(device, now_s)}),
    _enveloped("envelope_without_payload", 3, {R.MISSING_FIELD, R.NOT_AN_OBJECT, R.WRONG_TYPE},
               lambda device, _: {"type": _type(device)}),
    _enveloped("envelope_without_id", 4, {R.MISSING_FIELD},
               lambda device, now_s: _envelope(device, _fields(device, now_s, **{device.id_key: None}))),
    _enveloped("empty_id", 3, {R.BAD_TEXT, R.MISSING_FIELD, R.OUT_OF_RANGE},
               lambda device, now_s: _envelope(device, _fields(device, now_s, **{device.id_key: ""}))),
    MalformedKind("bad_element", 20, frozenset({R.WRONG_TYPE}), _bad_element),
    _changed("too_large", 1, {R.TOO_LARGE}, lambda _device, _: {"note": "x" * LARGE_BYTES}),
    _fixed("too_many", 1, {R.TOO_MANY}, b"[" + b"{}," * (MANY - 1) + b"{}]"),
)  # fmt: skip
_CUMULATIVE = list(itertools.accumulate(kind.weight for kind in KINDS))
