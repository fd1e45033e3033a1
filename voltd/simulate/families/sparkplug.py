"""Meters behind edge nodes of Sparkplug B: births, aliases, deaths, and rebirths when they are asked for.

Facts: eclipse-tahu/tahu sparkplug_b/sparkplug_b.proto (numbers of fields and data types); names of one meter's metrics
in javier-fg/mqtt-spb-wrapper issue 7. Written as bytes, without a library of protobuf. Pure.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator
from typing import NamedTuple

from voltd.simulate.families.speaker import Family, Measured, Speaker
from voltd.simulate.fleet.meter import Meter
from voltd.simulate.fleet.vehicle import Vehicle
from voltd.simulate.publish.publication import Publication

GROUP = "spBv1.0/voltd"
_INT64, _UINT64, _FLOAT, _DOUBLE, _BOOLEAN = 4, 8, 9, 10, 11
_VARINT, _EIGHT_BYTES, _BLOCK, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_NUMBERS = 256  # of messages: then 0 follows
_REBIRTH = b"Node Control/Rebirth"


class Metric(NamedTuple):
    """One metric of a message: its value, and how that is written."""

    name: str
    alias: int
    datatype: int
    value: float


class EdgeNode(Speaker):
    """One edge node with one meter. Its data name metrics by alias; those of one model in four by name.

    That model counts whole Wh.
    """

    __slots__ = ("_born", "_by_name", "_last_metrics", "_node", "_sequence", "_session")

    _born: bool
    _last_metrics: tuple[dt.datetime, list[Metric]] | None

    def __init__(self, family: Family, device_id: str) -> None:
        super().__init__(family, device_id)
        self._node = f"edge-{device_id}"
        self._by_name = Measured(device_id, dt.datetime.min, None, 0.0).one_in(4)  # noqa: DTZ901 not used
        self._born = False
        self._last_metrics = None
        self._sequence = 0
        self._session = -1

    @property
    def commands(self) -> str:
        """The topic on which it is asked for a rebirth."""
        return f"{GROUP}/NCMD/{self._node}"

    def report(self, at: dt.datetime, device: Vehicle | Meter, register_kwh: float) -> list[Publication]:
        """The device's birth, if it is not born yet, else its data: the metrics are dated by ``at``."""
        measured = Measured(self._device_id, at, device, register_kwh)
        metrics = _metrics(measured, whole=self._by_name)
        self._last_metrics = (at, metrics)
        if not self._born:
            self._born = True
            return [self._message("DBIRTH", at, _births(at, metrics))._replace(meter=1)]
        written = [_metric(one._replace(alias=0) if self._by_name else one._replace(name=""), at) for one in metrics]
        return [self._message("DDATA", at, written)._replace(meter=1)]

    def comes(self, at: dt.datetime) -> Iterator[Publication]:
        """The node's birth, when it connects. The device's follows with its next report."""
        if not self._online:
            self._online, self._born = True, False
            self._session += 1
            yield self._birth(at)

    def goes(self, at: dt.datetime) -> Iterator[Publication]:  # noqa: ARG002 a death has no time
        """The node's death: the broker's last will, which has the number of the session and no sequence number."""
        if self._online:
            self._online = self._born = False
            yield self._sent("NDEATH", _block(2, _session(self._session)))

    def command(self, payload: bytes, at: dt.datetime) -> Iterator[Publication]:
        """The answer to a command: to a rebirth request both births, with the values that were reported last."""
        if not self._online or _REBIRTH not in payload:
            return
        yield self._birth(at)
        if self._born and self._last_metrics is not None:
            measured_at, metrics = self._last_metrics
            yield self._message("DBIRTH", at, _births(measured_at, metrics))._replace(meter=1, duplicate=1)

    def _birth(self, at: dt.datetime) -> Publication:
        self._sequence = 0
        control = _block(1, _REBIRTH) + _number(4, _BOOLEAN) + _number(14, 0)
        return self._message("NBIRTH", at, [_session(self._session), control])

    def _message(self, kind: str, at: dt.datetime, metrics: list[bytes]) -> Publication:
        number, self._sequence = self._sequence, (self._sequence + 1) % _NUMBERS
        body = [_number(1, _ms(at)), *(_block(2, one) for one in metrics), _number(3, number)]
        return self._sent(kind, b"".join(body))

    def _sent(self, kind: str, payload: bytes) -> Publication:
        device = f"/{self._device_id}" if kind.startswith("D") else ""
        return Publication(f"{GROUP}/{kind}/{self._node}{device}", payload, device=self._device_id)


def _metrics(measured: Measured, *, whole: bool) -> list[Metric]:
    """What the meter measures; ``Uptime`` is nobody's field."""
    meter, watt_hours = measured.meter, measured.register_kwh * 1000
    energy = (_UINT64, round(watt_hours)) if whole else (_DOUBLE, round(watt_hours, 3))
    return [
        Metric("Wh_received", 1, *energy),
        Metric("Wh_delivered", 2, _DOUBLE, 0.0),
        Metric("Watts_total", 3, _DOUBLE, round(meter.power_kw * 1000, 3)),
        Metric("Volts", 4, _FLOAT, meter.voltage_v),
        Metric("Amps", 5, _FLOAT, meter.current_a),
        Metric("Uptime", 130, _UINT64, int(measured.at.timestamp()) % 1_000_000),
    ]


def _births(at: dt.datetime, metrics: list[Metric]) -> list[bytes]:
    return [_metric(one, at) for one in metrics]


def _session(number: int) -> bytes:
    return _block(1, b"bdSeq") + _number(4, _INT64) + _number(11, number % _NUMBERS)


def _metric(one: Metric, at: dt.datetime) -> bytes:
    """Its fields in the order of their numbers; without a name, or with alias 0 without an alias."""
    out = _block(1, one.name.encode()) if one.name else b""
    out += _number(2, one.alias) if one.alias else b""
    out += _number(3, _ms(at)) + _number(4, one.datatype)
    if one.datatype == _DOUBLE:
        return out + _tag(13, _EIGHT_BYTES) + struct.pack("<d", one.value)
    if one.datatype == _FLOAT:
        return out + _tag(12, _FOUR_BYTES) + struct.pack("<f", one.value)
    return out + _number(11, int(one.value))


def _ms(at: dt.datetime) -> int:
    return round(at.timestamp() * 1000)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _block(field: int, value: bytes) -> bytes:
    return _tag(field, _BLOCK) + _varint(len(value)) + value
