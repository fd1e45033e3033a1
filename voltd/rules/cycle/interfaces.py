"""What an evaluation cycle needs from the rest of the daemon; ``voltd/daemon/wiring.py`` hands it in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple, Protocol

# rule, device_type, device_id, opened_at, transition, severity: identifies a transition that has no number
TransitionKey = tuple[str, str, str, dt.datetime, str, str]


HICCUP = dt.timedelta(seconds=10)  # a daemon that is not healthy for no longer counts as healthy


class Report(NamedTuple):
    """How one daemon is.

    Attributes:
        lag_s: seconds that the oldest message in flight has waited for its COMMIT, that the broker has been away, or
            that this host's clock is certainly off: the largest of these.
        spooling: readings go to the spool, or wait in it.
        healthy: broker and database are there and nothing holds messages back, hiccups of a few seconds aside, so
            silence is the devices' own.
        unwell_s: how many seconds ago it was last not healthy; None: never since it was first healthy.
    """

    lag_s: float
    spooling: bool
    healthy: bool
    unwell_s: float | None = None


class OfflineNotice(NamedTuple):
    """A transition that is notified without a row in the outbox; the fields are those of ``volt.alert``."""

    rule: str
    severity: str
    device_type: str
    device_id: str
    transition: str
    message: str
    opened_at: dt.datetime
    resolved_at: dt.datetime | None


class ThisDaemon(Protocol):
    """The daemon in which the cycle runs; nothing blocks."""

    def look(self) -> Report:
        """How the daemon is; called once a cycle."""
        ...

    def busy(self) -> bool:
        """Whether messages wait for the machine: late readings can be evaluated later."""
        ...

    def trouble(self) -> str:
        """Why this daemon takes no messages, for people; empty: no reason is known."""
        ...


class Notifier(Protocol):
    """Sends what the cycle finds; nothing blocks."""

    def wake(self) -> None:
        """The outbox has something new."""
        ...

    def send_now(self, rows: Sequence[OfflineNotice]) -> None:
        """Sends these from memory, because there is no database for the outbox."""
        ...

    def sent_at(self, channel: str, what: TransitionKey) -> dt.datetime | None:
        """When ``send_now`` sent this on the channel; None: it did not."""
        ...

    def withdraw(self) -> None:
        """Leaves what ``send_now`` has not sent yet to the outbox."""
        ...


class NotificationTarget(Protocol):
    """A channel, as far as the cycle asks it."""

    @property
    def name(self) -> str:
        """As in the settings."""
        ...

    def wants(self, *, severity: str, rule: str, fleet_id: str | None, transition: str, quiet: bool) -> bool:
        """Whether the channel is to be notified of this."""
        ...

    def wants_end(self, *, quiet: bool) -> bool:
        """Whether the channel is to be notified of the end of an episode that it was notified of."""
        ...
