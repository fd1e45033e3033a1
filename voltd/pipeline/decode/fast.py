"""The fast way through ``decode``: payloads with nothing wrong, straight into the columns of a reading.

The same contract as ``decode.fields`` in msgspec's compiled decoder, a few times faster. It only ever says yes: what it
refuses, and what it cannot judge (aliases), goes the way of ``decode.fields``, which gives each field its fate. A
property test holds the two together: whatever this one takes, the other takes with the same values.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from voltd import models
from voltd.pipeline.decode import epoch as decode_epoch
from voltd.pipeline.decode import topic

UNBOUNDED = 1e9
ID_LENGTH = 64
_MOST_BRACKETS = 200  # the other parser's limit of nesting; fewer brackets cannot nest deeper

Time = Annotated[dt.datetime, Meta(tz=True)] | int | float  # text with offset, or since 1970
_Id = Annotated[str, Meta(min_length=1, max_length=64)]
_Positive = Annotated[float, Meta(ge=0, le=UNBOUNDED)]
_Signed = Annotated[float, Meta(ge=-UNBOUNDED, le=UNBOUNDED)]
_VEHICLE_NAMES = {
    "id": "vehicleId",
    "battery_temp": "batteryTemp",
    "kwh": "kwhDeliveredDc",
    "register_kwh": "kwhDeliveredDcTotal",
    "charging_status": "chargingStatus",
    "returned_kwh": "kwhReturnedDc",
    "returned_register_kwh": "kwhReturnedDcTotal",
}
_METER_NAMES = {
    "id": "meterId",
    "kwh": "kwhConsumedAc",
    "register_kwh": "kwhConsumedAcTotal",
    "returned_kwh": "kwhReturnedAc",
    "returned_register_kwh": "kwhReturnedAcTotal",
}
ALIASES = frozenset({"createdAt", "temperature"})


class _Vehicle(msgspec.Struct, kw_only=True, gc=False, rename=_VEHICLE_NAMES):
    """The columns of ``models.VehicleReading`` in order, but for ``received_at``; ``diagnostics`` is JSON text."""

    id: _Id | None = None
    timestamp: Time
    soc: Annotated[float, Meta(ge=0, le=100)] | None = None
    speed: Annotated[float, Meta(ge=0, le=400)] | None = None
    battery_temp: Annotated[float, Meta(ge=-60, le=200)] | None = None
    kwh: _Positive | None = None
    register_kwh: _Positive | None = None
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    charging_status: Annotated[str, Meta(max_length=32)] | None = None
    odometer: _Positive | None = None
    returned_kwh: _Positive | None = None
    returned_register_kwh: _Positive | None = None
    diagnostics: dict[str, Any] | None = None


class _Meter(msgspec.Struct, kw_only=True, gc=False, rename=_METER_NAMES):
    """The columns of ``models.MeterReading`` in order, but for ``received_at``."""

    id: _Id | None = None
    timestamp: Time
    kwh: _Positive | None = None
    register_kwh: _Positive | None = None
    voltage: Annotated[float, Meta(ge=0, le=1000)] | None = None
    current: _Signed | None = None
    power: _Signed | None = None
    returned_kwh: _Positive | None = None
    returned_register_kwh: _Positive | None = None


class _VehicleOnly(_Vehicle, kw_only=True, gc=False, forbid_unknown_fields=True, rename=_VEHICLE_NAMES):
    """A vehicle reading without any other field."""


class _MeterOnly(_Meter, kw_only=True, gc=False, forbid_unknown_fields=True, rename=_METER_NAMES):
    """A meter reading without any other field."""


class Parser:
    """The decoders of one device type.

    Attributes:
        one: JSON of one object to a struct; other fields are refused.
        array: JSON of an array of objects to a list of structs; other fields are refused.
    """

    def __init__(self, exact: type[_Vehicle | _Meter], tolerant: type[_Vehicle | _Meter]) -> None:
        self.one = msgspec.json.Decoder(exact).decode
        self.array = msgspec.json.Decoder(list[exact]).decode  # type: ignore[valid-type] # made per device type
        self._tolerant = msgspec.json.Decoder(tolerant).decode
        self._known = frozenset(tolerant.__struct_encode_fields__)

    def one_with_others(self, payload: bytes | msgspec.Raw) -> tuple[_Vehicle | _Meter, Collection[str]]:
        """An object with other fields than a reading has: the struct, and the names of the others.

        Raises:
            msgspec.MsgspecError: refused, or an alias is among them, which only ``decode.fields`` knows.
        """
        names = _names(payload)
        if not ALIASES.isdisjoint(names):
            raise msgspec.ValidationError("an alias")
        return self._tolerant(payload), names.keys() - self._known


class _Envelope(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What is published on the envelope topic."""

    type: Literal["VEHICLE", "METER"]
    payload: msgspec.Raw


def open_envelope(text: bytes | msgspec.Raw) -> tuple[models.DeviceType, msgspec.Raw]:
    """Device type and payload of an envelope.

    Raises:
        msgspec.MsgspecError: it is not one, or has other fields.
    """
    envelope = _envelope(text)
    return models.DeviceType(envelope.type.lower()), envelope.payload


