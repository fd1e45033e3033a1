"""Messages through Apprise: e-mail, chat, SMS, webhooks, by URL.

Each channel has a plug-in of Apprise, made when the settings are read so that a wrong URL is refused then, and used by
the channel's thread only. The URL holds secrets: it is never logged, and Apprise's own messages are cleaned of it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from typing import Final
from urllib import parse

import apprise

from voltd import errors
from voltd.alerts import notifications
from voltd.alerts.senders import sender

PROGRAMS: Final = frozenset({"json", "jsons", "form", "forms", "xml", "xmls"})  # read by programs: nothing is gathered
_TYPES: Final = {
    None: apprise.NotifyType.SUCCESS,
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
}
_SHORTEST_SECRET = 4
_MAIL: Final = ("mailto", "mailtos")
# A slow service may have the message already, and would get it again. An attempt must end within its lease of 30 s.
_ANSWER_S = 20.0
_BETWEEN = len("\r\n")  # what Apprise puts between title and body
_REFUSED: Final = re.compile(r"error=(400|413|422)\b")  # Bad Request, Content Too Large, Unprocessable Content
_logger = logging.getLogger("apprise")


class _LastProblem(logging.Handler):
    """Holds Apprise's last warning in this thread: its plug-ins return only that they failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = threading.local()
        _logger.addHandler(self)
        _logger.propagate = False  # the outbox and voltd's own log have it

    def emit(self, record: logging.LogRecord) -> None:
        self._last.text = record.getMessage()

    def take(self) -> str:
        text, self._last.text = getattr(self._last, "text", ""), ""
        return str(text)


_last_problem = _LastProblem()


def scheme(url: str) -> str:
    """Which service a URL is for."""
    return url.partition("://")[0].strip().lower()


class AppriseSender:
    """Sends to one URL.

    Args:
        name: of the channel.
        url: Apprise's; it names service, receivers and secrets.

    Raises:
        ConfigurationError: Apprise does not understand the URL, or it names several receivers. The message does not
            show it.
    """

    def __init__(self, name: str, url: str) -> None:
        asset = apprise.AppriseAsset(app_id="voltd", app_desc="voltd alerts", async_mode=False)
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        _last_problem.take()  # it may hold the URL
        if not isinstance(plugin, apprise.NotifyBase):
            kind = f" for {scheme(url)}://" if "://" in url else ""
            raise errors.ConfigurationError(
                f"alerts.channels.{name}: Apprise does not understand this URL{kind}",
                hint="services and their URLs: https://github.com/caronc/apprise/wiki",
            )
        plugin.retry = 0  # the outbox tries again; Apprise counts attempts of its own as receivers
        if _receivers(plugin) > 1:
            # If one of them fails Apprise returns "failed" for all, and the others would get the message again.
            raise errors.ConfigurationError(
                f"alerts.channels.{name}: the URL names several receivers",
                hint="make a channel for each of them, or use a group or mailing list of the service",
            )
        if "socket_read_timeout" not in vars(plugin):  # rto= in the URL
            plugin.socket_read_timeout = _ANSWER_S
        if scheme(url) in _MAIL and "socket_connect_timeout" not in vars(plugin):  # there it holds for every answer
            plugin.socket_connect_timeout = _ANSWER_S
        self._plugin = plugin
        self._secrets = _parts(url)

    def send(self, what: notifications.Notification) -> None:
        """See ``sender.Sender``."""
        _last_problem.take()
        what = what._replace(rows=notifications.newest(what.rows))
        title, body = self._text(what)
        try:
            taken = self._plugin.notify(
                body=body,
                title=title,
                notify_type=_TYPES[notifications.worst(what.rows)],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # more than a hundred plug-ins: whatever they raise, this channel has failed
            raise sender.ChannelError(f"{self._plugin.service_name}: {type(error).__name__}") from error
        if not taken:
            reason = _last_problem.take()
            raise sender.ChannelError(
                f"{self._plugin.service_name}: {self._clean(reason) or 'not taken'}",
                permanent=_REFUSED.search(reason) is not None,
            )

    def show(self, rows: Sequence[notifications.AlertTransition]) -> int:  # noqa: ARG002 as in sender.Sender
        """People are notified of transitions only."""
        return 0

    def close(self) -> None:
        """Apprise has no lasting connection."""

    def _text(self, what: notifications.Notification) -> tuple[str, str]:
        """Title and body, no longer than the service takes; a longer message would be refused."""
        plugin, title = self._plugin, notifications.title(what)
        if "overflow_mode" in vars(plugin):  # overflow= in the URL: Apprise divides or cuts it
            return title, notifications.body(what)
        room: float = plugin.body_maxlen
        if plugin.title_maxlen > 0:
            title = title[: plugin.title_maxlen]
        if plugin.title_maxlen <= 0 or plugin.overflow_amalgamate_title:  # the title is put into the body
            beside = room - len(title) - _BETWEEN
            if len(what.rows) == 1 and len(notifications.body(what)) > beside:
                title = ""  # the line of a single alert has all of it
            else:
                room = beside
        return title, notifications.body(what, room)

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _receivers(plugin: apprise.NotifyBase) -> int:
    """How many receivers the URL names."""
    targets, cc, bcc = (
        len(found) if isinstance(found := getattr(plugin, name, None), list | tuple | set) else 0
        for name in ("targets", "cc", "bcc")
    )
    return max(len(plugin), targets) + cc + bcc


def _parts(url: str) -> list[str]:
    """Everything in a URL that may be secret, long ones first."""
    rest = url.partition("://")[2]
    address = rest.rpartition("@")[2]
    # Elsewhere what stands in the place of a host may be a token.
    has_host = "@" in rest or scheme(url) in (*PROGRAMS, *_MAIL)
    host = re.split(r"[/?:]", address, maxsplit=1)[0] if has_host else ""
    found = {one for part in re.split(r"[/?:@&=,]+", rest) for one in (part, parse.unquote(part))}
    return sorted((one for one in found if len(one) >= _SHORTEST_SECRET and one != host), key=len, reverse=True)
