"""Which description reads the messages of a topic. ``decode.topic`` asks once a topic. Pure."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from voltd import config, models
from voltd.pipeline.consume import pseudonyms
from voltd.pipeline.decode import fields, timestamp
from voltd.pipeline.decode.devices import (
    catalogue,
    claims,
    description,
    document,
    ocpp,
    parts,
    pattern,
    shelly,
    taken,
    value,
    vins,
    watch,
)
from voltd.pipeline.decode.devices.sparkplug import extra
from voltd.readings import DeviceType

Ask = Callable[[str, bytes], None]
_Key = tuple[str, str | None]  # what is behind a family's topics, and the template of the id


class FamilyRoute(NamedTuple):
    """Who reads a topic's messages.

    Attributes:
        family: its name.
        device_type: whose readings they are.
        device_id: by the topic, as voltd calls the device; None: the payload says.
        reader: reads them.
        within: for how long the values of a device are gathered.
        ids: what voltd calls devices whose id the payload says.
        listener: hears each message of the stream before the reader; None: none has to.
        source: which device it is, as the family's topics distinguish them.
        watch: looks whether the fields of an own description have values; None: voltd brings the description.
    """

    family: str
    device_type: DeviceType
    device_id: str | None
    reader: taken.Reader
    within: dt.timedelta
    ids: Mapping[str, str]
    listener: taken.Listener | None = None
    source: claims.Source = ()
    watch: watch.Watch | None = None


class _Entry(NamedTuple):
    topic: pattern.Pattern
    base: int  # how many levels the family's own topics have
    template: str | None
    alone: bool  # whether it is about a device that consists of several meters
    route: FamilyRoute
    listener: taken.Listener | ocpp.OcppReader | None


class _All:
    """Several documents on one topic: each that fits gives a reading."""

    def __init__(self, readers: Sequence[taken.Reader]) -> None:
        self._readers = readers

    def read(self, message: models.Message, device_id: str | None) -> Sequence[taken.Taken]:
        """See ``taken.Reader``."""
        found: list[taken.Taken] = []
        nothing: list[taken.Taken] = []
        refused: fields.Invalid | None = None
        for reader in self._readers:
            try:
                for one in reader.read(message, device_id):
                    (found if one.bad or one.columns.count(None) < len(one.columns) else nothing).append(one)
            except fields.Invalid as invalid:
                refused = invalid
        if found:
            return found
        if refused is not None and not nothing:
            raise refused
        return nothing[:1]


class Families:
    """The enabled device families, compiled.

    Args:
        enabled: with their settings.
        limits: of the settings.
        timestamps: how times may be written.
        ask: publishes a message of voltd's own, topic and payload, and must not block: for the decoder of the stream.
            None: messages have been heard already, or nobody hears them.

    Attributes:
        filters: what has to be subscribed to.
        claims: which source each id comes from.
    """

    def __init__(
        self,
        enabled: Sequence[catalogue.Enabled],
        limits: config.Limits | None = None,
        timestamps: config.Timestamps | None = None,
        ask: Ask | None = None,
    ) -> None:
        self._ask = ask
        self._limits = limits or config.Limits()
        self._epoch = (timestamps or config.Timestamps()).epoch
        self.claims = claims.Claims()
        self._watches: list[watch.Watch] = []
        self._remembering: dict[str, ocpp.OcppReader | shelly.ShellyReader] = {}
        self.filters = tuple(topic_filter for one in enabled for topic_filter in one.filters)
        self._by_last_level: dict[str, list[_Entry]] = {}
        self._others: list[_Entry] = []
        for one in enabled:
            for entry in self._entries(one):
                last = entry.topic.text.rpartition("/")[2]
                named = last.startswith("{") or last in ("+", "#")
                (self._others if named else self._by_last_level.setdefault(last, [])).append(entry)

    def silent(self, least: int) -> list[watch.Silent]:
        """Fields of own descriptions without a value in at least so many messages. May be called from any thread."""
        return [one for each in self._watches for one in each.silent(least)]

    @property
    def has_memory(self) -> bool:
        """Whether any reader knows something from earlier messages."""
        return bool(self._remembering)

    def remember(self, *, values: bool) -> dict[str, Any]:
        """What the readers know from earlier messages, for ``recall``, JSON-ready. May be called from any thread.

        Args:
            values: whether that too which the next message may change.
        """
        known = {name: reader.remember(values=values) for name, reader in self._remembering.items()}
        return {name: one for name, one in known.items() if one}

    def recall(self, persisted: Mapping[str, Any]) -> None:
        """Gives the readers what those of an earlier run knew; before the first message.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is not what ``remember`` returned.
        """
        for name, reader in self._remembering.items():
            reader.recall(persisted.get(name, []))

    def __bool__(self) -> bool:
        return bool(self.filters)

    def find(self, topic: str) -> FamilyRoute | None:
        """Who reads the messages of a topic; None: no enabled family."""
        for entry in (*self._by_last_level.get(topic.rpartition("/")[2], ()), *self._others):
            levels = entry.topic.levels(topic)
            if levels is not None:
                source = self._source(entry, levels, topic)
                device_id, listener = self._device_id(entry, levels), entry.listener
                if isinstance(listener, ocpp.OcppReader):
                    listener = listener.listener(device_id)
                route: FamilyRoute = entry.route._replace(device_id=device_id, listener=listener, source=source)
                return route
        return None

    @staticmethod
    def _device_id(entry: _Entry, levels: dict[str, str]) -> str | None:
        if entry.template is None:
            return None
        written = pattern.fill(entry.template, levels)
        if entry.alone:
            written = parts.part_id(written, 0)
        return entry.route.ids.get(written, written)

    @staticmethod
    def _source(entry: _Entry, levels: dict[str, str], topic: str) -> claims.Source:
        """By the named levels, to the last one of the id; without one, by all levels of the family's own topics."""
        family, template = entry.route.family, entry.template
        if template is None:  # the payload distinguishes them
            return (family,)
        names = entry.topic.names
        if used := [place for place, name in enumerate(names) if f"{{{name}}}" in template]:
            return (family, *(f"{name}={levels[name]}" for name in sorted(names[: used[-1] + 1])))
        return (family, *topic.split("/")[: entry.base])

    def _entries(self, one: catalogue.Enabled) -> list[_Entry]:
        by_topic: dict[_Key, list[tuple[taken.Reader, DeviceType]]] = {}
        special: dict[str, taken.Reader] = {}
        listeners: dict[_Key, taken.Listener | ocpp.OcppReader] = {}
        watches: dict[Any, watch.Watch] = {}
        nodes = None
        numbered = any(special.reader in _NUMBERED for special in one.description.special)
        for message in one.description.messages:
            device_type = message.device or one.description.device
            reader = self._reader(message, device_type, one, special)
            key = (message.topic, catalogue.template_of(one, message))
            if isinstance(message, description.Sparkplug) and self._ask is not None:
                nodes = nodes or extra.nodes_of(self._ask)
                listeners[key] = nodes.listener(message.kind)
            elif self._ask is not None and isinstance(reader, (ocpp.OcppReader, shelly.ShellyReader)):
                listeners[key] = reader
            by_topic.setdefault(key, []).append((reader, device_type))
            if one.own and not isinstance(message, description.Alive):
                sparkplug = isinstance(message, description.Sparkplug) and (device_type, *sorted(message.fields))
                shared = watches.setdefault(sparkplug or key, watch.Watch(one.name))
                shared.add(message, device_type)
                watches[key] = shared
        entries = []
        for (rest, template), readers in by_topic.items():
            first, device_type = readers[0]
            if len(readers) > 1:
                first = _All([one for one, _ in readers])
            route = FamilyRoute(
                one.name,
                device_type,
                None,
                first,
                dt.timedelta(seconds=one.settings.gather_s),
                one.settings.ids,
                watch=watches.get((rest, template)),
            )
            listener = listeners.get((rest, template))
            alone = numbered and not isinstance(first, (ocpp.OcppReader, shelly.ShellyReader))
            entries += [
                _Entry(topic.under(rest), topic.text.count("/") + 1, template, alone, route, listener)
                for topic in one.topics
            ]
        self._watches += dict.fromkeys(watches.values())
        return entries

    def _reader(
        self,
        message: description.Message,
        device_type: DeviceType,
        one: catalogue.Enabled,
        special: dict[str, taken.Reader],
    ) -> taken.Reader:
        """Who reads a message.

        ``special`` has the modules of this family; messages that differ in their topics alone share one, which so knows
        what came on the others.
        """
        zone = zoneinfo.ZoneInfo(one.settings.zone) if one.settings.zone else None
        if isinstance(message, description.Document):
            clock = timestamp.TimestampReader(epoch=self._epoch, as_text=self._limits.numbers_as_text)
            return document.DocumentReader(message, device_type, self._limits, clock, zone)
        if isinstance(message, description.Value):
            return value.ValueReader(message, device_type, self._limits)
        if isinstance(message, description.Alive):
            return value.AliveReader(message, device_type)
        assert isinstance(message, description.Special)  # noqa: S101 the four kinds of messages
        alike = message.model_dump_json(exclude={"topic"})
        if alike not in special:
            found = special[alike] = SPECIAL[message.reader](message, device_type, self._limits, zone)
            if isinstance(found, (ocpp.OcppReader, shelly.ShellyReader)):
                self._remembering[f"{one.name} {alike}"] = found
        return special[alike]


