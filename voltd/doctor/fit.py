"""Which device family fits to a topic and its payloads, wherever its devices publish. Pure.

A description names the last levels of its topics. Where a topic ends so, and its payloads make readings, the levels
before are where a device publishes: its base.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence

from voltd import config, models
from voltd.doctor import listen
from voltd.pipeline.decode import decoder
from voltd.pipeline.decode.devices import catalogue, description, families, pattern

ANY_DAYS = 36_500  # a reading of any age
NOWHERE = config.Topics(vehicle=("$voltd-doctor",), meter=(), ingest=())  # a filter that no topic matches
Base = tuple[str, ...]
_ENOUGH = 3  # different messages, where a family is somewhere else than it is by default
_MOST_PATTERNS = 10  # in the settings; beyond, a further level is named
_MOST_LEVELS = 100
_pattern = functools.cache(pattern.Pattern)  # asked for each topic


@dataclasses.dataclass(slots=True)
class Fit:
    """A family at one base.

    Attributes:
        family: its name.
        base: the levels before those that the description names.
        by_default: whether its devices publish there without settings.
        topics: those that make readings, or are about liveness, by the message of the description.
    """

    family: str
    base: Base
    by_default: bool
    topics: dict[str, set[str]] = dataclasses.field(default_factory=dict)

    @property
    def weight(self) -> tuple[bool, int]:
        """A family is more likely by its usual place, then by the number of its different messages."""
        return self.by_default, len(self.topics)


def find(heard: listen.Heard, described: Mapping[str, description.Description]) -> dict[str, Fit]:
    """The family of each topic that has one."""
    found: dict[tuple[str, Base], Fit] = {}
    probes = {name: Probe(name, one) for name, one in described.items()}
    for name, topic in heard.topics.items():
        levels = tuple(name.split("/"))
        for family, one in described.items():
            for message in one.messages:
                base = _base(message.topic, levels)
                if base is None or not probes[family].takes(message.topic, base, topic.samples):
                    continue
                fit = found.setdefault((family, base), Fit(family, base, _usual(one, base)))
                fit.topics.setdefault(message.topic, set()).add(name)
    best: dict[str, Fit] = {}
    for fit in found.values():
        if not fit.by_default and not _convinces(fit, described[fit.family]):
            continue
        for name in {name for names in fit.topics.values() for name in names}:
            if name not in best or fit.weight > best[name].weight:
                best[name] = fit
    return best


class Probe:
    """Tries whether payloads make readings of a family."""

    def __init__(self, family: str, described: description.Description) -> None:
        self._family, self._described = family, described

    def takes(self, rest: str, base: Base, samples: Sequence[models.Message]) -> bool:
        """Whether any of them measures something, or is what the family says about liveness."""
        one = self._decoder(len(base))
        for sample in samples:
            batch = one.decode([sample._replace(retained=False)])
            if batch.readings or (batch.alive and not batch.dead_letters and self._is_alive(rest)):
                return True
        return False

    def _is_alive(self, rest: str) -> bool:
        return any(one.topic == rest for one in self._described.alive)

    @functools.cache  # noqa: B019 as long as the probe
    def _decoder(self, levels: int) -> decoder.Decoder:
        settings = config.Settings()
        topics = "/".join(f"{{l{number}}}" for number in range(levels))
        last = f"{{l{levels - 1}}}"
        at = config.DeviceFamily(topics=(topics,), id=last, gather_s=0)
        # Each part of a sum measures something, though it makes no reading without the others.
        alone = {"id": None, "part": 1, "parts": 1}
        every = self._described.model_copy(
            update={
                "value": tuple(one.model_copy(update=alone) for one in self._described.value),
                **{
                    kind: tuple(one.model_copy(update={"id": None}) for one in getattr(self._described, kind))
                    for kind in ("document", "alive", "special")
                },
            }
        )
        enabled = catalogue.Enabled(self._family, every, at)
        found = families.Families([enabled])
        return decoder.Decoder(NOWHERE, settings.limits, ANY_DAYS, settings.timestamps, found)


def _base(rest: str, levels: Base) -> Base | None:
    """The levels of a topic before those of a message; None: it does not end like that."""
    wanted = rest.split("/") if rest else []
    if "#" in wanted or not len(wanted) < len(levels) <= _MOST_LEVELS:
        return None
    tail = "/".join(levels[len(levels) - len(wanted) :])
    if wanted and _pattern(rest).levels(tail) is None:
        return None
    return levels[: len(levels) - len(wanted)]


def _usual(described: description.Description, base: Base) -> bool:
    return any(_matches(text, base) for text in described.topics)


def _matches(text: str, base: Base) -> bool:
    return _pattern(text).levels("/".join(base)) is not None


def _convinces(fit: Fit, described: description.Description) -> bool:
    """Whether it is more than a chance that something ends like this, away from where the family usually is."""
    special = {one.topic for one in described.messages if isinstance(one, description.Special)}
    if special & fit.topics.keys():  # no other device writes what these readers take
        return True
    documents = {one.topic for one in described.document if one.topic}
    return len(fit.topics) >= _ENOUGH or (bool(documents & fit.topics.keys()) and len(fit.topics) > 1)


def topics_of(
    bases: Iterable[Base], described: description.Description, template: str | None = None
) -> tuple[str, ...]:
    """Patterns for the settings that match these bases; the family's own ones where they match them all.

    Args:
        bases: where its devices publish.
        described: the family.
        template: of the device's id, where it is not the family's.
    """
    bases = sorted(set(bases))
    usual = [text for text in described.topics if any(_matches(text, base) for base in bases)]
    others = [base for base in bases if not _usual(described, base)]
    if not others:
        return described.topics
    names = _needed(described, template)
    fixed = {level for text in described.topics for level in text.split("/")}
    by_shape: dict[tuple[int, ...], set[Base]] = {}
    for base in others:
        if (moved := _moved(base, described, names)) is not None:
            by_shape.setdefault((len(moved), -1), set()).add(moved)
            continue
        free = [at for at, level in enumerate(base) if level not in fixed]
        places = (free if len(free) >= len(names) else list(range(len(base))))[-len(names) :] if names else []
        named = dict(zip(reversed(places), reversed(names), strict=False))
        levels = [f"{{{named[at]}}}" if at in named else _fixed(level) for at, level in enumerate(base)]
        by_shape.setdefault((len(base), *places), set()).add(tuple(levels))
    found = ["/".join(levels) for same in by_shape.values() for levels in sorted(_few(same))]
    return (*usual, *found)


def _moved(base: Base, described: description.Description, names: Iterable[str]) -> Base | None:
    """The family's own topics behind other levels; None: its topics are others, or no word behind them says so."""
    for text in described.topics:
        tail = tuple(text.split("/")[1:])
        words = [level for level in tail if not level.startswith("{")]
        named = all(f"{{{name}}}" in tail for name in names)
        if words and named and len(tail) < len(base) and _matches("/".join(tail), base[-len(tail) :]):
            return (*(_fixed(level) for level in base[: -len(tail)]), *tail)
    return None


def _few(same: set[Base]) -> set[Base]:
    """The same patterns, with as many varying levels named as it takes to have few of them."""
    while len(same) > _MOST_PATTERNS:
        at = max(range(len(next(iter(same)))), key=lambda at: len({levels[at] for levels in same}))
        same = {(*levels[:at], f"{{level{at + 1}}}", *levels[at + 1 :]) for levels in same}
    return same


def _needed(described: description.Description, template: str | None) -> list[str]:
    """The levels of its topics that the family makes ids of, in their order."""
    templates = [template or described.id, *(one.id for one in described.messages if one.id)]
    return [
        name for name in pattern.Pattern(described.topics[0]).names if any(f"{{{name}}}" in one for one in templates)
    ]


def _fixed(level: str) -> str:
    return "+" if set(level) & set("{}") else level
