"""Reads messages of Sparkplug B whose metrics have names: one reading for each time that they have. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from voltd import config, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import description, sources, taken
from voltd.pipeline.decode.devices.sparkplug import layout
from voltd.pipeline.decode.devices.sparkplug import payload as protobuf
from voltd.readings import DeviceType

_Plan = tuple[tuple[int, int, float, float, float], ...]  # of a layout: where the value is, column, divisor, bounds
_Found = tuple[list[Any], dict[str, Any]]  # columns, and the values of fields that have to be looked at
_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}  # by datatype: Int8 to Int64
_UNKNOWN_SIGN_FROM = 1 << 31


class _Wanted(NamedTuple):
    """What a metric becomes.

    Attributes:
        field: voltd's name.
        first: whether the field has no other name that goes before.
        measured: how its value becomes the field's.
        where: the metric's name.
        plain: whether nearly all values need no more than ``by`` and their bounds.
        place, by, low, high: the column, the divisor into the field's unit, its bounds.
    """

    field: str
    first: bool
    measured: taken.Measured
    where: str
    plain: bool
    place: int
    by: float
    low: float
    high: float


class SparkplugReader:
    """Reads the messages of one kind.

    Args:
        special: from the description, with its kind.
        device_type: whose readings they are.
        limits: of the settings.
    """

    def __init__(self, special: description.Sparkplug, device_type: DeviceType, limits: config.Limits) -> None:
        self._device_type = device_type
        self._ends = special.kind.endswith("DEATH")
        self._fields = fields.FieldReader(device_type, limits)
        self._nothing: list[Any] = [None] * self._fields.width
        self._wanted = {
            name.encode(): self._want(taken.Measured(source, field, device_type, as_text=limits.numbers_as_text), name)
            for field, source in special.fields.items()
            for name in source.names
        }
        self._sources = {one.field: one for one in self._wanted.values() if one.first}

    def _want(self, measured: taken.Measured, name: str) -> _Wanted:
        source, field, conversion = measured.source, measured.field, measured.conversion
        has_sentinel = any(place == measured.place + 2 for place, _ in self._fields.sentinels)
        plain = measured.is_number and not (measured.ignored or has_sentinel or field.wire in readings.POSITION)
        return _Wanted(
            measured.name,
            isinstance(source, sources.Metric) and name == source.names[0],
            measured,
            name,
            plain and not conversion.before and conversion.times == 1,
            measured.place,
            -conversion.by if source.negate else conversion.by,
            field.low,
            field.high,
        )

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``. A message without any of the fields is no sign of life: gateways send those, too."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        heard = protobuf.heard(message.payload)
        if isinstance(heard, layout.Filled):
            found = self._quick(heard, device_id)
            if found is not None:
                return (found,)
            heard = protobuf.parse(message.payload)
        payload, metrics = heard
        by_time: dict[int, _Found] = {}
        if not self._ends:
            self._sort(payload.timestamp, metrics, by_time)
        if not by_time:
            return (taken.Taken(self._device_type, device_id, None, self._nothing, alive=False),)
        return [self._taken(device_id, at_ms, found) for at_ms, found in by_time.items()]

    def _quick(self, filled: layout.Filled, device_id: str) -> taken.Taken | None:
        """The reading of a message with a layout; None: a value needs more than its bounds."""
        plan = filled.layout.plans.get(self, False)
        if plan is False:
            plan = filled.layout.plans[self] = self._plan(filled.layout)
        if plan is None:
            return None
        if not plan:
            return taken.Taken(self._device_type, device_id, None, self._nothing, alive=False)
        columns, found = self._nothing.copy(), filled.found
        for index, place, by, low, high in plan:
            value = found[index] / by
            if not low <= value <= high:
                return None
            columns[place] = value or 0.0  # and none of -0.0
        return taken.Taken(
            self._device_type, device_id, dt.datetime.fromtimestamp(filled.at_ms / 1000, dt.UTC), columns
        )

    def _plan(self, one: layout.Layout) -> _Plan | None:
        """What becomes of a layout's values; None: its messages are read thoroughly."""
        found: list[tuple[int, int, float, float, float]] = []
        for name, index in one.values:
            want = self._wanted.get(name)
            if want is None:
                continue
            if index is None or not want.plain or self._ends or any(want.place == place for _, place, *_ in found):
                return None
            found.append((index, want.place, want.by, want.low, want.high))
        return tuple(found)

    def _sort(self, sent_ms: int, metrics: list[Any], by_time: dict[int, _Found]) -> None:
        """The values by their time, ms since 1970; 0: none."""
        wanted = self._wanted.get
        last_ms = -1
        columns: list[Any] = []
        others: dict[str, Any] = {}
        for metric in metrics:
            name = metric.name
            want = wanted(name)
            if want is None:
                if not name and metric.HasField("alias"):
                    raise fields.Invalid(
                        Reason.NO_BIRTH,
                        f"a metric has alias {metric.alias} and no name, and no birth said what that is; voltd asks"
                        " the node for a rebirth when such a message arrives",
                    )
                continue
            at_ms = metric.timestamp or sent_ms
            if at_ms != last_ms:
                last_ms = at_ms
                if at_ms not in by_time:
                    by_time[at_ms] = (self._nothing.copy(), {})
                columns, others = by_time[at_ms]
            field, first, measured, _, plain, place, by, low, high = want
            # Nearly all values are of these two types, and not 0.
            raw = None if metric.is_null else metric.double_value or metric.float_value or _value(metric)
            if not first and (columns[place] is not None or field in others):
                continue
            if plain and raw.__class__ is float and low <= (value := raw / by) <= high and raw:
                columns[place] = value
                others.pop(field, None)
            else:
                columns[place] = None
                others[field] = None if raw is None or measured.is_none(raw) else measured.value(raw)

    def _taken(self, device_id: str, at_ms: int, found: _Found) -> taken.Taken:
        at = None
        if at_ms:
            try:
                at = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
            except (ValueError, OverflowError, OSError):
                detail = f"the time is no ms since 1970: {at_ms}"
                bad = [fields.Refusal(Reason.BAD_TIME, detail, field) for field in self._names(found)]
                return taken.Taken(self._device_type, device_id, None, self._nothing, bad)
        columns, others = found
        if not others:
            return taken.Taken(self._device_type, device_id, at, columns)
        read = self._fields.read(others, None)
        for place, value in enumerate(read.columns):
            if value is not None and columns[place] is None:  # a negative one may be another field's
                columns[place] = value
        bad = [self._explained(one) for one in read.bad]
        return taken.Taken(self._device_type, device_id, at, columns, bad, read.ignored)

    def _names(self, found: _Found) -> list[str]:
        columns, others = found
        return [*(one.field for one in self._sources.values() if columns[one.measured.place] is not None), *others]

    def _explained(self, refused: fields.Refusal) -> fields.Refusal:
        want = self._sources.get(refused.field or "")
        return want.measured.refusal(refused, want.where) if want else refused


def _value(metric: Any) -> Any:
    """The value whatever its type; None: it has none.

    Raises:
        fields.Invalid: nobody can know its sign.
    """
    kind = metric.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(metric, kind)
    if kind == "string_value":
        return value.decode("utf-8", "replace")
    if kind in ("int_value", "long_value"):
        datatype = metric.datatype
        if bits := _SIGNED_BITS.get(datatype):
            value &= (1 << bits) - 1  # some write 8 bits, some 32, where an Int8 is meant
            return value - (1 << bits) if value >> (bits - 1) else value
        if not datatype and kind == "int_value" and value >= _UNKNOWN_SIGN_FROM:
            raise fields.Invalid(Reason.NO_BIRTH, f"{value} may be negative: only the birth has its data type")
    return value
