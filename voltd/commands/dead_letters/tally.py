"""The tally that ``voltd dead-letters replay`` prints.

``replay`` counts in it and prints it at the end.
"""

from __future__ import annotations

import collections
import dataclasses

from voltd import models


@dataclasses.dataclass(slots=True)
class ReprocessTally:
    """Readings and dead letters so far, by fate.

    Attributes:
        partly: refused again in part; the good readings were stored.
        repeats_lost: further messages that the processed ones stand for, and whose payload was not stored.
    """

    readings: int = 0
    filled: int = 0
    corrected: int = 0
    duplicates: int = 0
    replayed: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    partly: int = 0
    repeats_lost: int = 0

    @property
    def letters(self) -> int:
        """How many were processed."""
        return self.replayed + self.refused.total()

    def show(self, *, dry_run: bool, again: bool, reason: str | None) -> None:
        """Prints the tally; the arguments are the command's."""
        would = "would be " if dry_run else ""
        if not self.letters:
            print("nothing to replay" + ("" if again else " (what was replayed before: --again)"))
            return
        filled = f", {self.filled} filled in" if self.filled else ""
        print(f"{many(self.readings, 'reading')} {would}stored{filled}, {self.duplicates} were there already")
        if self.corrected:
            print(f"{many(self.corrected, 'reading')} {would}corrected: volt.correction has the old values")
        print(f"{many(self.replayed, 'dead letter')} {would}done")
        if self.repeats_lost:
            lost = many(self.repeats_lost, "repeat")
            print(f"  {lost} counted with them had values of their own, which were not kept: only the first was")
        if not self.refused:
            return
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        print(f"{many(self.refused.total(), 'dead letter')} {would}refused again, kept as before: {reasons}")
        if self.refused[models.Reason.IN_FUTURE] and reason != models.Reason.IN_FUTURE:
            print("  in_future: if this host's clock was wrong then: voltd dead-letters replay --reason in_future")
        if self.partly:
            print(f"  {self.partly} of them in part: what is good in them counts as stored above")


def many(count: int, noun: str) -> str:
    """A count with its noun, in the plural if needed."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