_envelope = msgspec.json.Decoder(_Envelope).decode
_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
PARSERS = {
    models.DeviceType.VEHICLE: Parser(_VehicleOnly, _Vehicle),
    models.DeviceType.METER: Parser(_MeterOnly, _Meter),
}
_astuple = msgspec.structs.astuple
_UNKNOWN = "unknown field"  # in msgspec's words; in others, the slow way takes what could be taken here


Sentinels = Collection[tuple[int, frozenset[float | str]]]


class Times(NamedTuple):
    """When a message arrived, between which times its readings must be dated, and what else the settings say of values.

    Attributes:
        received_at, oldest, newest: aware UTC.
        epoch: whether a number may be a time.
        sentinels: by device type, places among the fields with the values there that stand for none.
    """

    received_at: dt.datetime
    oldest: dt.datetime
    newest: dt.datetime
    epoch: bool = True
    sentinels: Mapping[models.DeviceType, Sentinels] = {}


def add(
    batch: models.Batch, source: models.Source, route: topic.Route, text: bytes | msgspec.Raw, times: Times
) -> bool:
    """Adds the reading if there is nothing wrong with it; False leaves it to the slow way, which says what is."""
    try:
        device_type, fields, unknown = _parse(route.device_type, text)
        row = _row(fields, route.device_id, times)
        if times.sentinels and _has_sentinel(fields, times.sentinels.get(device_type, ())):
            return False
    except Exception:  # noqa: BLE001 whatever it is, the slow way finds out
        return False
    if row is None or b"\\u0000" in bytes(text):
        return False
    if device_type is models.DeviceType.VEHICLE:
        batch.vehicles.append(models.VehicleReading._make(row))
        batch.vehicle_sources.append(source)
    else:
        batch.meters.append(models.MeterReading._make(row))
        batch.meter_sources.append(source)
    if unknown:
        batch.note_unknown(device_type, unknown)
    return True


def add_array(batch: models.Batch, index: int, route: topic.Route, payload: bytes, times: Times, *, most: int) -> bool:
    """Adds a whole array of readings of one device type if there is nothing wrong with any; else adds none."""
    if route.device_type is None or b"\\u0000" in payload:
        return False
    sentinels = times.sentinels.get(route.device_type, ())
    try:
        structs = PARSERS[route.device_type].array(payload)
        rows = [_row(_astuple(struct), route.device_id, times) for struct in structs]
    except Exception:  # noqa: BLE001 the slow way looks at each element
        return False
    if not 0 < len(rows) <= most or None in rows:
        return False
    if sentinels and any(_has_sentinel(row, sentinels) for row in rows if row is not None):
        return False
    sources = [(index, position) for position in range(len(rows))]
    if route.device_type is models.DeviceType.VEHICLE:
        if any(row[13] is not None for row in rows if row is not None):  # diagnostics have limits of their own
            return False
        batch.vehicles += map(models.VehicleReading._make, rows)  # type: ignore[arg-type] # no None is left
        batch.vehicle_sources += sources
    else:
        batch.meters += map(models.MeterReading._make, rows)  # type: ignore[arg-type]
        batch.meter_sources += sources
    return True


def _row(fields: tuple[Any, ...], device_id: str | None, times: Times) -> tuple[Any, ...] | None:
    """The columns with the device's id and ``received_at``; None where id, time or measurements are not in order."""
    if fields[0] != device_id:
        if fields[0] is None and device_id and len(device_id) <= ID_LENGTH:
            fields = (device_id, *fields[1:])
        elif device_id is not None:
            return None
    at = fields[1]
    if at.__class__ is not dt.datetime:
        if not times.epoch:
            return None
        at = decode_epoch.from_epoch(at)
        fields = (fields[0], at, *fields[2:])
    if (
        fields[0] is None
        or not times.oldest <= at <= times.newest
        or (fields[2] is None and fields.count(None) == len(fields) - 2)
    ):
        return None
    return (*fields, times.received_at)


def _has_sentinel(fields: tuple[Any, ...], sentinels: Sentinels) -> bool:
    return any(fields[place] in values for place, values in sentinels)


def _parse(
    device_type: models.DeviceType | None, text: bytes | msgspec.Raw
) -> tuple[models.DeviceType, tuple[Any, ...], Collection[str]]:
    """Device type, columns, and the fields that were not a reading's; raises whatever is in the way."""
    unknown: Collection[str] = ()
    if device_type is None:
        device_type, text = open_envelope(text)
    parser = PARSERS[device_type]
    try:
        fields = _astuple(parser.one(text))
    except msgspec.ValidationError as error:
        if _UNKNOWN not in str(error):
            raise
        struct, unknown = parser.one_with_others(text)
        fields = _astuple(struct)
    if fields[-1].__class__ is dict:  # diagnostics
        raw = bytes(text)
        if raw.count(b"{") + raw.count(b"[") > _MOST_BRACKETS:
            raise msgspec.ValidationError("perhaps nested too deeply")
        fields = (*fields[:-1], jsonb_text(fields[-1]))
    return device_type, fields, unknown


def jsonb_text(value: dict[str, Any]) -> str:
    """JSON that PostgreSQL takes.

    Raises:
        ValueError: NaN, Infinity, or an integer of thousands of digits.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
