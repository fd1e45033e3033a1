"""Decode: payloads into readings or dead letters, the pure step between ``consume`` and ``flush``.

``flush`` calls ``Decoder.decode`` with the messages it has taken. No I/O and no clock: time is compared with each
message's ``received_at``. Nothing raises for what a device sent: each message, and each element of an array, comes out
as a reading, a sign of life, or a dead letter with its reason; each field of a reading that is refused as a dead letter
of its own.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from voltd import config, hints, models, readings, terminal
from voltd.models import Reason
from voltd.pipeline.decode import fast, fields, frame, origin, timestamp
from voltd.pipeline.decode.topic import Route, TopicTable

_log = structlog.get_logger()

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_OTHER = dict(zip(models.DeviceType, reversed(models.DeviceType), strict=True))
_Invalid = fields.Invalid
# Of one array many elements may be asked for, one after the other.
elements = functools.lru_cache(maxsize=1)(frame.elements)


class Decoder:
    """Turns messages into a batch.

    Args:
        topics: which filter carries what.
        limits: payload, array, time and value limits.
        max_age_days: the oldest reading taken.
        timestamps: how times may be written; None: as by default.
    """

    def __init__(
        self,
        topics: config.Topics,
        limits: config.Limits,
        max_age_days: int,
        timestamps: config.Timestamps | None = None,
    ) -> None:
        self._timestamps = timestamps or config.Timestamps()
        self._topics = TopicTable(topics, self._timestamps.zone)
        self._limits = limits
        self._max_age = dt.timedelta(days=max_age_days)
        self._max_future = dt.timedelta(seconds=limits.max_future_s)
        self._clock = timestamp.TimestampReader(epoch=self._timestamps.epoch, as_text=limits.numbers_as_text)
        self._families = {one: fields.Family(one, limits) for one in models.DeviceType}
        self._sentinels = {one: family.sentinels for one, family in self._families.items() if family.sentinels}

    def decode(self, messages: list[models.Message], batch: models.Batch | None = None) -> models.Batch:
        """Every message's readings and dead letters, in the order received. Never raises for a payload.

        They are added to ``batch`` where there is one.
        """
        if batch is None:
            batch = models.Batch([])
        first = len(batch.messages)
        batch.messages += messages
        route_of = self._topics.route
        limit = self._limits.max_payload_bytes
        arrival = fast.Arrival(_LONG_AGO, _LONG_AGO, _LONG_AGO)
        for index, message in enumerate(messages, first):
            if message.received_at is not arrival.received_at:  # what was read together arrived together
                arrival = self._arrival(message.received_at)
            if message.retained:
                batch.retained = True
            route = route_of(message.topic)
            payload = message.payload
            if (
                route is None
                or payload[:1] != b"{"
                or len(payload) > limit
                or not fast.add(batch, (index, None), route, payload, arrival)
            ):
                self._slowly(batch, index, message, arrival)
        return batch

    def _slowly(self, batch: models.Batch, index: int, message: models.Message, arrival: fast.Arrival) -> None:
        """A message that is an array, or with which something is wrong."""
        route = self._topics.route(message.topic)
        try:
            self._message(batch, index, message, route, arrival)
        except _Invalid as invalid:
            batch.dead_letters.append(_letter(message, route, message.payload, invalid))
        except Exception as error:  # noqa: BLE001
            # A defect of ours must not become a crash loop over one message: it is kept where people look.
            _log.exception("message.decode_failed", topic=message.topic)
            detail = f"voltd could not decode it ({type(error).__name__}): please report this"
            batch.dead_letters.append(models.DeadLetter(message, message.payload, Reason.NOT_JSON, detail))

    def _message(
        self,
        batch: models.Batch,
        index: int,
        message: models.Message,
        route: Route | None,
        arrival: fast.Arrival,
    ) -> None:
        limit = self._limits.max_payload_bytes
        if len(message.payload) > limit:
            size = message.size or len(message.payload)
            raise _Invalid(Reason.TOO_LARGE, f"payload of {size} bytes is over limits.max_payload_bytes = {limit}")
        if route is None:
            raise _Invalid(Reason.UNKNOWN_TOPIC, "no topic filter in the settings matches this topic")
        payload = frame.bare(message.payload)
        if payload.lstrip(frame.WHITESPACE)[:1] == b"[":
            most = self._limits.max_array_readings
            if not fast.add_array(batch, index, route, payload, arrival, most=most):
                self._elements(batch, index, message, route, arrival=arrival, texts=_elements(payload))
            return
        if payload is not message.payload and fast.add(batch, (index, None), route, payload, arrival):
            return
        try:
            value = frame.parse(payload)
        except ValueError as error:
            try:
                texts = frame.lines(payload)
            except ValueError:
                raise _Invalid(Reason.NOT_JSON, frame.explain(message.payload, error)) from None
            self._elements(batch, index, message, route, arrival=arrival, texts=texts)
        else:
            self._one(batch, (index, None), message, route, value, payload=message.payload)

    def _elements(
        self,
        batch: models.Batch,
        index: int,
        message: models.Message,
        route: Route,
        *,
        arrival: fast.Arrival,
        texts: Sequence[bytes | msgspec.Raw],
    ) -> None:
        limit = self._limits.max_array_readings
        if not texts:
            raise _Invalid(Reason.NO_MEASUREMENT, "an array without readings")
        if len(texts) > limit:
            detail = f"array of {len(texts)} readings is over limits.max_array_readings = {limit}"
            raise _Invalid(Reason.TOO_MANY, detail)
        for position, text in enumerate(texts):
            if fast.add(batch, (index, position), route, text, arrival):
                continue
            payload = bytes(text)
            try:
                self._one(batch, (index, position), message, route, _value(payload), payload=payload)
            except _Invalid as invalid:
                batch.dead_letters.append(_letter(message, route, payload, invalid, position))

    def _arrival(self, received_at: dt.datetime) -> fast.Arrival:
        return fast.Arrival(
            received_at,
            received_at - self._max_age,
            received_at + self._max_future,
            self._timestamps.epoch,
            self._sentinels,
        )

    def _one(
        self,
        batch: models.Batch,
        source: models.Source,
        message: models.Message,
        route: Route,
        value: Any,
        *,
        payload: bytes,
    ) -> None:
        """One reading, its fields one by one; ``payload`` is its text, for the dead letters.

        Raises:
            Invalid: it is refused whole; nothing was added.
        """
        device_type, value = (route.device_type, value) if route.device_type else origin.open_envelope(value)
        if value.__class__ is not dict:
            raise _Invalid(Reason.NOT_AN_OBJECT, hints.no_object(value))
        try:
            device_id, recorded_at, found = self._read(batch, message, route, device_type, value)
        except _Invalid as invalid:
            written = value.get(readings.id_name(device_type))
            named = written if route.device_id is None and isinstance(written, str) else route.device_id
            invalid.device = (device_type, named)
            raise
        batch.ignored_fields += found.ignored
        nothing = found.columns.count(None) == len(found.columns)
        for reason, detail, field in found.bad:
            letter = (message, payload, reason, detail, source[1], field, device_type, device_id, True, nothing)
            batch.dead_letters.append(models.DeadLetter._make(letter))
        if nothing and found.bad:
            return
        if nothing:
            batch.alive_sources.append(source)
            if not message.retained:
                batch.alive.append(models.SignOfLife(device_type, device_id, message.received_at))
            return
        row = (device_id, recorded_at, *found.columns, message.received_at)
        if device_type is models.DeviceType.VEHICLE:
            batch.vehicles.append(models.VehicleReading._make(row))
            batch.vehicle_sources.append(source)
        else:
            batch.meters.append(models.MeterReading._make(row))
            batch.meter_sources.append(source)

    def _read(
        self,
        batch: models.Batch,
        message: models.Message,
        route: Route,
        device_type: models.DeviceType,
        value: Mapping[str, Any],
    ) -> tuple[str, dt.datetime, fields.Fields]:
        """Id, time and fields; names that nobody knows are counted, whatever becomes of the reading.

        Raises:
            Invalid: it is refused whole.
        """
        family = self._families[device_type]
        time_name, recorded_at = self._recorded_at(value, family, message)
        id_name = readings.id_name(device_type)
        device_id = origin.device_id(value.get(id_name), route.device_id, id_name)
        found = family.read(value, time_name)
        if found.unknown:
            batch.note_unknown(device_type, found.unknown)
        if found.bad and self._limits.bad_field == "reject":
            raise _Invalid(*found.bad[0])
        if not found.known:
            others = self._families[_OTHER[device_type]].fields
            detail = hints.no_measurement(value, family.fields, found.unknown, others)
            raise _Invalid(Reason.NO_MEASUREMENT, detail)
        return device_id, recorded_at, found

    def _recorded_at(
        self,
        value: Mapping[str, Any],
        family: fields.Family,
        message: models.Message,
    ) -> tuple[str, dt.datetime]:
        """The reading's time, and the name of the field that has it."""
        name = "timestamp"
        written = value.get(name)
        if written is None:
            name = "createdAt"
            written = value.get(name)
        if written is None:
            raise _Invalid(Reason.MISSING_FIELD, hints.no_time(value, family.fields), "timestamp")
        recorded_at = self._clock.read(name, written, self._topics.zone(message.topic))
        ahead = recorded_at - message.received_at
        if ahead > self._max_future:
            lead = terminal.lasting(ahead)
            detail = f"{name}: {lead} ahead of its arrival, limits.max_future_s = {self._limits.max_future_s}"
            raise _Invalid(Reason.IN_FUTURE, detail, name)
        if -ahead > self._max_age:
            detail = f"{name}: {(-ahead).days} days before its arrival, limits.max_age_days = {self._max_age.days}"
            raise _Invalid(Reason.TOO_OLD, detail, name)
        return name, recorded_at


def _letter(
    message: models.Message,
    route: Route | None,
    payload: bytes,
    invalid: _Invalid,
    element: int | None = None,
) -> models.DeadLetter:
    device_type, device_id = invalid.device
    if device_type is None and route is not None:
        device_type, device_id = route.device_type, route.device_id
    if device_id is not None and not 1 <= len(device_id) <= readings.ID_LENGTH:
        device_id = None
    reason, detail, field = invalid.refusal
    return models.DeadLetter(message, payload, reason, detail, element, field, device_type, device_id)


def _elements(payload: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return frame.elements(payload)
    except ValueError as error:
        raise _Invalid(Reason.NOT_JSON, frame.explain(payload, error)) from None


def _value(text: bytes) -> Any:
    try:
        return frame.parse(text)
    except ValueError as error:
        raise _Invalid(Reason.NOT_JSON, frame.explain(text, error)) from None
