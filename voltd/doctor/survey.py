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
from voltd.pipeline.decode.devices import catalogue, description, families, pattern
from voltd.pipeline.decode.topic import TopicTable
from voltd.unit_proof import proof

_SILENT_FROM = 3  # messages: a person looks
OWN = "voltd's own format"
_NO_ID = frozenset({"", "volt", "vehicle", "vehicles", "meter", "meters", "telemetry"})


@dataclasses.dataclass(slots=True)
class Group:
    """Topics of one kind.

    Attributes:
        kind: a device family, ``OWN``, or empty: nothing fits.
        patterns: filters or patterns that match its topics.
        topics: by name.
        configured: the settings take them as they are.
        enabled: the settings name the family.
        rate: messages in a second, without retained ones.
        retained: retained messages.
        devices: ids, by device type.
        example: of a topic, the reading that would be stored.
        refused: why messages would be dead letters, with how many of those kept.
        unknown: fields that nothing reads.
        section: of voltd's own format elsewhere, the key of ``[mqtt.topics]`` that it belongs to.
        bases: of a family, where its devices publish.
        passed: topics of these devices that the family does not read.
        same: ids that another group has too: device type, id, and the patterns of that group.
        silent: fields of an own description that have had no value, in words.
        shared: ids under which two devices of the group measure.
        trouble: why the settings cannot take it as it is, and what to do; empty: they can.
        readings: what the messages that were kept make.
        units: what looks wrong with the unit of a field, by field and factor; of each the devices, with the words.
    """

    kind: str
    patterns: tuple[str, ...]
    topics: list[str]
    configured: bool = False
    enabled: bool = False
    rate: float = 0.0
    retained: int = 0
    devices: dict[DeviceType, set[str]] = dataclasses.field(default_factory=dict)
    example: tuple[str, models.Reading] | None = None
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unknown: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    readings: list[models.Reading] = dataclasses.field(default_factory=list)
    section: str = ""
    bases: set[str] = dataclasses.field(default_factory=set)
    passed: list[str] = dataclasses.field(default_factory=list)
    same: list[tuple[DeviceType, str, Group]] = dataclasses.field(default_factory=list)
    silent: list[str] = dataclasses.field(default_factory=list)
    shared: list[models.SharedId] = dataclasses.field(default_factory=list)
    trouble: str = ""
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
        group.bases = {base for name in names for text in patterns if (base := _base_of(name, text))}
        groups.append(_filled(group, heard, _decoder(settings, settings.mqtt.topics, configured)))
        group.silent = [str(one) for one in configured.silent(_SILENT_FROM) if one.family == kind]
    groups += _families(listen.Heard(heard.seconds, rest), settings, described)
    left = _without(rest, groups)
    groups += _own_elsewhere(listen.Heard(heard.seconds, left), settings)
    left = _without(left, groups)
    _pass_over(left, groups)
    groups += _others(listen.Heard(heard.seconds, _without(left, groups)))
    _compare(groups)
    return groups


def _without(topics: Mapping[str, listen.Topic], groups: Iterable[Group]) -> dict[str, listen.Topic]:
    """The topics that are in none of the groups."""
    known = {name for group in groups for name in (*group.topics, *group.passed)}
    return {name: topic for name, topic in topics.items() if name not in known}


def _base_of(topic: str, text: str) -> str | None:
    base = "/".join(topic.split("/")[: text.count("/") + 1])
    return base if pattern.Pattern(text).levels(base) is not None else None


def _pass_over(topics: Iterable[str], groups: Iterable[Group]) -> None:
    """Gives families the topics of their devices that they do not read."""
    by_base = {base: group for group in groups for base in group.bases}
    for name in topics:
        levels = name.split("/")
        prefixes = ("/".join(levels[:length]) for length in range(len(levels), 0, -1))
        if (group := next((by_base[one] for one in prefixes if one in by_base), None)) is not None:
            group.passed.append(name)


def _compare(groups: Iterable[Group]) -> None:
    """Notes which ids two groups have; within a group its decoder has noted them."""
    first: dict[tuple[DeviceType, str], Group] = {}
    for group in groups:
        group.shared = [one for one in group.shared if set(one.topics) <= set(group.topics)]
        for device_type, ids in group.devices.items():
            for device_id in sorted(ids):
                other = first.setdefault((device_type, device_id), group)
                if other is not group and {other.kind, group.kind} != {OWN}:
                    group.same.append((device_type, device_id, other))


