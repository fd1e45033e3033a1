"""The channels of [alerts]: what each wants to be told, how soon, and by which sender.

``make`` is called when the settings are read, so that a channel that cannot work is refused then. The check of the
rules asks ``wants`` when it fills the outbox; each channel's worker sends.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING

from voltd import config, errors
from voltd.alerts import message
from voltd.alerts.senders import mqtt, sender

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_GATHER_S = 30.0


@dataclasses.dataclass(frozen=True)
class Channel:
    """Where alerts are told.

    Attributes:
        name: as in the settings.
        settings: its table there.
        sender: sends; one thread at a time.
        group_s: how long alerts are gathered into one message.
        shows_state: it shows what is open instead of telling changes: silences, gathering and limits are for people
            and do not hold, and it hears of quiet transitions, too.
    """

    name: str
    settings: config.ChannelSettings
    sender: sender.Sender
    group_s: float
    shows_state: bool

    def wants(self, *, severity: str, rule: str, fleet_id: str | None, transition: str, quiet: bool) -> bool:
        """Whether it is to be told of this transition. Pure."""
        kept = self.settings
        if quiet and not self.shows_state:
            return False
        if transition == "resolved" and not self.wants_end(quiet=quiet):
            return False
        if (kept.rules and rule not in kept.rules) or (kept.fleets and fleet_id not in kept.fleets):
            return False
        return message.SEVERITIES.index(severity) >= message.SEVERITIES.index(kept.min_severity)

    def wants_row(self, row: message.AlertTransition, *, quiet: bool = False) -> bool:
        """The same of a row. Pure."""
        return self.wants(
            severity=row.severity, rule=row.rule, fleet_id=row.fleet_id, transition=row.transition, quiet=quiet
        )

    def wants_end(self, *, quiet: bool) -> bool:
        """Whether it is to be told of the end of what it was told of, though it may want no more of its kind. Pure."""
        return self.shows_state or (self.settings.resolved and not quiet)


def make(settings: config.Settings) -> list[Channel]:
    """The channels of these settings; connects to nothing.

    Raises:
        ConfigurationError: a URL is missing or not understood; it is not shown.
    """
    return [_channel(name, one, settings) for name, one in settings.alerts.every_channel.items()]


def require_rules(settings: config.Settings, rules: Collection[str]) -> None:
    """Returns where each channel that is for some rules alone names rules that there are.

    Raises:
        ConfigurationError: it names another, of which it would never be told anything.
    """
    for name, one in settings.alerts.every_channel.items():
        for rule in one.rules:
            if rule not in rules:
                near = difflib.get_close_matches(rule, rules, 1)
                raise errors.ConfigurationError(
                    f"alerts.channels.{name}.rules: there is no rule {rule!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(rules)) or 'none'}",
                )


def _channel(name: str, kept: config.ChannelSettings, settings: config.Settings) -> Channel:
    if kept.kind == "mqtt":
        return Channel(name, kept, mqtt.MqttSender(settings), 0.0, shows_state=True)
    if kept.url is None:
        raise errors.ConfigurationError(f"alerts.channels.{name} has no URL", hint="set url or url_file")
    url = kept.url.get_secret_value()
    sender, gather_s = _SENDERS[kept.kind](name, url)
    shows_state = kept.kind == "alertmanager"
    group_s = 0.0 if shows_state else gather_s if kept.group_s is None else kept.group_s
    return Channel(name, kept, sender, group_s, shows_state=shows_state)


def _apprise(name: str, url: str) -> tuple[sender.Sender, float]:
    from voltd.alerts.senders import apprise  # noqa: PLC0415 takes time and memory that only its users should pay

    return apprise.AppriseSender(name, url), 0.0 if apprise.scheme(url) in apprise.PROGRAMS else _GATHER_S


def _alertmanager(name: str, url: str) -> tuple[sender.Sender, float]:
    from voltd.alerts.senders import alertmanager  # noqa: PLC0415 as above

    return alertmanager.AlertmanagerSender(name, url), 0.0


_SENDERS: dict[str, Callable[[str, str], tuple[sender.Sender, float]]] = {
    "apprise": _apprise,
    "alertmanager": _alertmanager,
}
