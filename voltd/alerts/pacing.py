"""What a channel does now: send again what failed, send what has gathered, or wait. Pure.

``outbox`` asks before it claims a message. All times are ages in seconds by the database's clock, so that daemons whose
clocks differ agree. Silences do not appear here: ``outbox`` leaves out the rows that they cover.
"""

from __future__ import annotations

import enum
import random
from typing import NamedTuple

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
BROKEN_AFTER = 5  # failed attempts in a row: from then on the log calls the channel broken
_MOST_DOUBLINGS = 30


class Waiting(NamedTuple):
    """What waits for one channel.

    Attributes:
        claimed: the id of the oldest message that was tried and not taken yet; None: there is none.
        attempts: how often it was tried.
        failed: its last attempt is known to have failed; False: that attempt may still run.
        tried_s: seconds since that attempt began.
        oldest_s: the age of the oldest row that was never tried; None: there is none.
        sent_in_hour: messages sent within the last hour.
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
        lease_s: how long an attempt without a known result is left alone: another daemon may be sending it.
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
    """What to do, and seconds until the next look (inf: when woken)."""

    action: Action
    wait_s: float = float("inf")


def pause_s(attempts: int, seed: str) -> float:
    """Seconds after so many failed attempts in a row: random between half and all of 1 s, doubled up to 5 min.

    The same message (seed) and number give the same pause, so that frequent looks do not shorten it.
    """
    ceiling = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(max(attempts - 1, 0), _MOST_DOUBLINGS))
    return ceiling * random.Random(f"{seed}/{attempts}").uniform(0.5, 1.0)  # noqa: S311 jitter, not a secret


def decide(waiting: Waiting, pace: Pace, *, fresh: bool = False) -> Decision:
    """Decides what the channel does now.

    A message that failed goes before all others, so that the order stays and a broken channel sees one attempt a pause.

    Args:
        waiting: the outbox as it is.
        pace: of the channel.
        fresh: the settings may have been corrected just now: a failed message is tried without its pause.
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
