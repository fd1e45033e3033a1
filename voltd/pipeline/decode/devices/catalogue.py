"""Finds the descriptions of device families: those of voltd and those of the admin, and the ones that are enabled.

A daemon reads them at start, ``voltd check`` before that. A mistake is named with file, field, value and hint.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import tomllib
from collections.abc import Mapping

import pydantic

from voltd import config, errors, wording
from voltd.config import devices, topics
from voltd.pipeline.decode.devices import description, pattern, sources

_SHIPPED = pathlib.Path(__file__).parent / "shipped"
_MOST_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Enabled:
    """A device family with its settings.

    Attributes:
        name: of its description and of its section in the settings.
        description: what it publishes.
        settings: ``[devices.<name>]``.
        own: whether the admin wrote the description.
    """

    name: str
    description: description.Description
    settings: devices.DeviceFamily
    own: bool = False

    @property
    def topics(self) -> tuple[pattern.Pattern, ...]:
        """Where its devices publish."""
        return tuple(pattern.Pattern(text) for text in self.settings.topics or self.description.topics)

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be subscribed to."""
        under = [
            topic.under(message.topic).topic_filter for topic in self.topics for message in self.description.messages
        ]
        return tuple(dict.fromkeys(under))


def template_of(one: Enabled, message: description.Message) -> str | None:
    """The template of the device's id, of the topic's levels; None: the payload says it."""
    if isinstance(message, description.Document) and message.id_path:
        return None
    template = message.id or one.settings.id or one.description.id
    return message.template(template) if isinstance(message, description.Sparkplug) else template


def enabled(settings: config.Settings) -> tuple[Enabled, ...]:
    """The families that the settings name, in their order.

    Raises:
        ConfigurationError: a family is not described, a description or its settings are wrong, two filters overlap, or
            a share group would divide the messages of a family that must not be divided.
    """
    if not settings.devices:
        return ()
    described = _files(settings.devices_directory)
    found = tuple(_one(name, given, described) for name, given in settings.devices.items())
    for family in found:
        if settings.mqtt.share_group and any(special.reader == "sparkplug" for special in family.description.special):
            raise errors.ConfigurationError(
                f"devices.{family.name} and mqtt.share_group: Sparkplug's births and data must reach one daemon",
                hint="give the family to a daemon without a share group",
            )
    own = settings.mqtt.topics
    every = [
        *(("mqtt.topics", one) for one in (*own.vehicle, *own.meter, *own.ingest)),
        *((f"devices.{one.name}", topic_filter) for one in found for topic_filter in one.filters),
    ]
    if pair := topics.covering([topic_filter for _, topic_filter in every]):
        (where, one), (there, other) = (every[place] for place in pair)
        raise errors.ConfigurationError(
            f"{one!r} of {where} and {other!r} of {there} overlap: the broker may send a message that matches both "
            "twice",
            hint="give the families different topics: devices.<family>.topics",
        )
    return found


def odd_topics(one: Enabled) -> list[str]:
    """What is probably a mistake in its topics, in words: a slash at the begin or the end, two in a row."""
    odd = [
        f"devices.{one.name}: {topic.text!r} {said}" for topic in one.topics if (said := topics.empty_level(topic.text))
    ]
    odd += [
        f"devices.{one.name}: topic = {message.topic!r} {said}"
        for message in one.description.messages
        if message.topic and (said := topics.empty_level(message.topic))
    ]
    return list(dict.fromkeys(odd))


def described(directory: pathlib.Path) -> dict[str, description.Description]:
    """Every family that is described, by name.

    Raises:
        ConfigurationError: one of the descriptions is wrong.
    """
    return {name: load(file) for name, file in _files(directory).items()}


def load(file: pathlib.Path) -> description.Description:
    """A description from its file.

    Raises:
        ConfigurationError: it cannot be read, or is none.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise errors.ConfigurationError(f"{file} is over 1 MiB", hint="a description is a page or two")
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.ConfigurationError(f"{file} is not TOML: {error}", hint="correct that line") from error
    except OSError as error:
        raise errors.ConfigurationError(
            f"{file} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    try:
        return description.validated(values)
    except pydantic.ValidationError as error:
        known = {
            name
            for model in (
                description.Description,
                description.Document,
                sources.DocumentField,
                description.Value,
                description.Alive,
                description.Special,
                sources.Metric,
            )
            for name in model.model_fields
        }
        raise errors.ConfigurationError(
            f"{file}: {wording.describe(error, unknown='a description has no such key', known=known)}",
            hint=f"correct it there; {_SHIPPED} has examples",
        ) from error


def _files(directory: pathlib.Path) -> Mapping[str, pathlib.Path]:
    """Descriptions by name; the admin's go before those of voltd."""
    found = {file.stem: file for file in sorted(_SHIPPED.glob("*.toml"))}
    try:
        found |= {file.stem: file for file in sorted(directory.glob("*.toml"))}
    except OSError as error:
        raise errors.ConfigurationError(
            f"devices_directory = {str(directory)!r} cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    return found


def _one(name: str, settings: devices.DeviceFamily, described: Mapping[str, pathlib.Path]) -> Enabled:
    if name not in described:
        near = difflib.get_close_matches(name, described, n=1)
        raise errors.ConfigurationError(
            f"devices.{name}: no description of this device family" + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"known: {', '.join(sorted(described))}; or write one: devices.d/{name}.toml",
        )
    found = Enabled(name, load(described[name]), settings, own=described[name].parent != _SHIPPED)
    for text in settings.topics:
        try:
            topic = pattern.Pattern(text)
        except ValueError as error:
            raise errors.ConfigurationError(
                f"devices.{name}.topics: {error}", hint=f"write it like {found.description.topics[0]!r}"
            ) from None
        _check_ids(found, topic)
    by_filter: dict[str, str] = {}
    for topic in found.topics:
        if (other := by_filter.setdefault(topic.topic_filter, topic.text)) != topic.text:
            raise errors.ConfigurationError(
                f"devices.{name}.topics: {other!r} and {topic.text!r} match the same topics", hint="name each once"
            )
    if settings.id is not None and not settings.topics:
        for topic in found.topics:
            _check_ids(found, topic)
    return found


def _check_ids(found: Enabled, topic: pattern.Pattern) -> None:
    for message in found.description.messages:
        template = template_of(found, message)
        if template is None or message.__class__ is description.Special:
            continue
        if problem := topic.under(message.topic).template_error(template):
            raise errors.ConfigurationError(
                f"devices.{found.name}: {problem}", hint=f"write the topics like {found.description.topics[0]!r}"
            )
