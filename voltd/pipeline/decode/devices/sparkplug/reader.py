"""Reads messages of Sparkplug B whose metrics have names: one reading for each time that they have. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline.decode import fields
from voltd.pipeline.decode.devices import description, taken
from voltd.pipeline.decode.devices.sparkplug import payload as protobuf
from voltd.readings import DeviceType

_SIGNED_BITS = {1: 8, 2: 16, 3: 32, 4: 64}  # by datatype: Int8 to Int64
_UNKNOWN_SIGN_FROM = 1 << 31


class _Wanted(NamedTuple):
    field: str
    first: bool  # of the names that the field may have
    measured: taken.Measured
    where: str


class SparkplugReader:
    """Reads the messages of one kind.

    Args:
        special: from the description, with its kind.
        device_type: whose readings they are.
        limits: of the settings.
    """

    def __init__(self, special: description.Sparkplug, device_type: DeviceType, limits: config.Limits) -> None:
        self._ends = special.kind.endswith("DEATH")
        self._fields = fields.FieldReader(device_type, limits)
        self._nothing: list[Any] = [None] * self._fields.width
        self._wanted = {
            name.encode(): _Wanted(field, not place, self._measured(source, field, device_type, limits), name)
            for field, source in special.fields.items()
            for place, name in enumerate(source.names)
        }
        self._sources = {one.field: one for one in self._wanted.values() if one.first}

    @staticmethod
    def _measured(
        source: description.Metric, field: str, device_type: DeviceType, limits: config.Limits
    ) -> taken.Measured:
        return taken.Measured(source, field, device_type, as_text=limits.numbers_as_text)

    def read(self, message: models.Message, device_type: DeviceType, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``. A message without any of the fields is no sign of life: gateways send those, too."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        payload = protobuf.parse(message.payload)
        by_time: dict[int, dict[str, Any]] = {}
        if not self._ends:
            self._sort(payload, by_time)
        if not by_time:
            return (taken.Taken(device_type, device_id, None, self._nothing, alive=False),)
        return [self._taken(device_type, device_id, at_ms, found) for at_ms, found in by_time.items()]

    def _sort(self, payload: Any, by_time: dict[int, dict[str, Any]]) -> None:
        """The values by their time, ms since 1970; 0: none."""
        wanted = self._wanted.get
        sent_ms = payload.timestamp
        last_ms, found = -1, {}
        for metric in payload.metrics:
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
                last_ms, found = at_ms, by_time.setdefault(at_ms, {})
            field, first, measured, _ = want
            if first or field not in found:
                # Nearly all values are of these two types, and not 0.
                raw = metric.double_value or metric.float_value or _value(metric)
                if (measured.ignored and measured.is_none(raw)) or metric.is_null:
                    raw = None
                found[field] = measured.value(raw) if raw is not None else None

    def _taken(self, device_type: DeviceType, device_id: str, at_ms: int, found: dict[str, Any]) -> taken.Taken:
        at = None
        if at_ms:
            try:
                at = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC)
            except (ValueError, OverflowError, OSError):
                detail = f"the time is no ms since 1970: {at_ms}"
                bad = [fields.Refusal(Reason.BAD_TIME, detail, field) for field in found]
                return taken.Taken(device_type, device_id, None, self._nothing, bad)
        read = self._fields.read(found, None)
        explained = [self._explained(one) for one in read.bad] if read.bad else ()
        return taken.Taken(device_type, device_id, at, read.columns, explained, read.ignored)

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
