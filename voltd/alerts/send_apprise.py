"""Messages through Apprise: e-mail, chat, SMS, webhooks, by URL.

One plug-in of Apprise a channel, made when the settings are read so that a wrong URL is refused then, and used by the
channel's thread alone. The URL holds secrets: it is never logged, and what Apprise says of a failure is cleaned of it.
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
from voltd.alerts import message, send

PROGRAMS: Final = frozenset({"json", "jsons", "form", "forms", "xml", "xmls"})  # read by programs: nothing is gathered
_TYPES: Final = {
    None: apprise.NotifyType.SUCCESS,
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "critical": apprise.NotifyType.FAILURE,
}
_SHORTEST_SECRET = 4
_logger = logging.getLogger("apprise")


class _Heard(logging.Handler):
    """Keeps what Apprise last complained of in this thread: its plug-ins only say that they failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = threading.local()
        _logger.addHandler(self)
        _logger.propagate = False  # it goes into the outbox and our own log

    def emit(self, record: logging.LogRecord) -> None:
        self._said.text = record.getMessage()

    def take(self) -> str:
        text, self._said.text = getattr(self._said, "text", ""), ""
        return str(text)


_heard = _Heard()


def scheme(url: str) -> str:
    """Which service a URL is for."""
    return url.partition("://")[0].strip().lower()


class AppriseSender:
    """Sends to one URL.

    Args:
        name: of the channel.
        url: Apprise's; it names service, receivers and secrets.

    Raises:
        ConfigurationError: Apprise does not understand the URL. It is not shown.
    """

    def __init__(self, name: str, url: str) -> None:
        asset = apprise.AppriseAsset(app_id="voltd", app_desc="voltd alerts", async_mode=False)
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        _heard.take()  # it may hold the URL
        if not isinstance(plugin, apprise.NotifyBase):
            kind = f" for {scheme(url)}://" if "://" in url else ""
            raise errors.ConfigurationError(
                f"alerts.channels.{name}: Apprise does not understand this URL{kind}",
                hint="services and their URLs: https://github.com/caronc/apprise/wiki",
            )
        self._plugin = plugin
        self._secrets = _parts(url)

    def send(self, what: message.Message) -> None:
        """See ``send.Sender``."""
        _heard.take()
        try:
            taken = self._plugin.notify(
                body=message.body(what),
                title=message.title(what),
                notify_type=_TYPES[message.worst(what.rows)],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # more than a hundred plug-ins: whatever they raise, this channel has failed
            raise send.ChannelError(f"{self._plugin.service_name}: {type(error).__name__}") from error
        if not taken:
            raise send.ChannelError(f"{self._plugin.service_name}: {self._clean(_heard.take()) or 'not taken'}")

    def show(self, rows: Sequence[message.Row]) -> None:
        """People are told changes."""

    def close(self) -> None:
        """Apprise keeps no connection."""

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _parts(url: str) -> list[str]:
    """Everything in a URL that may be secret, long ones first."""
    rest = url.partition("://")[2]
    address = rest.rpartition("@")[2]
    # Elsewhere what stands in the place of a host may be a token.
    has_host = "@" in rest or scheme(url) in (*PROGRAMS, "mailto", "mailtos")
    host = re.split(r"[/?:]", address, maxsplit=1)[0] if has_host else ""
    found = {one for part in re.split(r"[/?:@&=,]+", rest) for one in (part, parse.unquote(part))}
    return sorted((one for one in found if len(one) >= _SHORTEST_SECRET and one != host), key=len, reverse=True)
