"""Puts together what was heard: which topics carry readings, in which format, and what would be stored. Pure."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from voltd import config, models, readings
from voltd.doctor import fit, listen
from voltd.models import DeviceType
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import catalogue, description, families
from voltd.pipeline.decode.topic import TopicTable
from voltd.unit_proof import proof

OWN = "voltd's own format"
_NOWHERE = "$voltd-doctor"  # a filter that no topic matches
_NO_ID = frozenset({"", "volt", "vehicle", "vehicles", "meter", "meters", "telemetry"})
_ANY_DAYS = 36_500


@dataclasses.dataclass(slots=True)
class Group:
    """Topics of one kind.

    Attributes:
        kind: a device family, ``OWN``, or empty: nothing fits.
        patterns: filters or patterns that match its topics.
        topics: by name.
        configured: the settings take them as they are.
        rate: messages in a second, without retained ones.
        retained: retained messages.
        devices: ids, by device type.
        example: of a topic, the reading that would be stored.
        refused: why messages would be dead letters, with how many of those kept.
        unknown: fields that nothing reads.
        readings: what the messages that were kept make.
        units: what looks wrong with the unit of a field, by field and factor; of each the devices, with the words.
    """

    kind: str
    patterns: tuple[str, ...]
    topics: list[str]
    configured: bool = False
    rate: float = 0.0
    retained: int = 0
    devices: dict[DeviceType, set[str]] = dataclasses.field(default_factory=dict)
    example: tuple[str, models.Reading] | None = None
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unknown: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    readings: list[models.Reading] = dataclasses.field(default_factory=list)
    units: dict[tuple[str, float], dict[str, str]] = dataclasses.field(default_factory=dict)


def survey(
    heard: listen.Heard, settings: config.Settings, described: Mapping[str, description.Description]
) -> list[Group]:
    """The groups: what the settings take, then other families, voltd's own format elsewhere, and the rest."""
    enabled = catalogue.enabled(settings)
    configured = families.Families(enabled, settings.limits, settings.timestamps)
    table = TopicTable(settings.mqtt.topics, settings.timestamps.zone, configured)
    taken: dict[str, list[str]] = collections.defaultdict(list)
    rest: dict[str, listen.Topic] = {}
    for name, topic in heard.topics.items():
        route = table.route(name)
        if name.startswith("voltd/"):  # our own status and live state
            continue
        if route is not None:
            taken[route.family.family if route.family else OWN].append(name)
        else:
            rest[name] = topic
    groups = []
    for kind, names in taken.items():
        patterns = next((tuple(one.text for one in each.topics) for each in enabled if each.name == kind), ())
        own = (*settings.mqtt.topics.vehicle, *settings.mqtt.topics.meter, *settings.mqtt.topics.ingest)
        group = Group(kind, patterns or own, names, configured=True)
        groups.append(_filled(group, heard, _decoder(settings, settings.mqtt.topics, configured)))
    groups += _families(listen.Heard(heard.seconds, rest), settings, described)
    left = {name: topic for name, topic in rest.items() if not any(name in group.topics for group in groups)}
    elsewhere = _own_elsewhere(listen.Heard(heard.seconds, left), settings)
    groups += elsewhere
    groups += _others(
        listen.Heard(
            heard.seconds,
            {name: topic for name, topic in left.items() if not any(name in group.topics for group in elsewhere)},
        )
    )
    return groups


def _families(
    heard: listen.Heard, settings: config.Settings, described: Mapping[str, description.Description]
) -> list[Group]:
    """Families that the settings do not name."""
    groups = []
    fits = fit.find(heard, described)
    for family in sorted({one.family for one in fits.values()}):
        of_it = {name: one for name, one in fits.items() if one.family == family}
        topics = fit.topics_of((one.base for one in of_it.values()), described[family])
        one = catalogue.Enabled(family, described[family], config.DeviceFamily(topics=topics, gather_s=0))
        patterns = tuple(topic.text for topic in one.topics)
        group = Group(family, patterns, sorted(of_it))
        found = families.Families([one], settings.limits, settings.timestamps)
        groups.append(_filled(group, heard, _decoder(settings, _topics(), found)))
    return groups


def _own_elsewhere(heard: listen.Heard, settings: config.Settings) -> list[Group]:
    """Readings in voltd's own format on topics that no filter matches."""
    by_filter: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for name, topic in heard.topics.items():
        for section in ("vehicle", "meter", "ingest"):
            batch = _decoder(settings, _topics(**{section: (_same_shape(name, section),)})).decode(topic.samples[-1:])
            if batch.readings and not batch.unknown_fields:
                by_filter[section, _same_shape(name, section)].append(name)
                break
    groups = []
    for (section, topic_filter), names in by_filter.items():
        group = Group(OWN, (topic_filter,), sorted(names))
        groups.append(_filled(group, heard, _decoder(settings, _topics(**{section: (topic_filter,)}))))
    return groups


