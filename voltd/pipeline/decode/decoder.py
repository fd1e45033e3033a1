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

from voltd import config, hints, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fast, fields, frame, letters, origin, timestamp
from voltd.pipeline.decode.devices import families, gather, translate
from voltd.pipeline.decode.topic import Route, TopicTable

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
        others: device families with formats of their own; None: there are none.
    """

    def __init__(
        self,
        topics: config.Topics,
        limits: config.Limits,
        max_age_days: int,
        timestamps: config.Timestamps | None = None,
        others: families.Families | None = None,
    ) -> None:
        self._timestamps = timestamps or config.Timestamps()
        self._topics = TopicTable(topics, self._timestamps.zone, others)
        self._limits = limits
        self._times = timestamp.Range(max_age_days, limits.max_future_s)
        self._claims = self._topics.families.claims
        self._translation = translate.Translation(limits, self._times, self._claims)
        self._clock = timestamp.TimestampReader(epoch=self._timestamps.epoch, as_text=limits.numbers_as_text)
        self._readers = {one: fields.FieldReader(one, limits) for one in models.DeviceType}
        self._sentinels = {one: reader.sentinels for one, reader in self._readers.items() if reader.sentinels}

    def decode(
        self,
        messages: list[models.Message],
        batch: models.Batch | None = None,
        gathering: gather.Gather | None = None,
        *,
        replayed: bool = False,
    ) -> models.Batch:
        """Every message's readings and dead letters, in the order received. Never raises for a payload.

        Args:
            messages: as received.
            batch: they are added to it where there is one.
            gathering: keeps what is not complete yet, until ``complete`` is called; None: everything is complete at
                the end, as if nothing else came.
            replayed: their times of receipt are true even where they are retained.
        """
        if batch is None:
            batch = models.Batch([])
        gathered = gather.Gather() if gathering is None else gathering
        route_of = self._topics.route
        limit = self._limits.max_payload_bytes
        arrival = fast.Arrival(_LONG_AGO, _LONG_AGO, _LONG_AGO)
        taken = batch.messages
        index = len(taken)
        for message in messages:
            route = route_of(message.topic)
            if route is not None and route.family is not None:
                self._translation.add(message, route.family, batch, gathered, replayed=replayed)
                index = len(taken)
                continue
            if message.received_at is not arrival.received_at:  # what was read together arrived together
                arrival = self._arrival(message.received_at)
            if message.retained:
                batch.retained = True
            taken.append(message)
            payload = message.payload
            if (
                route is None
                or payload[:1] != b"{"
                or len(payload) > limit
                or not fast.add(batch, (index, None), route, payload, arrival)
            ):
                self._slowly(batch, index, message, arrival)
            index += 1
        self._translation.add_born(batch, gathered)
        if gathering is None and gathered.held:
            self.complete(batch, gathered, None)
        if self._claims.new:
            batch.shared_ids += self._claims.take()
        return batch

    def complete(self, batch: models.Batch, gathering: gather.Gather, now: dt.datetime | None) -> int:
        """Adds the gathered readings that are complete by ``now``; None: all. Returns how many messages they were."""
        before = len(batch.messages)
        self._translation.add_overdue(batch, gathering, now)
        for group in gathering.complete(now):
            self._translation.add_group(batch, group)
        return len(batch.messages) - before

    def _slowly(self, batch: models.Batch, index: int, message: models.Message, arrival: fast.Arrival) -> None:
        """A message that is an array, or with which something is wrong."""
        route = self._topics.route(message.topic)
        try:
            self._message(batch, index, message, route, arrival)
        except _Invalid as invalid:
            device = (route.device_type, route.device_id) if route else (None, None)
            batch.dead_letters.append(letters.refused(message, message.payload, invalid, device))
        except Exception as error:  # noqa: BLE001
            batch.dead_letters.append(letters.defect(message, error))

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
                self._one(batch, (index, position), message, route, letters.parsed(payload), payload=payload)
            except _Invalid as invalid:
                device = (route.device_type, route.device_id)
                batch.dead_letters.append(letters.refused(message, payload, invalid, device, position))

    def _arrival(self, received_at: dt.datetime) -> fast.Arrival:
        return fast.Arrival(
            received_at,
            self._times.oldest(received_at),
            self._times.newest(received_at),
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
            if message.retained:
                batch.passed_over += 1
            else:
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
        reader = self._readers[device_type]
        time_name, recorded_at = self._recorded_at(value, reader, message)
        id_name = readings.id_name(device_type)
        device_id = origin.device_id(value.get(id_name), route.device_id, id_name)
        found = reader.read(value, time_name)
        if found.unknown:
            batch.note_unknown(device_type, found.unknown)
        if found.bad and self._limits.bad_field == "reject":
            raise _Invalid(*found.bad[0])
        if not found.known:
            others = self._readers[_OTHER[device_type]].fields
            detail = hints.no_measurement(value, reader.fields, found.unknown, others)
            raise _Invalid(Reason.NO_MEASUREMENT, detail)
        return device_id, recorded_at, found

    def _recorded_at(
        self,
        value: Mapping[str, Any],
        reader: fields.FieldReader,
        message: models.Message,
    ) -> tuple[str, dt.datetime]:
        """The reading's time, and the name of the field that has it."""
        name = "timestamp"
        written = value.get(name)
        if written is None:
            name = "createdAt"
            written = value.get(name)
        if written is None:
            raise _Invalid(Reason.MISSING_FIELD, hints.no_time(value, reader.fields), "timestamp")
        recorded_at = self._clock.read(name, written, self._topics.zone(message.topic), message.received_at)
        self._times.check(name, recorded_at, message.received_at)
        return name, recorded_at


def _elements(payload: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return frame.elements(payload)
    except ValueError as error:
        raise _Invalid(Reason.NOT_JSON, frame.explain(payload, error)) from None
