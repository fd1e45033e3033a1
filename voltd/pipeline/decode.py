"""Decode: payloads into readings or dead letters, the pure step between ``consume`` and ``flush``.

``flush`` calls ``Decoder.decode`` with the messages it has taken. No I/O and no clock: time is judged against each
message's ``received_at``. Nothing raises for what a device sent: each message, and each element of an array, comes
out as a reading or as a dead letter with its reason.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import pydantic
import pydantic_core
import structlog

from voltd import config, models
from voltd.models import Reason
from voltd.pipeline import decode_fast, decode_payload, decode_topic

_log = structlog.get_logger()

_WHITESPACE = b" \t\r\n"
_ENVELOPE_TYPES = {"VEHICLE": models.DeviceType.VEHICLE, "METER": models.DeviceType.METER}
_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_raw_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_PayloadT = TypeVar("_PayloadT", decode_payload.VehiclePayload, decode_payload.MeterPayload)


class _Invalid(Exception):
    """One reading that cannot be stored."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Decoder:
    """Turns messages into a batch.

    Args:
        topics: which filter carries what.
        limits: payload, array and time limits.
        max_age_days: the oldest reading taken.
    """

    def __init__(self, topics: config.Topics, limits: config.Limits, max_age_days: int) -> None:
        self._topics = decode_topic.TopicTable(topics)
        self._limits = limits
        self._max_age = dt.timedelta(days=max_age_days)
        self._max_future = dt.timedelta(seconds=limits.max_future_s)

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
        times = decode_fast.Times(_LONG_AGO, _LONG_AGO, _LONG_AGO)
        for index, message in enumerate(messages, first):
            if message.received_at is not times.received_at:  # what was read together arrived together
                times = self._times(message.received_at)
            if message.retained:
                batch.retained = True
            route = route_of(message.topic)
            payload = message.payload
            if (
                route is None
                or payload[:1] != b"{"
                or len(payload) > limit
                or not decode_fast.add(batch, (index, None), route, payload, times)
            ):
                self._slowly(batch, index, message, times)
        return batch

    def _slowly(self, batch: models.Batch, index: int, message: models.Message, times: decode_fast.Times) -> None:
        """A message that is an array, or with which something is wrong."""
        try:
            self._message(batch, index, message, times)
        except _Invalid as invalid:
            letter = models.DeadLetter(message, message.payload, invalid.reason, invalid.detail)
            batch.dead_letters.append(letter)
        except Exception as error:  # noqa: BLE001
            # A defect of ours must not become a crash loop over one message: it is kept where people look.
            _log.exception("message.decode_failed", topic=message.topic)
            detail = f"voltd could not decode it ({type(error).__name__}): please report this"
            batch.dead_letters.append(models.DeadLetter(message, message.payload, Reason.NOT_JSON, detail))

    def _message(self, batch: models.Batch, index: int, message: models.Message, times: decode_fast.Times) -> None:
        payload = message.payload
        limit = self._limits.max_payload_bytes
        if len(payload) > limit:
            size = message.size or len(payload)
            raise _Invalid(Reason.TOO_LARGE, f"payload of {size} bytes is over limits.max_payload_bytes = {limit}")
        route = self._topics.route(message.topic)
        if route is None:
            raise _Invalid(Reason.UNKNOWN_TOPIC, "no topic filter in the settings matches this topic")
        if payload.lstrip(_WHITESPACE)[:1] == b"[":
            self._array(batch, index, message, route, times)
        else:
            self._one(batch, (index, None), message, route, payload)

    def _array(
        self,
        batch: models.Batch,
        index: int,
        message: models.Message,
        route: decode_topic.Route,
        times: decode_fast.Times,
    ) -> None:
        limit = self._limits.max_array_readings
        if decode_fast.add_array(batch, index, route, message.payload, times, most=limit):
            return
        texts = elements(message.payload)
        if not texts:
            raise _Invalid(Reason.NO_MEASUREMENT, "an array without readings")
        if len(texts) > limit:
            raise _Invalid(
                Reason.TOO_MANY, f"array of {len(texts)} readings is over limits.max_array_readings = {limit}"
            )
        for position, text in enumerate(texts):
            if decode_fast.add(batch, (index, position), route, text, times):
                continue
            try:
                self._one(batch, (index, position), message, route, bytes(text))
            except _Invalid as invalid:
                letter = models.DeadLetter(message, bytes(text), invalid.reason, invalid.detail, position)
                batch.dead_letters.append(letter)

    def _times(self, received_at: dt.datetime) -> decode_fast.Times:
        return decode_fast.Times(received_at, received_at - self._max_age, received_at + self._max_future)

    def _one(
        self,
        batch: models.Batch,
        source: tuple[int, int | None],
        message: models.Message,
        route: decode_topic.Route,
        payload: bytes,
    ) -> None:
        device_type = route.device_type
        if device_type is None:
            device_type, payload = _open_envelope(payload)
        if device_type is models.DeviceType.VEHICLE:
            batch.vehicles.append(self._vehicle(batch, message, route.device_id, payload))
            batch.vehicle_sources.append(source)
        else:
            batch.meters.append(self._meter(batch, message, route.device_id, payload))
            batch.meter_sources.append(source)

    def _vehicle(
        self, batch: models.Batch, message: models.Message, topic_id: str | None, payload: bytes
    ) -> models.VehicleReading:
        fields = self._validate(decode_payload.VEHICLE, payload, message)
        reading = models.VehicleReading(
            _device_id(fields.id, topic_id, "vehicleId"),
            self._recorded_at(fields.timestamp, message.received_at),
            fields.soc,
            fields.speed,
            fields.battery_temp,
            fields.kwh,
            fields.register_kwh,
            fields.latitude,
            fields.longitude,
            fields.charging_status,
            fields.odometer,
            fields.returned_kwh,
            fields.returned_register_kwh,
            _diagnostics(fields.diagnostics),
            message.received_at,
        )
        _check_values(reading, payload)
        batch.unknown_fields += len(fields.__pydantic_extra__ or ())
        return reading

    def _meter(
        self, batch: models.Batch, message: models.Message, topic_id: str | None, payload: bytes
    ) -> models.MeterReading:
        fields = self._validate(decode_payload.METER, payload, message)
        reading = models.MeterReading(
            _device_id(fields.id, topic_id, "meterId"),
            self._recorded_at(fields.timestamp, message.received_at),
            fields.kwh,
            fields.register_kwh,
            fields.voltage,
            fields.current,
            fields.power,
            fields.returned_kwh,
            fields.returned_register_kwh,
            message.received_at,
        )
        _check_values(reading, payload)
        batch.unknown_fields += len(fields.__pydantic_extra__ or ())
        return reading

    def _validate(self, adapter: pydantic.TypeAdapter[_PayloadT], payload: bytes, message: models.Message) -> _PayloadT:
        try:
            return adapter.validate_json(payload)
        except pydantic.ValidationError as error:
            # Its age decides first: mending a value would not make such a reading storable.
            with contextlib.suppress(pydantic.ValidationError):
                self._recorded_at(decode_payload.TIME_ONLY.validate_json(payload).timestamp, message.received_at)
            raise _Invalid(*decode_payload.explain(error)) from None

    def _recorded_at(self, recorded_at: dt.datetime, received_at: dt.datetime) -> dt.datetime:
        age = received_at - recorded_at
        if age > self._max_age:
            raise _Invalid(
                Reason.TOO_OLD,
                f"{recorded_at.isoformat()} is {age.days} days old, the limit is {self._max_age.days}",
            )
        if -age > self._max_future:
            raise _Invalid(
                Reason.IN_FUTURE,
                f"{recorded_at.isoformat()} is {-age.total_seconds():.0f} s ahead, "
                f"the limit is {self._limits.max_future_s}: check the device's clock",
            )
        return recorded_at