def _families(
    heard: listen.Heard, settings: config.Settings, described: Mapping[str, description.Description]
) -> list[Group]:
    """Families at topics that the settings do not name."""
    groups = []
    fits = fit.find(heard, described)
    for family in sorted({one.family for one in fits.values()}):
        of_it = {name: one for name, one in fits.items() if one.family == family}
        bases = {one.base for one in of_it.values()}
        group = Group(family, tuple("/".join(base) for base in sorted(bases)), sorted(of_it))
        group.bases, group.enabled = set(group.patterns), family in settings.devices
        try:
            there = settings.devices.get(family, config.DeviceFamily())
            group.patterns = fit.topics_of(bases, described[family], there.id)
            at = there.model_copy(update={"topics": group.patterns, "gather_s": 0})
            own = (settings.devices_directory / f"{family}.toml").is_file()
            one = catalogue.Enabled(family, described[family], at, own)
            found = families.Families([one], settings.limits, settings.timestamps)
            _filled(group, heard, _decoder(settings, fit.NOWHERE, found))
            group.silent = [str(one) for one in found.silent(_SILENT_FROM)]
        except Exception as error:  # noqa: BLE001 the other groups are reported all the same
            group.trouble = f"{error!r}: write [devices.{family}] topics yourself, like {described[family].topics[0]!r}"
        groups.append(group)
    return groups


def _own_elsewhere(heard: listen.Heard, settings: config.Settings) -> list[Group]:
    """Readings in voltd's own format on topics that no filter matches."""
    by_filter: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    decoders: dict[tuple[str, str], decoder.Decoder] = {}  # made once for all topics of a shape
    for name, topic in heard.topics.items():
        for section in ("vehicle", "meter", "ingest"):
            key = (section, _same_shape(name, section))
            one = decoders.get(key) or decoders.setdefault(key, _decoder(settings, _only(*key)))
            batch = one.decode(topic.samples[-1:])
            if batch.readings and not batch.unknown_fields:
                by_filter[key].append(name)
                break
    groups = []
    for (section, topic_filter), names in by_filter.items():
        group = Group(OWN, (topic_filter,), sorted(names), section=section)
        groups.append(_filled(group, heard, decoders[section, topic_filter]))
    return groups


def _others(heard: listen.Heard) -> list[Group]:
    """What nothing fits to, by the shape of its topics."""
    by_shape: dict[tuple[int, str], list[str]] = collections.defaultdict(list)
    for name in heard.topics:
        by_shape[name.count("/"), name.split("/")[0]].append(name)
    groups = []
    for names in by_shape.values():
        levels = [name.split("/") for name in names]
        shape = "/".join(at[0] if len(set(at)) == 1 else "+" for at in zip(*levels, strict=True))
        group = Group("", (shape,), sorted(names))
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
        group.shared += batch.shared_ids
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


def _only(section: str, topic_filter: str) -> config.Topics:
    filters: dict[str, Any] = {"vehicle": (), "meter": (), "ingest": (), section: (topic_filter,)}
    return config.Topics(**filters)


def _decoder(
    settings: config.Settings, topics: config.Topics, others: families.Families | None = None
) -> decoder.Decoder:
    return decoder.Decoder(topics, settings.limits, fit.ANY_DAYS, settings.timestamps, others)


def _same_shape(topic: str, section: str) -> str:
    """A filter for topics like this one: of a device, the level that looks like its id."""
    levels = topic.split("/")
    if section == "ingest" or len(levels) == 1 or len(topic) == listen.MOST_CHARACTERS:  # "+" may be a character more
        return topic
    ids = [at for at, level in enumerate(levels) if level.lower() not in _NO_ID]
    behind = [at for at in ids if at and levels[at - 1].lower().rstrip("s") in ("vehicle", "meter")]
    levels[(behind or ids or [-1])[-1]] = "+"
    return "/".join(levels)


def as_payload(reading: models.Reading) -> str:
    """A reading as voltd's own format would write it."""
    is_vehicle = isinstance(reading, models.VehicleReading)
    names = readings.wire_names(DeviceType.VEHICLE if is_vehicle else DeviceType.METER)
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