def _others(heard: listen.Heard) -> list[Group]:
    """What nothing fits to, by the shape of its topics."""
    by_shape: dict[tuple[int, str], list[str]] = collections.defaultdict(list)
    for name in heard.topics:
        by_shape[name.count("/"), name.split("/")[0]].append(name)
    groups = []
    for names in by_shape.values():
        levels = [name.split("/") for name in names]
        pattern = "/".join(at[0] if len(set(at)) == 1 else "+" for at in zip(*levels, strict=True))
        group = Group("", (pattern,), sorted(names))
        _count(group, heard)
        groups.append(group)
    return groups


def _filled(group: Group, heard: listen.Heard, one: decoder.Decoder) -> Group:
    _count(group, heard)
    for name in group.topics:
        batch = one.decode(list(heard.topics[name].samples), replayed=True)
        found: Sequence[models.Reading] = (*batch.vehicles, *batch.meters)
        group.readings += found
        for device_type, ids in (
            (DeviceType.VEHICLE, {reading.vehicle_id for reading in batch.vehicles}),
            (DeviceType.METER, {reading.meter_id for reading in batch.meters}),
        ):
            if ids:
                group.devices.setdefault(device_type, set()).update(ids)
        if found and (group.example is None or _width(found[-1]) > _width(group.example[1])):
            group.example = (name, found[-1])
        group.refused.update(f"{letter.reason}: {letter.detail}" for letter in batch.dead_letters)
        group.unknown.update({name: count for (_, name), count in batch.unknown_names.items()})
    _prove_units(group)
    return group


def _prove_units(group: Group) -> None:
    by_device: dict[tuple[DeviceType, str], list[models.Reading]] = collections.defaultdict(list)
    for reading in group.readings:
        device_type = DeviceType.METER if isinstance(reading, models.MeterReading) else DeviceType.VEHICLE
        by_device[device_type, reading[0]].append(reading)
    for (device_type, device_id), found in by_device.items():
        for one in proof.suspicions(device_type, proof.of_readings(device_type, found), proof.BRIEF):
            group.units.setdefault((one.field, one.factor), {})[device_id] = one.words


def _count(group: Group, heard: listen.Heard) -> None:
    group.rate = sum(heard.topics[name].live for name in group.topics) / max(heard.seconds, 1e-3)
    group.retained = sum(heard.topics[name].retained for name in group.topics)


def _width(reading: models.Reading) -> int:
    return sum(value is not None for value in reading)


def _topics(**filters: tuple[str, ...]) -> config.Topics:
    empty: dict[str, Any] = {"vehicle": (), "meter": (), "ingest": ()}
    return config.Topics(**(empty | (filters or {"ingest": (_NOWHERE,)})))


def _decoder(
    settings: config.Settings, topics: config.Topics, others: families.Families | None = None
) -> decoder.Decoder:
    return decoder.Decoder(topics, settings.limits, _ANY_DAYS, settings.timestamps, others)


def _same_shape(topic: str, section: str) -> str:
    """A filter for topics like this one: of a device, the level that looks like its id."""
    levels = topic.split("/")
    if section == "ingest" or len(levels) == 1:
        return topic
    ids = [at for at, level in enumerate(levels) if level.lower() not in _NO_ID]
    behind = [at for at in ids if at and levels[at - 1].lower().rstrip("s") in ("vehicle", "meter")]
    levels[(behind or ids or [-1])[-1]] = "+"
    return "/".join(levels)


def as_payload(reading: models.Reading) -> str:
    """A reading as voltd's own format would write it."""
    names = readings.wire_names()
    found: dict[str, Any] = {}
    for column, value in reading._asdict().items():
        if value is None or column == "received_at":
            continue
        if column in ("vehicle_id", "meter_id"):
            found[readings.id_name(DeviceType(column.removesuffix("_id")))] = value
        elif column == "recorded_at":
            found["timestamp"] = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        else:
            found[names[column]] = json.loads(value) if column == "diagnostics" else value
    return json.dumps(found, ensure_ascii=False)


def settings_text(
    groups: Iterable[Group], settings: config.Settings, described: Mapping[str, description.Description]
) -> str:
    """The lines of voltd.toml that would take all of it, beside what is there."""
    lines: list[str] = []
    own: dict[str, list[str]] = {}
    for group in groups:
        if group.kind == OWN and not group.configured:
            section = "vehicle" if DeviceType.VEHICLE in group.devices else "meter"
            own.setdefault(section, []).extend(group.patterns)
        elif group.kind and not group.configured:
            lines += ["", f"[devices.{group.kind}]"]
            if group.patterns != described[group.kind].topics:
                lines.append(f"topics = {json.dumps(list(group.patterns))}")
    if own:
        there = settings.mqtt.topics
        every = {section: [*getattr(there, section), *filters] for section, filters in own.items()}
        lines = ["[mqtt.topics]", *(f"{section} = {json.dumps(filters)}" for section, filters in every.items()), *lines]
    return "\n".join(lines).strip() + ("\n" if lines else "")
