"""What a channel does now: send again what failed, send what has gathered, or wait. Pure.

``worker`` asks after each look into the outbox. All times are ages in seconds by the database's clock, so daemons whose
clocks differ agree. Silences are not seen here: ``outbox`` leaves out the rows that they cover.
"""

from __future__ import annotations

import enum
import random
from typing import NamedTuple

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
BROKEN_AFTER = 5  # failures in a row: from then on the channel counts as broken and is probed once a pause
_MOST_DOUBLINGS = 30


class Waiting(NamedTuple):
    """What waits for one channel.

    Attributes:
        claimed: the id of the message that has been tried and not been taken, the oldest first; None: there is none.
        attempts: how often it was tried.
        failed: its last attempt is known to have failed; False: it may be under way.
        tried_s: seconds since that attempt began.
        oldest_s: the age of the oldest row that was never tried; None: there is none.
        sent_in_hour: messages that left within the last hour.
    """

    claimed: str | None = None
    attempts: int = 0
    failed: bool = False
    tried_s: float = 0.0
    oldest_s: float | None = None
    sent_in_hour: int = 0


class Pace(NamedTuple):
    """How a channel may be used.

    Attributes:
        group_s: how long rows are gathered.
        max_per_hour: messages; None: any number.
        lease_s: an attempt of which nobody knows the end is left alone for so long: another daemon may be at it.
    """

    group_s: float
    max_per_hour: int | None
    lease_s: float = 30.0


class Action(enum.Enum):
    """What to do."""

    WAIT = "wait"
    AGAIN = "again"  # the message that was claimed
    NEW = "new"  # a message of all that was never tried


class Decision(NamedTuple):
    """What to do; when to look again (inf: when there is news)."""

    action: Action
    wait_s: float = float("inf")


def pause_s(attempts: int, seed: str) -> float:
    """The pause after so many failures in a row: random between half and all of 1 s, doubled up to 5 min.

    The same message and number give the same pause, so looking often does not shorten it.
    """
    ceiling = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(attempts - 1, 0), _MOST_DOUBLINGS))
    return ceiling * random.Random(f"{seed}/{attempts}").uniform(0.5, 1.0)  # noqa: S311 jitter, not a secret


def decide(waiting: Waiting, pace: Pace, *, fresh: bool = False) -> Decision:
    """What to do now.

    A message that failed goes before everything else, so the order stays and a broken channel sees one probe a pause.

    Args:
        waiting: the outbox as it is.
        pace: of the channel.
        fresh: the settings may just have been put right: a failed message is tried without its pause.
    """
    if waiting.claimed is not None:
        due_s = pause_s(waiting.attempts, waiting.claimed) if waiting.failed else pace.lease_s
        left_s = 0.0 if fresh and waiting.failed else due_s - waiting.tried_s
        action = Action.AGAIN
    elif waiting.oldest_s is not None:
        left_s = pace.group_s - waiting.oldest_s
        action = Action.NEW
    else:
        return Decision(Action.WAIT)
    if left_s > 0:
        return Decision(Action.WAIT, left_s)
    if pace.max_per_hour is not None and waiting.sent_in_hour >= pace.max_per_hour:
        return Decision(Action.WAIT)
    return Decision(action, 0.0)
