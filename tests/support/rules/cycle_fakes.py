"""What an evaluation cycle needs from a daemon, for tests that run it without one."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from voltd.rules.cycle import interfaces


class ThisDaemon:
    """Is as ``look`` reports, never busy and without trouble."""

    def __init__(self, look: Callable[[], interfaces.Report]) -> None:
        self.look = look

    def busy(self) -> bool:
        return False

    def trouble(self) -> str:
        return ""


class Notifier:
    """Sends nothing."""

    def wake(self) -> None:
        pass

    def send_now(self, rows: Sequence[Any]) -> None:
        pass

    def sent_at(self, _channel: str, _what: Any) -> dt.datetime | None:
        return None

    def withdraw(self) -> None:
        pass
