"""What all senders have in common: their interface, and the only error that they raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from voltd import errors
from voltd.alerts import notifications


class ChannelError(errors.VoltdError):
    """Transient: as far as is known the channel did not take the message; it stays in the outbox and is tried again.

    With ``permanent`` the service has refused this very message, and would refuse it again. The text is one line
    without secrets.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(" ".join(text.split())[:300])
        self.permanent = permanent


class Sender(Protocol):
    """Sends to one service; one thread at a time calls it."""

    def send(self, what: notifications.Notification) -> None:
        """Sends a message; blocks until the service has taken it.

        Raises:
            ChannelError: the service did not take it, or its answer is not known.
        """
        ...

    def show(self, rows: Sequence[notifications.AlertTransition]) -> int:
        """Sends all open episodes to a service that shows a state; returns how many were sent (0: it was not asked).

        Raises:
            ChannelError: some of it was not taken.
        """
        ...

    def close(self) -> None:
        """Closes the connection, if there is one; the next ``send`` opens another."""
        ...
