"""Alerts for a Prometheus Alertmanager, over its API v2.

It groups, silences and tells by itself; what it wants is the state, again and again, as it forgets alerts that are no
longer sent (https://prometheus.io/docs/alerting/latest/alerts_api/). Labels are an alert's identity, so a severity that
rose makes another alert, and the milder one is ended.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib import parse

import requests

from voltd import errors
from voltd.alerts import message, send

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
        url: where the Alertmanager is, without ``/api/v2``; may hold a user and a password.
        instance: this daemon.

    Raises:
        ConfigurationError: it is no http URL. It is not shown.
    """

    def __init__(self, name: str, url: str, instance: str) -> None:
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
        self._instance = instance
        self._session: requests.Session | None = None

    def send(self, what: message.Message) -> None:
        """See ``send.Sender``."""
        self._post(self._alerts(what.rows))

    def show(self, rows: Sequence[message.Row]) -> None:
        """All that is open, with another end some minutes ahead."""
        self._post(self._alerts(rows))

    def close(self) -> None:
        """See ``send.Sender``."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _alerts(self, rows: Sequence[message.Row]) -> list[dict[str, Any]]:
        """One entry a set of labels, the last word on it."""
        now = dt.datetime.now(dt.UTC)
        found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for row in rows:
            milder = message.SEVERITIES[: message.SEVERITIES.index(row.severity)]
            if row.transition == "escalated":
                found.update(_keyed(self._alert(row, severity, now, over=True) for severity in milder))
            found.update(_keyed([self._alert(row, row.severity, now, over=row.over)]))
        return list(found.values())

    def _alert(self, row: message.Row, severity: str, now: dt.datetime, *, over: bool) -> dict[str, Any]:
        starts = min(row.opened_at, now)  # a device's clock may be ahead
        ends = max(starts, min(row.resolved_at or now, now)) if over else now + _LASTS
        labels = {
            "alertname": row.rule,
            "severity": severity,
            "device_type": row.device_type,
            "device_id": row.device_id,
            "fleet_id": row.fleet_id,
            "instance": self._instance,
        }
        annotations = {"summary": row.message, "peak": None if row.peak_value is None else f"{row.peak_value:g}"}
        return {
            "labels": _given(labels),
            "annotations": _given(annotations),
            "startsAt": starts.isoformat(),
            "endsAt": ends.isoformat(),
        }

    def _post(self, alerts: Sequence[dict[str, Any]]) -> None:
        if self._session is None:
            self._session = requests.Session()
        for first in range(0, len(alerts), _MOST_AT_ONCE):
            try:
                answer = self._session.post(
                    self._url, json=alerts[first : first + _MOST_AT_ONCE], timeout=_TIMEOUT_S, allow_redirects=False
                )
            except requests.RequestException as error:  # its text may hold the URL
                self.close()
                late = isinstance(error, requests.Timeout)
                reason = "no answer in time" if late else f"cannot be reached ({type(error).__name__})"
                raise send.ChannelError(f"Alertmanager: {reason}") from error
            if not answer.ok or answer.is_redirect:
                refused = answer.status_code in _REFUSED and answer.status_code not in _TRY_AGAIN
                raise send.ChannelError(
                    f"Alertmanager: HTTP {answer.status_code} {answer.text[:200]}", permanent=refused
                )


def _given(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _keyed(alerts: Iterable[dict[str, Any]]) -> Iterator[tuple[tuple[tuple[str, str], ...], dict[str, Any]]]:
    for alert in alerts:
        yield tuple(sorted(alert["labels"].items())), alert