_NUMBERED = ("ocpp", "shelly")  # whose devices consist of several meters
_Special = Callable[[description.Special, DeviceType, config.Limits, zoneinfo.ZoneInfo | None], taken.Reader]
SPECIAL: dict[str, _Special] = {"ocpp": ocpp.OcppReader, "shelly": shelly.ShellyReader, "sparkplug": extra.reader}


def of(settings: config.Settings, ask: Ask | None = None) -> Families:
    """The families that the settings enable; ``ask`` is for the stream, see ``Families``.

    Raises:
        ConfigurationError: see ``enabled``; or what a family needs is missing.
    """
    return Families(enabled(settings), settings.limits, settings.timestamps, ask)


def enabled(settings: config.Settings) -> tuple[catalogue.Enabled, ...]:
    """The descriptions of the families that the settings enable, with the ids by which their devices come.

    Raises:
        ConfigurationError: see ``catalogue.enabled`` and ``pseudonyms.of``; or pseudonyms are on, and a topic or id of
            the settings has a VIN.
    """
    found = catalogue.enabled(settings)
    if settings.pseudonyms.key_file is not None:
        vins.refuse(settings, found)
    # The ids that the settings know by their VINs come as pseudonyms.
    if any(pseudonyms.is_vin(name) for one in found for pair in one.settings.ids.items() for name in pair):
        renamed = pseudonyms.of(settings)
        if renamed is not None:
            return tuple(vins.renamed(one, renamed) for one in found)
    return found
