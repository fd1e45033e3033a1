"""Adds what messages of device families say to a batch: dated readings at once, others when they are gathered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from voltd import config, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, letters, timestamp
from voltd.pipeline.decode.devices import claims, families, gather, taken
from voltd.readings import DeviceType

_TIME_SOURCE = {one: list(readings.fields(one)).index("time_source") for one in DeviceType}
_ARRIVAL = "arrival"


class Translation:
    """The way of a family's message into a batch.

    Args:
        limits: payload and value limits.
        times: between which times readings must be dated.
        claimed: which source each id comes from.
    """

    def __init__(self, limits: config.Limits, times: timestamp.Range, claimed: claims.Claims) -> None:
        self._limits = limits
        self._times = times
        self._claims = claimed

    def add(
        self,
        message: models.Message,
        route: families.FamilyRoute,
        batch: models.Batch,
        gathering: gather.Gather,
        *,
        replayed: bool,
    ) -> None:
        """Adds the message with what it says, or gives it to ``gathering``. Never raises for a payload."""
        if route.listener is None:
            self._add(message, route, batch, gathering, replayed=replayed)
            return
        heard = route.listener.hear(message)
        if isinstance(heard, models.Message):
            self._add(heard, route, batch, gathering, replayed=replayed)
            return
        if heard.message is None:
            if not gathering.wait(heard.node, (message, route, heard.until or message.received_at)):
                self._add(message, route, batch, gathering, replayed=replayed)
            return
        self._add(heard.message, route, batch, gathering, replayed=replayed)
        if heard.died:
            for late, its_route, _ in gathering.waited(heard.node):
                self._add(late, its_route, batch, gathering, replayed=False)
        elif heard.born:
            gathering.heard(heard.node)

    def add_overdue(self, batch: models.Batch, gathering: gather.Gather, now: dt.datetime | None) -> None:
        """Adds the messages that have waited for too long by ``now``; None: all that wait. They will be refused."""
        for message, route, _ in gathering.overdue(now):
            self._add(message, route, batch, gathering, replayed=False)

    def add_born(self, batch: models.Batch, gathering: gather.Gather) -> None:
        """Adds what waited for births that have come; once for many of them."""
        for node, some in gathering.born():
            for waiting in some:
                message, route, _ = waiting
                again = route.listener.again(message)
                if again is not None:
                    self._add(again, route, batch, gathering, replayed=False)
                elif not gathering.wait(node, waiting):
                    self._add(message, route, batch, gathering, replayed=False)

    def _add(
        self,
        message: models.Message,
        route: families.FamilyRoute,
        batch: models.Batch,
        gathering: gather.Gather,
        *,
        replayed: bool,
    ) -> None:
        device = (route.device_type, route.device_id)
        try:
            found = self._read(message, route)
            if route.watch is not None:
                route.watch.see(found)
            if self._undated(found) and not (message.retained and not replayed):
                found = taken.together(found) if len(found) > 1 else found
                # A message waits for one reading at most: it is acked when that is stored.
                if len(found) == 1:
                    one = found[0]
                    gathering.add(message, one, route.within)
                    self._claims.note(one.device_type, one.device_id, route.source, message.topic)
                    return
            self._add_now(message, found, batch, gathering, replayed=replayed)
            for one in found:
                if _measures(one):
                    self._claims.note(one.device_type, one.device_id, route.source, message.topic)
        except fields.Invalid as invalid:
            _place(message, batch)
            batch.dead_letters.append(letters.refused(message, message.payload, invalid, device))
        except Exception as error:  # noqa: BLE001
            _place(message, batch)
            batch.dead_letters.append(letters.defect(message, error))

    def add_group(self, batch: models.Batch, group: gather.Group) -> None:
        """Adds a gathered reading with its messages."""
        index = len(batch.messages)
        batch.messages += group.messages
        if len(group.messages) > 1:
            batch.gathered[index] = len(group.messages)
        device_type, device_id = group.key
        for message, refusal in group.bad:
            batch.dead_letters.append(_partial(message, refusal, device_type, device_id, nothing_left=False))
        columns = group.summed()
        if columns.count(None) == len(columns):  # parts of a sum, and not all of them
            _alive(batch, index, group.messages[0], device_type, device_id)
            return
        _row(batch, index, device_type, device_id, (group.at, columns, group.arrived_at), by_arrival=True)

    def _read(self, message: models.Message, route: families.FamilyRoute) -> Sequence[taken.Taken]:
        limit = self._limits.max_payload_bytes
        if len(message.payload) > limit:
            size = message.size or len(message.payload)
            raise fields.Invalid(
                Reason.TOO_LARGE, f"payload of {size} bytes is over limits.max_payload_bytes = {limit}"
            )
        found = []
        read = route.reader.read(message, route.device_id)
        for one in read:
            if one.device_id != route.device_id and one.device_id in route.ids:
                one = one._replace(device_id=route.ids[one.device_id])  # noqa: PLW2901 the same, by its name here
            if not 1 <= len(one.device_id) <= readings.ID_LENGTH or "\0" in one.device_id:
                raise fields.Invalid(
                    Reason.BAD_TEXT,
                    f"the device id has {len(one.device_id)} characters, 1 to {readings.ID_LENGTH} are allowed, no NUL",
                )
            one = self._timed(one, message, alone=len(read) == 1)  # noqa: PLW2901 what its time leaves of it
            if one.bad and self._limits.bad_field == "reject":
                raise fields.Invalid(*one.bad[0])
            found.append(one)
        return found

    def _timed(self, one: taken.Taken, message: models.Message, *, alone: bool) -> taken.Taken:
        """The same; if its time is refused beside others, without its values, each of which is refused."""
        if one.at is None:
            return one
        try:
            self._times.check("the time", one.at, message.received_at)
        except fields.Invalid as invalid:
            if alone:
                raise
            reason, detail, _ = invalid.refusal
            names = zip(readings.fields(one.device_type).values(), one.columns, strict=True)
            bad = [fields.Refusal(reason, detail, field.wire) for field, value in names if value is not None]
            return one._replace(at=None, columns=[None] * len(one.columns), bad=[*one.bad, *bad])
        return one

    @staticmethod
    def _undated(found: Sequence[taken.Taken]) -> bool:
        """Whether the message waits for others: each of its readings measures something, and none is dated."""
        return (
            bool(found)
            and found[0].at is None
            and all(one.at is None and (_measures(one) or one.parts) for one in found)
        )

    def _add_now(
        self,
        message: models.Message,
        found: Sequence[taken.Taken],
        batch: models.Batch,
        gathering: gather.Gather,
        *,
        replayed: bool,
    ) -> None:
        index = _place(message, batch)
        if not found:
            batch.alive_sources.append((index, None))
            batch.passed_over += 1
        for one in found:
            measures = _measures(one)
            batch.ignored_fields += one.ignored
            for refusal in one.bad:
                nothing = not measures
                batch.dead_letters.append(
                    _partial(message, refusal, one.device_type, one.device_id, nothing_left=nothing)
                )
            if not measures or (one.at is None and message.retained and not replayed):
                # What is retained and not dated is of a time that nobody knows.
                if not one.bad:
                    heard = one.alive and not message.retained
                    _alive(batch, index, message, one.device_type, one.device_id, heard=heard)
            else:
                at = one.at
                if at is None:
                    gathering.end((one.device_type, one.device_id))
                    at = gathering.moment((one.device_type, one.device_id), message.received_at)
                times = (at, one.columns, message.received_at)
                _row(batch, index, one.device_type, one.device_id, times, by_arrival=one.at is None)


def _place(message: models.Message, batch: models.Batch) -> int:
    batch.messages.append(message)
    batch.retained = batch.retained or message.retained
    return len(batch.messages) - 1


def _measures(one: taken.Taken) -> bool:
    return one.columns.count(None) < len(one.columns)


def _alive(
    batch: models.Batch,
    index: int,
    message: models.Message,
    device_type: DeviceType,
    device_id: str,
    *,
    heard: bool = True,
) -> None:
    batch.alive_sources.append((index, None))
    if not heard:
        batch.passed_over += 1
    else:
        batch.alive.append(models.SignOfLife(device_type, device_id, message.received_at))


def _partial(
    message: models.Message, refusal: fields.Refusal, device_type: DeviceType, device_id: str, *, nothing_left: bool
) -> models.DeadLetter:
    reason, detail, field = refusal
    return models.DeadLetter(
        message,
        message.payload,
        reason,
        detail,
        None,
        field,
        device_type,
        device_id,
        partial=True,
        nothing_left=nothing_left,
    )


def _row(
    batch: models.Batch,
    index: int,
    device_type: DeviceType,
    device_id: str,
    read: tuple[dt.datetime, Any, dt.datetime],
    *,
    by_arrival: bool,
) -> None:
    at, columns, received_at = read
    if by_arrival:
        columns = list(columns)
        columns[_TIME_SOURCE[device_type]] = _ARRIVAL
    row = (device_id, at, *columns, received_at)
    if device_type is DeviceType.VEHICLE:
        batch.vehicles.append(models.VehicleReading._make(row))
        batch.vehicle_sources.append((index, None))
    else:
        batch.meters.append(models.MeterReading._make(row))
        batch.meter_sources.append((index, None))
