"""The channels of [alerts]: which transitions each is notified of, how soon, and by which sender.

``make`` is called when the settings are read, so that a channel that cannot work is refused then. The evaluation cycle
asks ``wants`` when it fills the outbox; each channel's worker sends.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING

from voltd import config, errors
from voltd.alerts import notifications
from voltd.alerts.senders import mqtt, sender

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_GATHER_S = 30.0


@dataclasses.dataclass(frozen=True)
class Channel:
    """A way to notify people or programs.

    Attributes:
        name: as in the settings.
        settings: its table there.
        sender: sends; used by one thread at a time.
        group_s: how long alerts are gathered into one message.
        shows_state: the channel shows what is open. Silences, gathering and limits are for people and do not hold
            here, and it receives suppressed transitions, too.
    """

    name: str
    settings: config.ChannelSettings
    sender: sender.Sender
    group_s: float
    shows_state: bool

    def wants(self, *, severity: str, rule: str, fleet_id: str | None, transition: str, quiet: bool) -> bool:
        """Whether it is notified of this transition; quiet: of a suppressed one. Pure."""
        settings = self.settings
        if quiet and not self.shows_state:
            return False
        if transition == "resolved" and not self.wants_end(quiet=quiet):
            return False
        if (settings.rules and rule not in settings.rules) or (settings.fleets and fleet_id not in settings.fleets):
            return False
        return notifications.SEVERITIES.index(severity) >= notifications.SEVERITIES.index(settings.min_severity)

    def wants_row(self, row: notifications.AlertTransition, *, quiet: bool = False) -> bool:
        """Whether it is notified of this row. Pure."""
        return self.wants(
            severity=row.severity, rule=row.rule, fleet_id=row.fleet_id, transition=row.transition, quiet=quiet
        )

    def wants_end(self, *, quiet: bool) -> bool:
        """Whether it is notified of the end of an episode of whose beginning it was notified. Pure."""
        return self.shows_state or (self.settings.resolved and not quiet)


def make(settings: config.Settings) -> list[Channel]:
    """Returns the channels of these settings; connects to nothing.

    Raises:
        ConfigurationError: a URL is missing or not understood; the message does not show it.
    """
    return [_channel(name, table, settings) for name, table in settings.alerts.every_channel.items()]


def require_rules(settings: config.Settings, rules: Collection[str]) -> None:
    """Checks that channels name only rules that exist.

    Raises:
        ConfigurationError: a channel names another rule, and would never be notified of it.
    """
    for name, table in settings.alerts.every_channel.items():
        for rule in table.rules:
            if rule not in rules:
                near = difflib.get_close_matches(rule, rules, 1)
                raise errors.ConfigurationError(
                    f"alerts.channels.{name}.rules: there is no rule {rule!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(rules)) or 'none'}",
                )


def _channel(name: str, table: config.ChannelSettings, settings: config.Settings) -> Channel:
    if table.kind == "mqtt":
        return Channel(name, table, mqtt.MqttSender(settings), 0.0, shows_state=True)
    if table.url is None:
        raise errors.ConfigurationError(f"alerts.channels.{name} has no URL", hint="set url or url_file")
    url = table.url.get_secret_value()
    sender, gather_s = _SENDERS[table.kind](name, url)
    shows_state = table.kind == "alertmanager"
    group_s = 0.0 if shows_state else gather_s if table.group_s is None else table.group_s
    return Channel(name, table, sender, group_s, shows_state=shows_state)


def _apprise(name: str, url: str) -> tuple[sender.Sender, float]:
    from voltd.alerts.senders import apprise  # noqa: PLC0415 the import takes time and memory that others should not pay

    return apprise.AppriseSender(name, url), 0.0 if apprise.scheme(url) in apprise.PROGRAMS else _GATHER_S


def _alertmanager(name: str, url: str) -> tuple[sender.Sender, float]:
    from voltd.alerts.senders import alertmanager  # noqa: PLC0415 as above

    return alertmanager.AlertmanagerSender(name, url), 0.0


_SENDERS: dict[str, Callable[[str, str], tuple[sender.Sender, float]]] = {
    "apprise": _apprise,
    "alertmanager": _alertmanager,
}
