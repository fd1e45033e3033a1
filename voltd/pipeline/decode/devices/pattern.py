"""Topics with named levels, as ``tele/{id}/SENSOR``: the filter to subscribe to, and the levels of a topic by name.

``{name}`` is one level, ``+`` one that nobody needs, ``#`` at the end any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Self

_NAMED = re.compile(r"\{([a-z][a-z0-9_]*)\}", re.ASCII)
_ENCODED = re.compile(r"%(?=[0-9A-Fa-f]{2})")


class Pattern:
    """A topic pattern.

    Attributes:
        text: as it was written.
        topic_filter: for SUBSCRIBE.
        names: of its levels.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        levels = text.split("/")
        self.names: tuple[str, ...] = ()
        named: dict[int, str] = {}
        for position, level in enumerate(levels):
            if found := _NAMED.fullmatch(level):
                if found[1] in self.names:
                    raise ValueError(f"{text!r} is no topic pattern: {{{found[1]}}} is there twice")
                self.names += (found[1],)
                named[position] = found[1]
            elif level == "#" and position == len(levels) - 1:
                continue
            elif set(level) & set("{}#") or ("+" in level and level != "+"):
                raise ValueError(
                    f"{text!r} is no topic pattern: {{name}} and + are whole levels, # is the last one; not {level!r}"
                )
        if not text or len(text) > 1024:  # noqa: PLR2004
            raise ValueError("a topic pattern has 1 to 1024 characters")
        filters = ["+" if position in named else level for position, level in enumerate(levels)]
        self.topic_filter = "/".join(filters)
        self._expression = expression(filters, named)

    def levels(self, topic: str) -> dict[str, str] | None:
        """The named levels of a topic; None where it does not match."""
        found = self._expression.fullmatch(topic)
        return found.groupdict() if found else None

    def under(self, rest: str) -> Self:
        """The pattern with more levels behind it."""
        return type(self)(f"{self.text}/{rest}" if rest else self.text)

    def template_error(self, template: str) -> str | None:
        """What is wrong with a template for ids, whose ``{name}`` are levels; None: nothing."""
        for name in _NAMED.findall(template):
            if name not in self.names:
                there = ", ".join(f"{{{one}}}" for one in self.names) or "none"
                return f"{template!r} needs the level {{{name}}} of the topic; {self.text!r} has {there}"
        if "}{" in template:
            return f"{template!r} needs a character between two levels, or two devices may have one id"
        rest = _NAMED.sub("", template)
        return f"{template!r}: a brace belongs to no name" if set(rest) & set("{}") else None


def expression(levels: Sequence[str], named: Mapping[int, str]) -> re.Pattern[str]:
    """A topic filter (MQTT 5, 4.7), by its levels, as a regular expression; its groups are the levels with names."""
    parts = [
        f"(?P<{named[at]}>[^/]*)" if at in named else "[^/]*" if level == "+" else re.escape(level)
        for at, level in enumerate(levels)
    ]
    if levels[-1] == "#":  # also the level above it
        return re.compile("/".join(parts[:-1]) + "(/.*)?" if parts[:-1] else ".*", re.DOTALL)
    return re.compile("/".join(parts), re.DOTALL)


def fill(template: str, levels: Mapping[str, str]) -> str:
    """A template with the levels put in: other levels, another text.

    What separates them may be in one level as it is: in ``id``, or in the first one where there is no such name. In the
    others it is percent-encoded: ``{id}-{connector}`` of the connector ``1-2`` ends in ``-1%2D2``.
    """
    texts = _NAMED.split(template)  # text, name, text, name, text
    names = texts[1::2]
    free = "id" if "id" in names else next(iter(names), None)
    separators = {one for text in texts[2:-1:2] for one in (_signs(text) or text)} - {"/"}  # no level has a slash

    def written(found: re.Match[str]) -> str:
        level = levels[found[1]]
        return level if found[1] == free or not separators else _encoded(level, separators)

    return _NAMED.sub(written, template)


def _signs(text: str) -> str:
    return "".join(one for one in text if not one.isalnum())


def _encoded(level: str, separators: AbstractSet[str]) -> str:
    """The level without these characters; what looks encoded already is encoded once more."""
    level = _ENCODED.sub("%25", level)
    return "".join("".join(f"%{byte:02X}" for byte in one.encode()) if one in separators else one for one in level)
