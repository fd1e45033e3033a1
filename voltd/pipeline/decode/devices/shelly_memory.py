"""What earlier messages of a Shelly have said of a component, for notifications that say only what changed. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from voltd.pipeline.decode.devices import path

Steps = tuple[path.Step, ...]
_MOST_WH = 1 << 53  # a whole number beyond is no value


@dataclasses.dataclass(slots=True)
class Memory:
    """What is known of one component.

    Attributes:
        values: the last ones, of fields that need several.
        whole: whether a whole status of it has come: what it did not name, the component does not have.
    """

    values: dict[Steps, float] = dataclasses.field(default_factory=dict)
    whole: bool = False

    def learn(self, wanted: Iterable[Steps], status: Mapping[str, Any], *, whole: bool) -> None:
        """Takes what a status says into account."""
        self.whole |= whole
        for steps in wanted:
            value = path.look_up(status, steps)
            if value.__class__ is float or (value.__class__ is int and abs(value) < _MOST_WH):
                self.values[steps] = value

    def changed(
        self, fields: Iterable[Sequence[Steps]], status: Mapping[str, Any], *, redelivered: bool
    ) -> tuple[dict[str, Any], int]:
        """The fields that changed, each with all of its values, and how many are left out as one is not known.

        Args:
            fields: of each where its values are.
            status: what the message says.
            redelivered: whether it was sent before.
        """
        found: dict[str, Any] = {}
        left_out = 0
        for paths in fields:
            if len(paths) == 1:
                value = path.look_up(status, paths[0])
                if value is not path.MISSING:
                    _put(found, paths[0], value)
                continue
            there = {steps: value for steps in paths if (value := path.look_up(status, steps)) is not path.MISSING}
            if not there:
                continue
            missing = self._missing(paths, status, redelivered=redelivered)
            if missing is None:
                left_out += 1
                continue
            for steps, value in (missing | there).items():
                if value is not None or steps in there:
                    _put(found, steps, value)
        return found, left_out

    def complete(self, fields: Iterable[Sequence[Steps]], status: dict[str, Any], *, redelivered: bool) -> bool:
        """Puts what is known into a status that leaves it out; whether there was any. See ``changed``."""
        added = False
        every = [self._missing(paths, status, redelivered=redelivered) for paths in fields]
        for steps, value in [one for missing in every if missing for one in missing.items()]:
            added = True
            if value is None:
                status.setdefault(str(steps[0]), None)
            else:
                _put(status, steps, value)
        return added

    def _missing(
        self, paths: Sequence[Steps], status: Mapping[str, Any], *, redelivered: bool
    ) -> dict[Steps, float | None] | None:
        """The values that a field needs beside those of a status; None: it has none of them, or one is not known.

        A value of None: the component has none. What came before a message that is sent again, nobody knows any more.
        """
        unsaid = [steps for steps in paths if not _is_said(status, steps)]
        if len(unsaid) == len(paths):
            return None
        missing: dict[Steps, float | None] = {}
        if unsaid and all(path.look_up(status, steps) is path.MISSING for steps in paths):
            return None
        for steps in unsaid:
            value = self.values.get(steps)
            if (value is None and not self.whole) or (value is not None and redelivered):
                return None
            missing[steps] = value
        return missing


def prefix(topic: str) -> str:
    """The device, as its topics say."""
    return topic.rsplit("/", 2)[0]


def _is_said(status: Mapping[str, Any], steps: Steps) -> bool:
    """Whether a status has the value, or says that the component has none (``"ret_aenergy": null``)."""
    return path.look_up(status, steps) is not path.MISSING or status.get(str(steps[0]), path.MISSING) is None


def _put(target: dict[str, Any], steps: Steps, value: Any) -> None:
    for step in steps[:-1]:
        there = target.get(str(step))
        target[str(step)] = target = there if there.__class__ is dict else {}
    target[str(steps[-1])] = value
