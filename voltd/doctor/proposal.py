"""The settings that take what the doctor found, checked as the daemon checks them at its start. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pydantic

from voltd import config, errors
from voltd.doctor import survey
from voltd.pipeline.decode.devices import catalogue, description

_REPLACES = "# in place of the section that is there"


def settings_text(
    groups: Iterable[survey.Group], settings: config.Settings, described: Mapping[str, description.Description]
) -> str:
    """The lines of voltd.toml that would take all of it, beside what is there.

    A group with which the daemon would not start is left out; its ``trouble`` then says why and what to do.
    """
    before = settings
    for group in groups:
        if group.configured or not group.kind or group.trouble:
            continue
        try:
            extended = _with(group, settings, described)
            catalogue.enabled(extended)
        except errors.ConfigurationError as error:
            group.trouble = f"{error}; {error.hint}"
        except ValueError as error:
            why = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
            group.trouble = f"{why}; write topics that take both into the settings"
        else:
            settings = extended
    return _difference(before, settings)


def _with(
    group: survey.Group, settings: config.Settings, described: Mapping[str, description.Description]
) -> config.Settings:
    """The settings, and what takes this group."""
    if group.kind == survey.OWN:
        there = settings.mqtt.topics
        filters = {group.section: (*getattr(there, group.section), *group.patterns)}
        topics = config.Topics(**{**dict(there), **filters})
        return settings.model_copy(update={"mqtt": settings.mqtt.model_copy(update={"topics": topics})})
    usual = described[group.kind].topics
    at = settings.devices.get(group.kind)
    wanted = group.patterns if at is None else tuple(dict.fromkeys((*(at.topics or usual), *group.patterns)))
    family = config.DeviceFamily(**{**dict(at or {}), "topics": () if wanted == usual else wanted})
    return settings.model_copy(update={"devices": {**settings.devices, group.kind: family}})


def _difference(before: config.Settings, after: config.Settings) -> str:
    """What the settings have now, as lines of voltd.toml."""
    lines = []
    for section in ("vehicle", "meter", "ingest"):
        filters = getattr(after.mqtt.topics, section)
        if filters != getattr(before.mqtt.topics, section):
            lines += [f"{section} = {_toml(filters)}"]
    lines = ["[mqtt.topics]", *lines, ""] if lines else []
    for name, family in after.devices.items():
        if family != before.devices.get(name):
            lines += [_REPLACES] if name in before.devices else []
            lines += [f"[devices.{_toml(name) if '.' in name else name}]"]
            given = family.model_dump(exclude_defaults=True)
            lines += [f"{key} = {_toml(value)}" for key, value in given.items()] + [""]
    return "\n".join(lines).strip() + ("\n" if lines else "")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text)
