"""Shelly Gen2 and later: component statuses without a time, and notifications that say what changed and when.

A device publishes the same values both ways where both are switched on. Notifications have the time, so they go before:
a status is a sign of life while its device's notifications arrive. Facts: see ``shipped/shelly.toml``.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any

from voltd import config, hints, models, readings
from voltd.models import Reason
from voltd.pipeline.decode import fields, frame, letters, timestamp
from voltd.pipeline.decode.devices import description, document, parts, path, taken
from voltd.readings import DeviceType

_COMPONENT = re.compile(r"([a-z][a-z0-9]{0,15}):([0-9]{1,4})", re.ASCII)
_PREFERRED_FOR = dt.timedelta(minutes=10)  # every component with a register notifies once a minute
_CLOCK_SET = dt.datetime(2010, 1, 1, tzinfo=dt.UTC)  # an earlier time counts from the start of the device
_MOST = 100_000  # components and devices known; invented ids must not fill the memory
_METER = DeviceType.METER

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

    def __init__(self, sources: Mapping[str, Mapping[str, Any]], limits: config.Limits) -> None:
        described = description.Document(
            fields={name: description.DocumentField(**source) for name, source in sources.items()}, others="pass"
        )
        clock = timestamp.TimestampReader(epoch=True, as_text=False)
        self.reader = document.DocumentReader(described, _METER, limits, clock, None)
        self.paths: list[list[_Steps]] = [
            [path.parse(one) for one in (*source.paths, *([source.less] if source.less else []))]
            for source in described.fields.values()
        ]


class ShellyReader:
    """Reads ``events/rpc`` and ``status/<component>:<number>``.

    Each number is a meter, number 0 is the device itself (``parts``). A notification has
    nothing but what changed; the reader knows the values that stay the same from earlier ones.
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
        self._known: dict[tuple[str, str], dict[_Steps, Any]] = {}
        self._notified: dict[str, dt.datetime] = {}

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        if device_id is None:
            raise fields.Invalid(Reason.MISSING_FIELD, "the topic has no device id")
        if found := _COMPONENT.fullmatch(message.topic.rpartition("/")[2]):
            return self._status(message, device_id, *found.groups())
        return self._notification(message, device_id)

    def _status(self, message: models.Message, device_id: str, name: str, number: str) -> Sequence[taken.Taken]:
        component = self._components.get(name)
        meter_id = parts.part_id(device_id, int(number))
        notified = self._notified.get(device_id)
        recently = notified is not None and abs(message.received_at - notified) < _PREFERRED_FOR
        if component is None or recently:
            return (self._alive(meter_id),)
        return component.reader.read(message, meter_id)

    def _notification(self, message: models.Message, device_id: str) -> Sequence[taken.Taken]:
        value = letters.parsed(frame.bare(message.payload), message.payload)
        if value.__class__ is not dict:
            raise fields.Invalid(Reason.NOT_AN_OBJECT, hints.no_object(value))
        params = value.get("params")
        if value.get("method") not in ("NotifyStatus", "NotifyFullStatus") or params.__class__ is not dict:
            return (self._alive(parts.part_id(device_id, 0)),)
        at = self._time(params.get("ts"))
        meters: dict[str, taken.Taken] = {}
        for name, status in params.items():
            found = _COMPONENT.fullmatch(name)
            component = self._components.get(found[1]) if found else None
            if found and component and status.__class__ is dict:
                meter_id = parts.part_id(device_id, int(found[2]))
                changed = self._changed((device_id, name), component, status)
                one = component.reader.read_object(changed, meter_id)._replace(at=at)
                meters[meter_id] = _together(meters.get(meter_id), one)
        measured = [one for one in meters.values() if one.bad or one.columns != self._nothing]
        if measured and at is not None:
            if len(self._notified) >= _MOST:
                self._notified.clear()
            self._notified[device_id] = message.received_at
        return measured or (self._alive(parts.part_id(device_id, 0)),)

    def _time(self, written: Any) -> dt.datetime | None:
        """When it was; None: the device has no time yet."""
        if written is None:
            return None
        at = self._clock.read("ts", written, None)
        return at if at >= _CLOCK_SET else None

    def _changed(self, key: tuple[str, str], component: _Component, status: dict[str, Any]) -> dict[str, Any]:
        """The fields that changed, each with all of its values; those that stay the same are known from before."""
        if key not in self._known and len(self._known) >= _MOST:
            self._known.clear()
        known = self._known.setdefault(key, {})
        changed: dict[str, Any] = {}
        for paths in component.paths:
            there = {steps: value for steps in paths if (value := path.look_up(status, steps)) is not path.MISSING}
            if there:
                known.update({steps: value for steps, value in there.items() if value.__class__ in (int, float)})
                for steps in paths:
                    value = there.get(steps, known.get(steps, path.MISSING))
                    if value is not path.MISSING:
                        _put(changed, steps, value)
        return changed

    def _alive(self, device_id: str) -> taken.Taken:
        return taken.Taken(_METER, device_id, None, self._nothing)


def _put(target: dict[str, Any], steps: _Steps, value: Any) -> None:
    for step in steps[:-1]:
        target = target.setdefault(str(step), {})
    target[str(steps[-1])] = value


def _together(one: taken.Taken | None, other: taken.Taken) -> taken.Taken:
    """The values of two components of one number, which are one meter: ``em:0`` and ``emdata:0``."""
    if one is None:
        return other
    columns = [mine if mine is not None else yours for mine, yours in zip(one.columns, other.columns, strict=True)]
    return one._replace(columns=columns, bad=[*one.bad, *other.bad], ignored=one.ignored + other.ignored)