def elements(payload: bytes) -> Sequence[bytes | msgspec.Raw]:
    """The JSON texts of an array's elements, whatever they are worth."""
    try:
        return _raw_elements(payload)
    except Exception:  # noqa: BLE001 NaN for example, which is an element's fault, not the array's
        try:
            values: list[Any] = pydantic_core.from_json(payload, allow_inf_nan=True)
        except ValueError as error:
            raise _Invalid(Reason.NOT_JSON, str(error)[:200]) from None
        return [pydantic_core.to_json(value, inf_nan_mode="constants") for value in values]


def _open_envelope(payload: bytes) -> tuple[models.DeviceType, bytes]:
    """``{"type": "VEHICLE" | "METER", "payload": {...}}`` into its device type and the payload's JSON."""
    try:
        envelope = pydantic_core.from_json(payload, allow_inf_nan=True)
    except ValueError as error:
        raise _Invalid(Reason.NOT_JSON, str(error)[:200]) from None
    if not isinstance(envelope, dict):
        raise _Invalid(Reason.NOT_AN_OBJECT, "an envelope is an object with type and payload")
    for name in ("type", "payload"):
        if name not in envelope:
            raise _Invalid(Reason.MISSING_FIELD, f"{name}: an envelope is an object with type and payload")
    device_type = _ENVELOPE_TYPES.get(envelope["type"]) if isinstance(envelope["type"], str) else None
    if device_type is None:
        raise _Invalid(Reason.UNKNOWN_TYPE, f"type: should be VEHICLE or METER, not {envelope['type']!r:.60}")
    return device_type, pydantic_core.to_json(envelope["payload"], inf_nan_mode="constants")


def _device_id(in_payload: str | None, in_topic: str | None, field: str) -> str:
    if in_topic is None:
        if in_payload is None:
            raise _Invalid(Reason.MISSING_FIELD, f"{field}: needed where the topic carries no device id")
        return in_payload
    if in_payload is not None and in_payload != in_topic:
        raise _Invalid(Reason.ID_MISMATCH, f"{field}: {in_payload!r} was sent on the topic of {in_topic!r:.70}")
    if not 1 <= len(in_topic) <= decode_fast.ID_LENGTH:
        raise _Invalid(Reason.BAD_TEXT, f"the topic's device id has {len(in_topic)} characters, 1 to 64 are allowed")
    return in_topic


def _check_values(reading: models.Reading, payload: bytes) -> None:
    if all(value is None for value in reading[2:-1]):
        raise _Invalid(Reason.NO_MEASUREMENT, "id and time only: at least one measurement belongs to a reading")
    if b"\\u0000" in payload and _has_nul(reading):
        raise _Invalid(Reason.BAD_TEXT, "a NUL character (\\u0000) in text, which PostgreSQL cannot hold")


def _has_nul(reading: models.Reading) -> bool:
    """A NUL in a text, or an escaped one in the JSON of diagnostics (an escaped backslash before u0000 is none)."""
    if any(isinstance(value, str) and "\0" in value for value in reading):
        return True
    diagnostics = reading.diagnostics if isinstance(reading, models.VehicleReading) else None
    return diagnostics is not None and "\\u0000" in diagnostics.replace("\\\\", "")


def _diagnostics(value: dict[str, Any] | None) -> str | None:
    try:
        return None if value is None else decode_fast.jsonb_text(value)
    except ValueError as error:  # NaN, Infinity, or an integer of thousands of digits
        raise _Invalid(Reason.OUT_OF_RANGE, f"diagnostics: {error}") from None
