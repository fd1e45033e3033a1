"""The fast way through ``decode``: payloads with nothing wrong, straight into the columns of a reading.

The same contract as ``decode.fields`` in msgspec's compiled decoder, a few times faster. It only ever says yes: what it
refuses, and what it cannot decide (aliases), goes the way of ``decode.fields``, which gives each field its fate. A
property test holds the two together: whatever this one takes, the other takes with the same values.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from voltd import models, readings
from voltd.pipeline.decode import epoch
from voltd.readings import ID_LENGTH, DeviceType, Kind

_MOST_BRACKETS = 200  # the other parser's limit of nesting; fewer brackets cannot nest deeper

Time = Annotated[dt.datetime, Meta(tz=True)] | int | float  # text with offset, or since 1970
_Id = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH)]
ALIASES = frozenset(
    {"createdAt"} | {field.alias for one in DeviceType for field in readings.fields(one).values() if field.alias}
)


def _type(field: readings.Field) -> Any:
    """What msgspec takes for a field."""
    match field.kind:
        case Kind.NUMBER:
            return Annotated[float, Meta(ge=field.low, le=field.high)] | None
        case Kind.TEXT:
            return Annotated[str, Meta(max_length=readings.TEXT_LENGTH)] | None
        case Kind.OBJECT:
            return dict[str, Any] | None


def _struct(device_type: DeviceType, *, exact: bool) -> type[msgspec.Struct]:
    """The columns of a reading in order, but for ``received_at``; ``exact`` refuses other fields."""
    declared = readings.fields(device_type)
    columns = [(column, _type(field), None) for column, field in declared.items()]
    return msgspec.defstruct(
        device_type.value.capitalize(),
        [("id", _Id | None, None), ("timestamp", Time), *columns],
        rename={"id": readings.id_name(device_type), **{column: field.wire for column, field in declared.items()}},
        kw_only=True,
        gc=False,
        forbid_unknown_fields=exact,
    )


class Parser:
    """The decoders of one device type.

    Attributes:
        one: JSON of one object to a struct; other fields are refused.
        array: JSON of an array of objects to a list of structs; other fields are refused.
    """

    def __init__(self, device_type: DeviceType) -> None:
        exact, tolerant = _struct(device_type, exact=True), _struct(device_type, exact=False)
        self.one = msgspec.json.Decoder(exact).decode
        self.array = msgspec.json.Decoder(list[exact]).decode  # type: ignore[valid-type] # made per device type
        self._tolerant = msgspec.json.Decoder(tolerant).decode
        self._known = frozenset(tolerant.__struct_encode_fields__)

    def one_with_others(self, payload: bytes | msgspec.Raw) -> tuple[msgspec.Struct, Collection[str]]:
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


def open_envelope(text: bytes | msgspec.Raw) -> tuple[DeviceType, msgspec.Raw]:
    """Device type and payload of an envelope.

    Raises:
        msgspec.MsgspecError: it is not one, or has other fields.
    """
    envelope = _envelope(text)
    return DeviceType(envelope.type.lower()), envelope.payload


_envelope = msgspec.json.Decoder(_Envelope).decode
_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
PARSERS = {device_type: Parser(device_type) for device_type in DeviceType}
_OBJECTS = {  # the places of fields that are objects: their text has limits of its own
    device_type: [
        place for place, field in enumerate(readings.fields(device_type).values(), 2) if field.kind is Kind.OBJECT
    ]
    for device_type in DeviceType
}
_LATITUDE, _LONGITUDE = map(readings.VehicleReading._fields.index, readings.POSITION)
_astuple = msgspec.structs.astuple
_UNKNOWN = "unknown field"  # in msgspec's words; in others, the slow way takes what could be taken here


Sentinels = Collection[tuple[int, frozenset[float | str]]]


class Arrival(NamedTuple):
    """When a message arrived, between which times its readings must be dated, and which values stand for none.

    Attributes:
        received_at, oldest, newest: aware UTC.
        epoch: whether a number may be a time.
        sentinels: by device type, places among the fields with the values there that stand for none.
    """

    received_at: dt.datetime
    oldest: dt.datetime
    newest: dt.datetime
    epoch: bool = True
    sentinels: Mapping[DeviceType, Sentinels] = {}


class Addressed(Protocol):
    """What a topic says of its messages, as ``topic.Route`` has it."""

    @property
    def device_type(self) -> DeviceType | None:
        """None: what is published on the envelope topic."""

    @property
    def device_id(self) -> str | None:
        """None where no level names it."""


def add(
    batch: models.Batch, source: models.Source, route: Addressed, text: bytes | msgspec.Raw, arrival: Arrival
) -> bool:
    """Adds the reading if there is nothing wrong with it; False leaves it to the slow way, which says what is."""
    try:
        device_type, fields, unknown = _parse(route.device_type, text)
        row = _row(fields, route.device_id, arrival)
        if arrival.sentinels and _has_sentinel(fields, arrival.sentinels.get(device_type, ())):
            return False
        if device_type is DeviceType.VEHICLE and _has_no_fix(fields):
            return False
    except Exception:  # noqa: BLE001 whatever it is, the slow way finds out
        return False
    if row is None or b"\\u0000" in bytes(text):
        return False
    if device_type is DeviceType.VEHICLE:
        batch.vehicles.append(models.VehicleReading._make(row))
        batch.vehicle_sources.append(source)
    else:
        batch.meters.append(models.MeterReading._make(row))
        batch.meter_sources.append(source)
    if unknown:
        batch.note_unknown(device_type, unknown)
    return True


def add_array(
    batch: models.Batch, index: int, route: Addressed, payload: bytes, arrival: Arrival, *, most: int
) -> bool:
    """Adds a whole array of readings of one device type if there is nothing wrong with any; else adds none."""
    if route.device_type is None or b"\\u0000" in payload:
        return False
    sentinels = arrival.sentinels.get(route.device_type, ())
    try:
        structs = PARSERS[route.device_type].array(payload)
        rows = [_row(_astuple(struct), route.device_id, arrival) for struct in structs]
    except Exception:  # noqa: BLE001 the slow way looks at each element
        return False
    if not 0 < len(rows) <= most or None in rows:
        return False
    objects = _OBJECTS[route.device_type]
    if objects and any(row[place] is not None for row in rows if row is not None for place in objects):
        return False
    is_vehicle = route.device_type is DeviceType.VEHICLE
    no_fix = is_vehicle and any(_has_no_fix(row) for row in rows if row is not None)
    if no_fix or (sentinels and any(_has_sentinel(row, sentinels) for row in rows if row is not None)):
        return False
    sources = [(index, position) for position in range(len(rows))]
    if is_vehicle:
        batch.vehicles += map(models.VehicleReading._make, rows)  # type: ignore[arg-type] # no None is left
        batch.vehicle_sources += sources
    else:
        batch.meters += map(models.MeterReading._make, rows)  # type: ignore[arg-type]
        batch.meter_sources += sources
    return True


def _row(fields: tuple[Any, ...], device_id: str | None, arrival: Arrival) -> tuple[Any, ...] | None:
    """The columns with the device's id and ``received_at``; None where id, time or measurements are not in order."""
    if fields[0] != device_id:
        if fields[0] is None and device_id and len(device_id) <= ID_LENGTH:
            fields = (device_id, *fields[1:])
        elif device_id is not None:
            return None
    at = fields[1]
    if at.__class__ is not dt.datetime:
        if not arrival.epoch:
            return None
        at = epoch.from_epoch(at)
        fields = (fields[0], at, *fields[2:])
    if (
        fields[0] is None
        or not arrival.oldest <= at <= arrival.newest
        or (fields[2] is None and fields.count(None) == len(fields) - 2)
    ):
        return None
    return (*fields, arrival.received_at)


def _has_sentinel(fields: tuple[Any, ...], sentinels: Sentinels) -> bool:
    return any(fields[place] in values for place, values in sentinels)


def _has_no_fix(fields: tuple[Any, ...]) -> bool:
    return bool(fields[_LATITUDE] == 0 == fields[_LONGITUDE])


def _parse(
    device_type: DeviceType | None, text: bytes | msgspec.Raw
) -> tuple[DeviceType, tuple[Any, ...], Collection[str]]:
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
    for place in _OBJECTS[device_type]:
        if fields[place] is not None:
            raw = bytes(text)
            if raw.count(b"{") + raw.count(b"[") > _MOST_BRACKETS:
                raise msgspec.ValidationError("perhaps nested too deeply")
            fields = (*fields[:place], jsonb_text(fields[place]), *fields[place + 1 :])
    return device_type, fields, unknown


def jsonb_text(value: dict[str, Any]) -> str:
    """JSON that PostgreSQL takes.

    Raises:
        ValueError: NaN, Infinity, or an integer of thousands of digits.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
