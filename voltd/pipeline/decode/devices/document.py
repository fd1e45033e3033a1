"""Documents: a JSON object with several fields, into a reading.

Nearly all of them go the compiled way (``compiled``). Whatever that does not take is read here, field by field, each
with a fate of its own. A property test holds the two together. Pure.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Sequence
from typing import Any

from voltd import config, hints, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, frame, origin, timestamp
from voltd.pipeline.decode.devices import compiled, description, path, sources, taken, value
from voltd.readings import DeviceType

_NAN = re.compile(rb"(?<=[:,\[ ])-?nan(?=[ ,}\]])")


class DocumentReader:
    """Reads the documents of one description.

    Args:
        document: from the description.
        device_type: whose reading it is.
        limits: of the settings.
        clock: reads times.
        zone: what times without offset are in; None: such a document is dated by its arrival.
    """

    def __init__(
        self,
        document: description.Document,
        device_type: DeviceType,
        limits: config.Limits,
        clock: timestamp.TimestampReader,
        zone: zoneinfo.ZoneInfo | None,
    ) -> None:
        self._document = document
        self._device_type = device_type
        self._clock = clock
        self._zone = zone
        self._fields = fields.FieldReader(device_type, limits)
        self._sources = {
            name: (
                source,
                taken.Measured(source, name, device_type, as_text=limits.numbers_as_text),
                [path.parse(one) for one in source.paths],
                path.parse(source.less) if source.less else None,
                path.parse(source.unless) if source.unless else None,
            )
            for name, source in document.fields.items()
        }
        self._time = path.parse(document.time) if document.time else None
        self._id = path.parse(document.id_path) if document.id_path else None
        self._quick = compiled.compile_document(document, device_type, limits, zone, epoch=clock.epoch)

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        if self._quick is not None:
            try:
                at, written, columns = self._quick(message.payload)
            except Exception:  # noqa: BLE001, S110 the way below finds out what it is
                pass
            else:
                if written is None or device_id is None:
                    device_id = device_id or written
                    if device_id is not None and len(device_id) <= readings.ID_LENGTH:
                        return (taken.Taken(self._device_type, device_id, at, columns),)
        return (self._slowly(message, device_id),)

    def _slowly(self, message: models.Message, device_id: str | None) -> taken.Taken:
        if self._document.others == "pass" and device_id is not None and value.is_none(message.payload):
            return taken.Taken(self._device_type, device_id, None, [None] * self._fields.width)
        payload = frame.bare(message.payload)
        try:
            parsed = _parsed(payload)
        except ValueError as error:
            raise fields.Invalid(Reason.NOT_JSON, frame.explain(message.payload, error)) from None
        if parsed.__class__ is not dict:
            raise fields.Invalid(Reason.NOT_AN_OBJECT, hints.no_object(parsed))
        return self.read_object(parsed, device_id, message.received_at)

    def read_object(
        self, parsed: dict[str, Any], device_id: str | None, received_at: dt.datetime | None = None
    ) -> taken.Taken:
        """What a parsed document says, field by field; ``received_at`` is needed where it has a time.

        Raises:
            fields.Invalid: it is refused whole.
        """
        found = self._measured(parsed)
        if not found and self._document.others == "pass":
            return taken.Taken(self._device_type, self._id_of(parsed, device_id), None, [None] * self._fields.width)
        if not found:
            paths = ", ".join(one for source, *_ in self._sources.values() for one in source.paths)
            raise fields.Invalid(Reason.NO_MEASUREMENT, f"nothing of what is read from it: {paths}")
        at = self._time_of(parsed, received_at)
        read = self._fields.read(found, None)
        bad = [self._explained(one) for one in read.bad]
        return taken.Taken(self._device_type, self._id_of(parsed, device_id), at, read.columns, bad, read.ignored)

    def _explained(self, refused: fields.Refusal) -> fields.Refusal:
        if refused.field not in self._sources:
            return refused
        source, measured, *_ = self._sources[refused.field]
        return measured.refusal(refused, source.paths[0])

    def _measured(self, value: dict[str, Any]) -> dict[str, Any]:
        """The fields that it has, by voltd's names, as ``fields.FieldReader`` takes them."""
        found: dict[str, Any] = {}
        for name, (source, measured, paths, less, unless) in self._sources.items():
            raws = [path.look_up(value, steps) for steps in paths]
            if all(raw is path.MISSING for raw in raws) or (unless and _is_there(path.look_up(value, unless))):
                continue
            raw = self._combined(source, measured, raws)
            if raw is not None and less is not None:
                raw = _without(measured.number(raw), measured.number(path.look_up(value, less)))
            found[name] = measured.value(raw) if raw is not None else None
        return found

    @staticmethod
    def _combined(source: sources.DocumentField, measured: taken.Measured, raws: list[Any]) -> Any:
        raws = [None if raw is path.MISSING or measured.is_none(raw) else raw for raw in raws]
        if source.take is None:
            return raws[0]
        flat = [one for raw in raws for one in (raw if raw.__class__ is list else [raw])]
        values = [None if measured.is_none(one) else measured.number(one) for one in flat]
        return None if measured.whole and None in values else taken.several(values, source.take)

    def _id_of(self, value: dict[str, Any], device_id: str | None) -> str:
        written = path.look_up(value, self._id) if self._id else None
        return origin.device_id(
            None if written is path.MISSING else written, device_id, self._document.id_path or "the device id"
        )

    def _time_of(self, value: dict[str, Any], received_at: dt.datetime | None) -> Any:
        written = path.look_up(value, self._time) if self._time else None
        if written is None or written is path.MISSING:
            return None
        name = self._document.time or ""
        if self._document.time_format:
            return timestamp.from_telegram(name, written)
        if self._zone is None and written.__class__ is str and timestamp.is_local(written):
            return None
        return self._clock.read(name, written, self._zone, received_at)


def _is_there(value: Any) -> bool:
    return value is not None and value is not path.MISSING


def _parsed(payload: bytes) -> Any:
    """The JSON's value; a bare ``nan``, as programs in C write it, is null.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return frame.parse(payload)
    except ValueError:
        if b"nan" not in payload:
            raise
        return frame.parse(_NAN.sub(b"null", payload))


def _without(value: Any, less: Any) -> Any:
    """The difference; what is no number comes back, to be refused."""
    if value.__class__ is not float or not _is_there(less):
        return value
    return value - less if less.__class__ is float else less
