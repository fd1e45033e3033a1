"""Shelly Gen2 and later: component statuses without a time, and notifications that say what changed and when.

A device publishes the same values both ways where both are switched on. Notifications have the time, so they go before:
a status is a sign of life while its device's notifications arrive. Facts: see ``shipped/shelly.toml``.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voltd import config, hints, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, frame, letters, timestamp
from voltd.pipeline.decode.devices import description, document, parts, path, shelly_memory, sources, taken
from voltd.readings import DeviceType

_COMPONENT = re.compile(r"([a-z][a-z0-9]{0,15}):([0-9]{1,4})", re.ASCII)
_PREFERRED_FOR = dt.timedelta(minutes=10)  # every component with a register notifies once a minute
_CLOCK_SET = dt.datetime(2010, 1, 1, tzinfo=dt.UTC)  # an earlier time counts from the start of the device
_MOST = 100_000  # components and devices known; invented ids must not fill the memory
_LONGEST_PREFIX = 256  # characters of a device's topics
_LONGEST = 1 << 16  # bytes of a notification that is completed
_METER = DeviceType.METER
_RETURNED = frozenset({("ret_aenergy", "total")})
# A switch that writes all of this writes all that it has.
_WHOLE_SWITCH = frozenset({"output", "source", "apower", "voltage", "current", "aenergy", "temperature"})

_PLUG = {
    # What goes into ret_aenergy is added to aenergy, too.
    "kwhConsumedAcTotal": {"path": "aenergy.total", "less": "ret_aenergy.total", "unit": "Wh"},
    "kwhReturnedAcTotal": {"path": "ret_aenergy.total", "unit": "Wh"},
    "power": {"path": "apower", "unit": "W"},
    "voltage": {"path": "voltage", "unit": "V"},
    "current": {"path": "current", "unit": "A"},
}
_COMPONENTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "em": {
        "power": {"path": "total_act_power", "unit": "W"},
        "voltage": {"path": ("a_voltage", "b_voltage", "c_voltage"), "take": "mean", "unit": "V"},
        "current": {"path": "total_current", "unit": "A"},
    },
    "emdata": {
        "kwhConsumedAcTotal": {"path": "total_act", "unit": "Wh"},
        "kwhReturnedAcTotal": {"path": "total_act_ret", "unit": "Wh"},
    },
    "em1": {
        "power": {"path": "act_power", "unit": "W"},
        "voltage": {"path": "voltage", "unit": "V"},
        "current": {"path": "current", "unit": "A"},
    },
    "em1data": {
        "kwhConsumedAcTotal": {"path": "total_act_energy", "unit": "Wh"},
        "kwhReturnedAcTotal": {"path": "total_act_ret_energy", "unit": "Wh"},
    },
    **dict.fromkeys(("switch", "pm1", "cover", "light"), _PLUG),
}
_Steps = tuple[path.Step, ...]


class _Component:
    """One kind of component: how a status of it is read, and where each of its fields gets its values from."""

    def __init__(self, described: Mapping[str, Mapping[str, Any]], limits: config.Limits) -> None:
        fields = {name: sources.DocumentField(**source) for name, source in described.items()}
        clock = timestamp.TimestampReader(epoch=True, as_text=False)
        self.reader = document.DocumentReader(
            description.Document(fields=fields, others="pass"), _METER, limits, clock, None
        )
        self.paths: list[list[_Steps]] = [
            [path.parse(one) for one in (*source.paths, *([source.less] if source.less else []))]
            for source in fields.values()
        ]
        self.several = [paths for paths in self.paths if len(paths) > 1]
        self.needed = [steps for paths in self.several for steps in paths]


class ShellyReader:
    """Reads ``events/rpc`` and ``status/<component>:<number>``; also the ``taken.Listener`` of notifications.

    Each number is a meter, number 0 is the device itself (``parts``). A notification has
    nothing but what changed; the values that stay the same are known from earlier messages. Those of the stream are
    completed when they are heard, so that the spool and dead letters need none. A field of which a value is not known
    is left out and counted: nobody knows yet whether a switch has ``ret_aenergy``.
    """

    def __init__(
        self,
        _special: description.Special,
        _device_type: DeviceType,
        limits: config.Limits,
        _zone: zoneinfo.ZoneInfo | None,
    ) -> None:
        self._components = {name: _Component(sources, limits) for name, sources in _COMPONENTS.items()}
        self._clock = timestamp.TimestampReader(epoch=True, as_text=False)
        self._nothing: list[Any] = [None] * len(readings.fields(_METER))
        self._known: dict[tuple[str, str], shelly_memory.Memory] = {}
        self._notified: dict[str, dt.datetime] = {}
        self._heard: tuple[bytes, Any] = (b"", None)

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        if found := _COMPONENT.fullmatch(message.topic.rpartition("/")[2]):
            return self._status(message, device_id, *found.groups())
        return self._notification(message, device_id)

    def hear(self, message: models.Message) -> models.Message:
        """See ``taken.Listener``: a notification with the values that it leaves out, where they are known."""
        payload = message.payload
        if len(payload) > _LONGEST or (b"aenergy" not in payload and b"_voltage" not in payload):
            return message  # none of the fields that need several values
        if _COMPONENT.fullmatch(message.topic.rpartition("/")[2]):
            return message
        try:
            value = frame.parse(frame.bare(payload))
            if value.__class__ is not dict:
                return message
            prefix, added = shelly_memory.prefix(message.topic), False
            for name, component, status, whole in self._statuses(value):
                memory = self._memory((prefix, name), status, whole=whole)
                added |= memory.complete(component.several, status, redelivered=message.redelivered)
            if added:
                message = message._replace(payload=frame.text(value))
        except (ValueError, OverflowError, RecursionError):  # its reader says what is wrong with it
            return message
        self._heard = (message.payload, value)
        return message

    def again(self, _message: models.Message) -> models.Message | None:
        """See ``taken.Listener``: none waits."""
        return None

    def _status(self, message: models.Message, device_id: str, name: str, number: str) -> Sequence[taken.Taken]:
        component = self._components.get(name)
        meter_id = parts.part_id(device_id, int(number))
        notified = self._notified.get(shelly_memory.prefix(message.topic))
        recently = notified is not None and abs(message.received_at - notified) < _PREFERRED_FOR
        if component is not None and component.several:
            self._learn_status(message)
        if component is None or recently:
            return (self._alive(meter_id),)
        return component.reader.read(message, meter_id)

    def _notification(self, message: models.Message, device_id: str) -> Sequence[taken.Taken]:
        payload, value = self._heard
        if payload is not message.payload:  # what was heard is mostly read next
            value = letters.parsed(frame.bare(message.payload), message.payload)
        if value.__class__ is not dict:
            raise fields.Invalid(Reason.NOT_AN_OBJECT, hints.no_object(value))
        params = value.get("params")
        if value.get("method") not in ("NotifyStatus", "NotifyFullStatus") or params.__class__ is not dict:
            return (self._alive(parts.part_id(device_id, 0)),)
        at = self._time(params.get("ts"))
        meters: dict[str, taken.Taken] = {}
        prefix = shelly_memory.prefix(message.topic)
        for name, component, status, whole in self._statuses(value):
            meter_id = parts.part_id(device_id, int(name.partition(":")[2]))
            memory = self._memory((prefix, name), status, whole=whole)
            changed, left_out = memory.changed(component.paths, status, redelivered=message.redelivered)
            one = component.reader.read_object(changed, meter_id)
            one = one._replace(at=at, ignored=one.ignored + left_out)
            meters[meter_id] = _together(meters.get(meter_id), one)
        measured = [one for one in meters.values() if one.bad or one.columns != self._nothing]
        if measured and at is not None:
            if len(self._notified) >= _MOST:
                self._notified.clear()
            if len(prefix) <= _LONGEST_PREFIX:
                self._notified[prefix] = message.received_at
        if measured:
            return measured
        left_out = sum(one.ignored for one in meters.values())
        return (self._alive(parts.part_id(device_id, 0))._replace(ignored=left_out),)

    def _statuses(self, value: Mapping[str, Any]) -> Iterator[tuple[str, _Component, dict[str, Any], bool]]:
        """The components of a notification: name, kind, what it says, and whether that is all that it has."""
        params = value.get("params")
        if params.__class__ is not dict or value.get("method") not in ("NotifyStatus", "NotifyFullStatus"):
            return
        full = value["method"] == "NotifyFullStatus"
        for name, status in params.items():
            found = _COMPONENT.fullmatch(name)
            component = self._components.get(found[1]) if found else None
            if component is not None and status.__class__ is dict:
                yield name, component, status, full or status.keys() >= _WHOLE_SWITCH

    def _time(self, written: Any) -> dt.datetime | None:
        """When it was; None: the device has no time yet."""
        if written is None:
            return None
        at = self._clock.read("ts", written, None)
        return at if at >= _CLOCK_SET else None

    def _learn_status(self, message: models.Message) -> None:
        """A status is whole. Of a retained one nobody knows how old its values are."""
        if message.retained or len(message.payload) > _LONGEST:
            return
        try:
            status = frame.parse(frame.bare(message.payload))
        except ValueError:
            return
        if status.__class__ is dict:
            self._memory((shelly_memory.prefix(message.topic), message.topic.rpartition("/")[2]), status, whole=True)

    def _memory(self, key: tuple[str, str], status: dict[str, Any], *, whole: bool) -> shelly_memory.Memory:
        """What is known of a component, with what its status says."""
        memory = self._known.get(key)
        if memory is None:
            memory = shelly_memory.Memory()
            if len(self._known) >= _MOST:
                self._known.clear()
            if len(key[0]) <= _LONGEST_PREFIX:
                self._known[key] = memory
        component = self._components.get(key[1].partition(":")[0])
        memory.learn(component.needed if component else (), status, whole=whole)
        return memory

    def remember(self, *, values: bool) -> list[Any]:
        """See ``families.Families.remember``."""
        known = list(self._known.items())
        if not values:  # what a whole status did not name
            return [[*key, True, {}] for key, one in known if one.whole and not one.values.keys() & _RETURNED]
        return [
            [*key, one.whole, {".".join(map(str, steps)): value for steps, value in list(one.values.items())}]
            for key, one in known
        ]

    def recall(self, persisted: list[Any]) -> None:
        """See ``families.Families.recall``."""
        for prefix, name, whole, values in persisted[:_MOST]:
            known = {path.parse(text): value for text, value in values.items()}
            self._known[prefix, name] = shelly_memory.Memory(known, whole=whole)

    def _alive(self, device_id: str) -> taken.Taken:
        return taken.Taken(_METER, device_id, None, self._nothing)


def _together(one: taken.Taken | None, other: taken.Taken) -> taken.Taken:
    """The values of two components of one number, which are one meter: ``em:0`` and ``emdata:0``."""
    if one is None:
        return other
    columns = [mine if mine is not None else yours for mine, yours in zip(one.columns, other.columns, strict=True)]
    return one._replace(columns=columns, bad=[*one.bad, *other.bad], ignored=one.ignored + other.ignored)
