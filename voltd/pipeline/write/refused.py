"""Devices that send and of which everything is refused, recorded in the transaction of their dead letters.

Called by ``write``. Such a device is not stale, and no rule must call it so (``rules.inactivity``). The device is
the one that the topic names, else the payload. Kept in memory: when a device was last written, so that ten thousand
broken devices cost one row each in half a minute, however much they send. Whether a device has been stored since is
for the reader to compare: nothing is taken back here.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg

from voltd import config, models
from voltd.database import queries
from voltd.pipeline.decode import topic
from voltd.pipeline.decode.devices import families

_EVERY_S = 30.0
_MOST_CACHED = 100_000
_LONGEST_ID = 64
_LONGEST_DETAIL = 200
_LONGEST_PAYLOAD = 65_536  # what is longer is not read for the sake of an id

Key = tuple[str, str]  # device type and id


class _Ids(msgspec.Struct, rename="camel"):
    vehicle_id: Any = None
    meter_id: Any = None


class _Envelope(msgspec.Struct):
    type: Any = None
    payload: _Ids | None = None


_ids = msgspec.json.Decoder(_Ids).decode
_envelope = msgspec.json.Decoder(_Envelope).decode


class Found(NamedTuple):
    """A row of ``volt_internal.refused_device``: the latest refusal of a device in one batch, and the first."""

    device_type: str
    device_id: str
    since: dt.datetime
    last_at: dt.datetime
    reason: str
    detail: str

    @property
    def key(self) -> Key:
        """Whose it is."""
        return (self.device_type, self.device_id)


class Refused:
    """What one writer has recorded lately; one thread uses it.

    Args:
        topics: which topic names which device.
        others: device families with formats of their own.
    """

    def __init__(self, topics: config.Topics, others: families.Families | None = None) -> None:
        self._topics = topic.TopicTable(topics, others=others)
        self._written: dict[Key, float] = {}

    def insert(self, cursor: psycopg.Cursor[Any], batch: models.Batch, result: models.WriteResult) -> Sequence[Key]:
        """Records who was refused, in the batch's transaction; call ``written`` once that is committed.

        Raises:
            psycopg.Error: as it comes; the caller wraps it, and nothing of the batch is stored.
        """
        if not result.dead_letters:
            return ()
        found = self.find(batch, result, time.monotonic())
        if found:
            columns = dict(zip(Found._fields, map(list, zip(*sorted(found.values()), strict=True)), strict=True))
            cursor.execute(queries.text("upsert_refused_devices"), columns)
        return list(found)

    def written(self, keys: Sequence[Key]) -> None:
        """These are in the database now."""
        if not keys:
            return
        if len(self._written) + len(keys) > _MOST_CACHED:  # invented ids must not fill the memory
            self._written.clear()
        clock_s = time.monotonic()
        self._written.update((key, clock_s) for key in keys)

    def find(self, batch: models.Batch, result: models.WriteResult, clock_s: float) -> Mapping[Key, Found]:
        """Who is to be recorded: refused in this batch, nothing of it stored by this batch, not written just now."""
        found: dict[Key, Found] = {}
        for letter in result.dead_letters:
            stored = letter.partial and not letter.nothing_left  # but for a field
            passed = stored or letter.message.retained  # history, no sign of life
            key = None if passed else self._device(letter)
            if key is None or clock_s - self._written.get(key, -_EVERY_S) < _EVERY_S:
                continue
            at, before = letter.message.received_at, found.get(key)
            since, last = (min(before.since, at), max(before.last_at, at)) if before else (at, at)
            found[key] = Found(*key, since, last, letter.reason.value, _clean(letter.detail))
        if found:
            refused = {id(one) for one in result.refused}
            for device_type, readings in (("vehicle", batch.vehicles), ("meter", batch.meters)):
                ids = {device_id for kind, device_id in found if kind == device_type}
                for reading in readings:
                    if reading[0] in ids and id(reading) not in refused:
                        found.pop((device_type, reading[0]), None)
        return found

    def _device(self, letter: models.DeadLetter) -> Key | None:
        route = self._topics.route(letter.message.topic)
        if route is None:
            return None
        if route.device_type is not None and route.device_id is not None:
            return _key(route.device_type.value, route.device_id)
        payload = letter.payload
        if len(payload) > _LONGEST_PAYLOAD or payload.lstrip()[:1] != b"{":
            return None
        try:
            if route.device_type is None:
                envelope = _envelope(payload)
                device_type, ids = str(envelope.type).lower(), envelope.payload
            else:
                device_type, ids = route.device_type.value, _ids(payload)
        except (msgspec.MsgspecError, ValueError):
            return None
        if ids is None or device_type not in ("vehicle", "meter"):
            return None
        return _key(device_type, ids.vehicle_id if device_type == "vehicle" else ids.meter_id)


def _key(device_type: str, device_id: object) -> Key | None:
    if not isinstance(device_id, str) or not 1 <= len(device_id) <= _LONGEST_ID or "\0" in device_id:
        return None
    return (device_type, device_id)


def _clean(detail: str) -> str:
    """What PostgreSQL can hold, in a line."""
    return detail.replace("\0", "").encode("utf-8", "replace").decode()[:_LONGEST_DETAIL]
