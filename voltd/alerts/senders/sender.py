"""What the three kinds of senders have in common: the one error they raise, and their shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from voltd import errors
from voltd.alerts import message


class ChannelError(errors.VoltdError):
    """Transient: the channel did not take the message as far as is known; it stays in the outbox and is tried again.

    With ``permanent`` the service has refused this very message, and would again. The text is one line without
    secrets.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(" ".join(text.split())[:300])
        self.permanent = permanent


class Sender(Protocol):
    """One way out; one thread at a time calls it."""

    def send(self, what: message.Notification) -> None:
        """Hands a message over; blocks until the service has taken it.

        Raises:
            ChannelError: it was not taken, or nobody knows whether it was.
        """
        ...

    def show(self, rows: Sequence[message.AlertTransition]) -> int:
        """Says again what is open now, where the channel shows a state; how much was said: 0: nobody was asked.

        Raises:
            ChannelError: not all of it could be said.
        """
        ...

    def close(self) -> None:
        """Leaves the connection, if there is one; the next ``send`` makes another."""
        ...
