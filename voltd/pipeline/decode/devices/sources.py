"""Where a field's value is in what a device family publishes, and in which unit, as its TOML file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from voltd import config, readings
from voltd.pipeline.decode.devices import path, units
from voltd.readings import DeviceType, Kind

_MOST_PATHS = 8


def _path(text: str) -> str:
    path.parse(text)
    return text


def _paths(given: Any) -> tuple[str, ...]:
    paths = (given,) if isinstance(given, str) else given
    if not isinstance(paths, list | tuple) or not all(isinstance(one, str) for one in paths):
        raise ValueError("should be a path, or a list of paths")
    if not 1 <= len(paths) <= _MOST_PATHS:
        raise ValueError(f"should be 1 to {_MOST_PATHS} paths")
    return tuple(_path(one) for one in paths)


Path = Annotated[str, Field(min_length=1, max_length=256), pydantic.AfterValidator(_path)]
MetricName = Annotated[str, Field(min_length=1, max_length=256)]
Word = float | str


class Source(config.Section):
    """How a value becomes a field's.

    Attributes:
        unit: what it is in; needed where the field has a unit.
        negate: its sign is the other way round.
        words: what its texts (or numbers, written as texts) become.
        ignore: values that stand for none.
    """

    unit: str = ""
    negate: bool = False
    words: Mapping[str, str] = {}
    ignore: tuple[Word, ...] = ()

    def problem(self, name: str, device: DeviceType) -> str | None:
        """What is wrong with it for a field of a reading; None: nothing."""
        field = {one.wire: one for one in readings.fields(device).values()}.get(name)
        if field is None:
            known = ", ".join(one.wire for one in readings.fields(device).values())
            return f"{name} is no field of a {device} reading: {known}"
        if field.kind is Kind.TEXT:
            return f"{name} is a text: it has no unit" if self.unit or self.negate else None
        if field.kind is Kind.OBJECT:
            return f"{name} is an object, which no device family fills"
        known_units = units.UNITS[field.unit]
        if self.unit not in known_units:
            meant = " or ".join(units.near(self.unit, known_units))
            return f"{name}: unit = {self.unit!r} is none for {field.unit or 'a number'}: {', '.join(known_units)}" + (
                f"; did you mean {meant}?" if meant else ""
            )
        return None


class DocumentField(Source):
    """A field's value in a JSON document.

    Attributes:
        path: where it is; several: what ``take`` makes of them.
        take: of several values, those of an array or of several paths: the sum, the first one there, the largest one,
            the mean.
        less: where a value is that is subtracted, in the same unit.
        unless: where a value is that makes it another thing's, so that it is left out.
    """

    path: Annotated[tuple[str, ...], pydantic.BeforeValidator(_paths)]
    take: Literal["sum", "first", "max", "mean"] | None = None
    less: Path | None = None
    unless: Path | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Where its values are."""
        return self.path

    @pydantic.model_validator(mode="after")
    def _several(self) -> Self:
        if len(self.paths) > 1 and self.take is None:
            raise ValueError("several paths need take: sum, first, max or mean")
        return self


class Metric(Source):
    """A field's value in a metric of Sparkplug B.

    Attributes:
        path: the metric's name, as it is; several: names that different devices give it.
    """

    path: MetricName | Annotated[tuple[MetricName, ...], Field(min_length=2, max_length=_MOST_PATHS)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it may have; the first one goes before the others."""
        return (self.path,) if isinstance(self.path, str) else self.path
