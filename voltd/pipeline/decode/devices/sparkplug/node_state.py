"""What is known of one edge node of Sparkplug B between its births."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from voltd.pipeline.decode.devices.sparkplug import layout

Layouts = dict[int, layout.Layout | None]  # by the message's length; None: such a message has none


@dataclasses.dataclass(slots=True)
class Node:
    """One edge node.

    Attributes:
        born: whether nothing was missed since a birth of it.
        aliases: of the current birth: name, and data type if it is a signed integer's, else 0.
        types: data types of signed integers, by device and name.
        seq: number of its last message, 0 to 255.
        session: ``bdSeq`` of its birth.
        asked: when it was last asked for a rebirth.
        asks: how often it was asked in a row without an answer.
        held: bytes of its entries, about.
        layouts: of its messages since the current birth, by topic.
        layout_bytes: what they take, about.
    """

    born: bool = False
    aliases: dict[int, tuple[bytes, int]] = dataclasses.field(default_factory=dict)
    types: dict[tuple[str, bytes], int] = dataclasses.field(default_factory=dict)
    seq: int | None = None
    session: int | None = None
    asked: dt.datetime | None = None
    asks: int = 0
    held: int = 0
    layouts: dict[str, Layouts] = dataclasses.field(default_factory=dict)
    layout_bytes: int = 0

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self.aliases) + len(self.types)

    def forget(self) -> None:
        """A birth has to come before aliases mean anything again."""
        self.born = False
        self.held = 0
        self.aliases.clear()
        self.types.clear()

    def put_names(self, device: str, metrics: list[Any]) -> bool | None:
        """Puts the names of aliases and missing data types in; whether there were any, None if one is not known."""
        changed = False
        for metric in metrics:
            if not metric.name:
                alias = metric.alias
                if not alias and not metric.HasField("alias"):
                    continue
                known = self.aliases.get(alias)
                if known is None:
                    return None
                metric.name, signed = known
                if signed and not metric.datatype:
                    metric.datatype = signed
                changed = True
            elif self.types and not metric.datatype and (datatype := self.types.get((device, metric.name))):
                metric.datatype = datatype
                changed = True
        return changed


def session_of(metrics: list[Any]) -> int | None:
    """``bdSeq``, by which a death says which birth it ends; None: it does not say."""
    for metric in metrics:
        if metric.name == b"bdSeq":
            return int(metric.long_value or metric.int_value)
    return None
