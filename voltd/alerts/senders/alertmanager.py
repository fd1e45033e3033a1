"""Alerts for a Prometheus Alertmanager, over its API v2.

Alertmanager groups, silences and notifies by itself. It wants the state again and again, as it forgets alerts that are
not sent any more (https://prometheus.io/docs/alerting/latest/alerts_api/). Labels are an alert's identity: a higher
severity makes another alert, and the milder one is ended. The daemon is no label, as another one may take over.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib import parse

import requests

from voltd import errors
from voltd.alerts import notifications
from voltd.alerts.senders import sender

_MOST_AT_ONCE = 500
_TIMEOUT_S = (4.0, 10.0)
_LASTS = dt.timedelta(minutes=5)  # several times the pause between two shows
_REFUSED = range(400, 500)
_TRY_AGAIN = frozenset(
    {401, 403, 404, 407, 408, 425, 429}
)  # the setting, a proxy or the moment is wrong, not the alert


class AlertmanagerSender:
    """Posts to one Alertmanager.

    Args:
        name: of the channel.
        url: of the Alertmanager, without ``/api/v2``; may hold a user and a password.

    Raises:
        ConfigurationError: it is no http URL. The message does not show it.
    """

    def __init__(self, name: str, url: str) -> None:
        try:
            parts = parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise errors.ConfigurationError(
                f"alerts.channels.{name}: the url of an Alertmanager is an http or https URL",
                hint="for example http://alertmanager.example:9093",
            )
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._session: requests.Session | None = None

    def send(self, what: notifications.Notification) -> None:
        """See ``sender.Sender``."""
        self._post(self._alerts(what.rows))

    def show(self, rows: Sequence[notifications.AlertTransition]) -> int:
        """Posts all open episodes, with an end some minutes ahead."""
        alerts = self._alerts(rows)
        self._post(alerts)
        return len(alerts)

    def close(self) -> None:
        """See ``sender.Sender``."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _alerts(self, rows: Sequence[notifications.AlertTransition]) -> list[dict[str, Any]]:
        """One entry for each set of labels: the newest."""
        now = dt.datetime.now(dt.UTC)
        found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for row in rows:
            milder = notifications.SEVERITIES[: notifications.SEVERITIES.index(row.severity)]
            if row.transition == "escalated":
                found.update(_keyed(self._alert(row, severity, now, ended=True) for severity in milder))
            found.update(_keyed([self._alert(row, row.severity, now, ended=row.resolved)]))
        return list(found.values())

    def _alert(
        self, row: notifications.AlertTransition, severity: str, now: dt.datetime, *, ended: bool
    ) -> dict[str, Any]:
        starts = min(row.opened_at, now)  # a device's clock may be ahead
        ends = max(starts, min(row.resolved_at or now, now)) if ended else now + _LASTS
        labels = {
            "alertname": row.rule,
            "severity": severity,
            "device_type": row.device_type,
            "device_id": row.device_id,
            "fleet_id": row.fleet_id,
        }
        annotations = {"summary": row.message, "peak": None if row.peak_value is None else f"{row.peak_value:g}"}
        return {
            "labels": _given(labels),
            "annotations": _given(annotations),
            "startsAt": starts.isoformat(),
            "endsAt": ends.isoformat(),
        }

    def _post(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Posts all of them in parts. A part that is refused does not keep the others from being posted."""
        parts = [alerts[first : first + _MOST_AT_ONCE] for first in range(0, len(alerts), _MOST_AT_ONCE)]
        refused = [text for text in map(self._post_part, parts) if text is not None]
        if refused:
            of = f" (and {len(refused) - 1} more of {len(parts)} parts)" if len(refused) > 1 else ""
            raise sender.ChannelError(f"Alertmanager: {refused[0]}{of}", permanent=True)

    def _post_part(self, alerts: Sequence[dict[str, Any]]) -> str | None:
        """Returns why the part was refused; None: it was taken.

        Raises:
            ChannelError: the Alertmanager cannot be reached or does not work; the other parts would fail, too.
        """
        if self._session is None:
            self._session = requests.Session()
        try:
            answer = self._session.post(self._url, json=alerts, timeout=_TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:  # its text may hold the URL
            self.close()
            late = isinstance(error, requests.Timeout)
            reason = "no answer in time" if late else f"cannot be reached ({type(error).__name__})"
            raise sender.ChannelError(f"Alertmanager: {reason}") from error
        if answer.ok and not answer.is_redirect:
            return None
        problem = f"HTTP {answer.status_code} {answer.text[:200]}"
        if answer.status_code in _REFUSED and answer.status_code not in _TRY_AGAIN:
            return problem
        raise sender.ChannelError(f"Alertmanager: {problem}")


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _keyed(alerts: Iterable[dict[str, Any]]) -> Iterator[tuple[tuple[tuple[str, str], ...], dict[str, Any]]]:
    for alert in alerts:
        yield tuple(sorted(alert["labels"].items())), alert
