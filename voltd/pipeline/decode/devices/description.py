"""What a device family publishes, as its TOML file says: topics, payloads, and which value becomes which field.

``catalogue`` reads the files; ``families`` compiles them. A mistake is named with file, field, value and hint. A
description has keys, indexes and a few fixed verbs, no expressions: it cannot loop or grow without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from voltd import config
from voltd.pipeline.decode.devices import pattern, sources
from voltd.readings import DeviceType

SPARKPLUG = ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH")


def _pattern(text: str) -> str:
    pattern.Pattern(text)
    return text


def _patterns(given: tuple[str, ...]) -> tuple[str, ...]:
    if not given:
        raise ValueError("should have at least one pattern")
    return tuple(_pattern(one) for one in given)


class Message(config.Section):
    """What all messages of a description have.

    Attributes:
        topic: behind the family's topics; empty: they are whole.
        device: whose reading it is, where it is not the family's.
        id: template of the device's id, where it is not the family's.
    """

    topic: str = ""
    device: DeviceType | None = None
    id: str | None = None


class Document(Message):
    """A JSON object with several fields, or an array of such readings.

    Attributes:
        id_path: where the device's id is, if the topic has none.
        time: where its time is: RFC 3339, epoch, or local time; without one it is dated by its arrival.
        time_format: p1, where the time is that of a P1 telegram: ``230310180022W``.
        each: where an array is of which each element is a reading; all other paths start there.
        fields: by voltd's names.
        others: what a document without any of the fields is: refused, or passed over as another kind of device's; with
            "pass" null and an empty payload are no value.
    """

    id_path: sources.Path | None = None
    time: sources.Path | None = None
    time_format: Literal["", "p1"] = ""
    fields: Annotated[Mapping[str, sources.DocumentField], Field(min_length=1)]
    others: Literal["refuse", "pass"] = "refuse"


class Value(sources.Source, Message):
    """A message of one value: plain text or JSON. It is gathered with the device's others.

    Attributes:
        field: voltd's name.
        path: where it is in the payload, if that is a JSON document.
        part, parts: the field is the sum of so many values, and this is one of them.
    """

    field: str
    path: sources.Path | None = None
    part: Annotated[int, Field(ge=1, le=8)] = 1
    parts: Annotated[int, Field(ge=1, le=8)] = 1


class Alive(Message):
    """A message that says whether a device is connected.

    Attributes:
        online: the payloads that are signs of life; all others say nothing.
        path: where the word is in the payload, if that is a JSON document.
    """

    online: Annotated[tuple[str, ...], Field(min_length=1)]
    path: sources.Path | None = None


class Special(Message):
    """Messages that need state or another format, read by a module of voltd.

    Attributes:
        reader: which module.
        fields: by voltd's names; of ``sparkplug`` alone.
    """

    reader: Literal["shelly", "ocpp", "sparkplug"]
    fields: Mapping[str, sources.Metric] = {}

    @property
    def messages(self) -> Iterator[Message]:
        """The same, or the kinds of messages that it stands for."""
        if self.reader == "sparkplug":
            for kind in SPARKPLUG:
                levels = f"{kind}/{{node}}/{{device}}" if kind.startswith("D") else f"{kind}/{{node}}"
                topic = f"{self.topic}/{levels}" if self.topic else levels
                yield Sparkplug(**{**dict(self), "topic": topic}, kind=kind)
        else:
            yield self

    @pydantic.model_validator(mode="after")
    def _names_fields(self) -> Self:
        if bool(self.fields) != (self.reader == "sparkplug"):
            raise ValueError("fields: reader = sparkplug needs them, and no other one has any")
        names = [name for metric in self.fields.values() for name in metric.names]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"fields: a metric becomes one field: {', '.join(sorted(twice))}")
        return self


class Sparkplug(Special):
    """One kind of the messages of Sparkplug B; made of a ``Special``."""

    kind: str

    def template(self, device: str) -> str:
        """The template of the id: that of its devices, of the node itself without the device."""
        if self.kind.startswith("D"):
            return device
        return re.sub(r"[^{}]?\{device\}", "", device) or "{node}"


class Description(config.Section):
    """One device family.

    Attributes:
        title: for people.
        topics: patterns under which its devices publish; the settings may replace them.
        device: whose readings they are, unless a message says otherwise.
        id: template of the device's id, of the named levels of the topic.
    """

    title: Annotated[str, Field(min_length=1, max_length=100)]
    topics: Annotated[tuple[str, ...], pydantic.AfterValidator(_patterns)]
    device: DeviceType
    id: str = "{id}"
    document: tuple[Document, ...] = ()
    value: tuple[Value, ...] = ()
    alive: tuple[Alive, ...] = ()
    special: tuple[Special, ...] = ()

    @property
    def messages(self) -> Iterator[Message]:
        """Everything that it reads."""
        yield from (*self.document, *self.value, *self.alive)
        for one in self.special:
            yield from one.messages

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Self:
        if not any(True for _ in self.messages):
            raise ValueError("it reads nothing: name at least one document, value or special message")
        for kind, name, source, device in self._sources():
            if problem := source.problem(name, device):
                raise ValueError(f"{kind}: {problem}")
        return self

    @pydantic.model_validator(mode="after")
    def _topics_have_ids(self) -> Self:
        for message in self.messages:
            where = f"topic = {message.topic!r}"
            try:
                whole = pattern.Pattern(self.topics[0]).under(message.topic)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            needs_id = not isinstance(message, (Document, Special)) or not getattr(message, "id_path", None)
            if (
                needs_id
                and not isinstance(message, Special)
                and (problem := whole.template_error(message.id or self.id))
            ):
                raise ValueError(f"{where}: id: {problem}")
        return self

    @pydantic.model_validator(mode="after")
    def _parts_agree(self) -> Self:
        parts: dict[tuple[str, str | None], set[int]] = {}
        for value in self.value:
            if value.part > value.parts:
                raise ValueError(f"value {value.topic!r}: part = {value.part} is above parts = {value.parts}")
            parts.setdefault((value.field, value.id), set()).add(value.parts)
        for (field, _), counts in parts.items():
            if len(counts) > 1:
                raise ValueError(f"{field}: its values do not agree on how many parts it has: {sorted(counts)}")
        return self

    def _sources(self) -> Iterator[tuple[str, str, sources.Source, DeviceType]]:
        for document in self.document:
            for name, source in document.fields.items():
                yield f"document {document.topic!r}", name, source, document.device or self.device
        for value in self.value:
            yield f"value {value.topic!r}", value.field, value, value.device or self.device
        for special in self.special:
            for name, metric in special.fields.items():
                yield f"special {special.reader!r}", name, metric, special.device or self.device


def validated(values: Mapping[str, Any]) -> Description:
    """A description from what its file holds.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return Description(**values)
