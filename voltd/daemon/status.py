"""What a daemon says of itself: built by ``app`` every few seconds, retained at the broker, read by ``voltd status``.

The topic is ``voltd/<instance>/status``; its last will turns it to offline when the daemon vanishes.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from paho.mqtt import client as paho

import voltd
from voltd import config, errors, metrics, terminal
from voltd.host import host_clock, identity
from voltd.pipeline.consume import clients
from voltd.pipeline.decode.devices import watch

_SLOW_S = 5.0  # a batch that takes longer to write
_log = structlog.get_logger()

_SILENT_FROM = 100  # messages
_MOST_SILENT = 20  # fields that are named
_MOST_SHARED = 3  # ids of two devices that are named
_STALE_S = 15.0  # a status older than this is not how things are


class Reporter:
    """Builds the status of a running daemon; rates are per second since the last call. One thread calls it."""

    def __init__(
        self,
        settings: config.Settings,
        counters: metrics.Metrics,
        silent: Callable[[int], Sequence[watch.Silent]] = lambda _least: (),
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._silent = silent
        self._said: set[tuple[str, str, str]] = set()
        self._messages, self._readings = metrics.Rate(), metrics.Rate()

    def build(self) -> dict[str, Any]:
        """The status as JSON-ready values; times are RFC 3339, ``_s`` seconds, ``_ms`` milliseconds."""
        counters, me = self._counters, identity.own()
        return {
            "status": "online",
            "instance": self._settings.instance,
            "version": voltd.__version__,
            "client_id": self._settings.client_id,
            "host": me.host,
            "pid": me.pid,
            "started_at": me.started_at.isoformat(timespec="seconds"),
            "process": me.facts(),
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "store": self._store(),
            "messages_per_s": round(self._messages.update(counters.messages_received_total), 1),
            "readings_per_s": round(self._readings.update(counters.readings_written_total), 1),
            "receive_maximum": self._settings.mqtt.receive_maximum,
            **counters.snapshot(),
            "lag_s": self._lag_s(),
            "fields_silent": self._silent_fields(),
        }

    def _silent_fields(self) -> list[str]:
        """Fields of own descriptions that never have a value; each is logged once."""
        found = self._silent(_SILENT_FROM)
        for one in found:
            if one[:3] not in self._said:
                self._said.add(one[:3])
                _log.warning("field.silent", family=one.family, hint=f"{one}: is the path right?")
        return [str(one) for one in found[:_MOST_SILENT]]

    def _store(self) -> str:
        since = self._counters.batch_since
        if not self._counters.store_available:
            return "unavailable"
        return "slow" if since is not None and time.monotonic() - since > _SLOW_S else "ok"

    def _lag_s(self) -> float:
        """Age of the oldest message of the batch being written; without one, of the last batch at its COMMIT."""
        oldest_at = self._counters.batch_oldest_at
        if oldest_at is None:
            return round(self._counters.lag_s, 6)
        return max(0.0, (dt.datetime.now(dt.UTC) - oldest_at).total_seconds())


def line(status: dict[str, Any]) -> str:
    """One line for ``systemctl status`` and the log."""
    store = "" if status["store"] == "ok" else f"database {status['store']}, "
    if status["halted"]:
        store = f"HALTED: {status['halted']}, " + store
    if status.get("clock_hold"):
        store = f"HELD: {status['clock_hold']}, " + store
    elif status.get("clock"):
        store = f"clock {status['clock']}, " + store
    if status["readings_spooled"]:
        store += f"{status['readings_spooled']} readings in the spool, "
    return (
        f"{store}{status['readings_per_s']:.0f} readings/s, in flight {status['in_flight']}, "
        f"lag {status['lag_s']:.2f} s, dead letters {sum(status['messages_dead_lettered_total'].values())}"
    )


def fetch(settings: config.Settings, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """The retained status of the instance of the settings, read from the broker; blocks up to ``timeout_s``.

    Raises:
        BrokerUnavailable: the broker cannot be reached, or has no status of this instance.
    """
    arrived: list[bytes] = []
    done = threading.Event()
    topic = clients.status_topic(settings.instance)

    def on_connect(client: paho.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            done.set()
        client.subscribe(topic, qos=1)

    def on_message(_client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        arrived.append(bytes(message.payload))
        done.set()

    client = clients.observer(settings)
    client.on_connect, client.on_message = on_connect, on_message
    where = f"{settings.mqtt.host}:{settings.mqtt.port}"
    try:
        client.connect(settings.mqtt.host, settings.mqtt.port)
    except (OSError, ValueError) as error:
        raise errors.BrokerUnavailable(f"{where}: {error}", hint="is the broker up? try: voltd check") from error
    client.loop_start()
    done.wait(timeout_s)
    client.disconnect()
    client.loop_stop()
    if not arrived:
        raise errors.BrokerUnavailable(
            f"{where} has no status of instance {settings.instance!r}",
            hint="has this daemon ever run? set VOLTD_INSTANCE or --config to the one you mean",
        )
    found: dict[str, Any] = json.loads(arrived[0])
    return found


def show(status: dict[str, Any]) -> str:
    """The status as lines for a person."""
    if status["status"] != "online":
        return f"offline ({status.get('reason', 'no reason given')})"
    dead = status["messages_dead_lettered_total"]
    age_s = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(status["at"])).total_seconds()
    off = bool(status.get("clock_hold") or status.get("clock"))
    stale = " - by the daemon's own clock" if off else ""
    if age_s > _STALE_S and not off:
        stale = " - stale: the daemon has stopped reporting"
    rows = [
        ("instance", f"{status['instance']} (voltd {status['version']}, {status['host']}, pid {status['pid']})"),
        ("online since", status["started_at"]),
        ("as of", f"{status['at']}{stale}"),
        ("database", status["store"]),
        ("taking", _taking(status)),
        ("clock", _clock(status)),
        ("rate", f"{status['messages_per_s']:.0f} messages/s in, {status['readings_per_s']:.0f} readings/s stored"),
        ("window", f"{status['in_flight']} of {status['receive_maximum']} messages in flight"),
        ("last flush", f"{status['last_batch_messages']} messages in {status['last_flush_ms']:.1f} ms"),
        ("lag", f"{status['lag_s']:.3f} s (p50 {status['latency_p50_ms']} ms, p99 {status['latency_p99_ms']} ms)"),
        ("spool", f"{status['readings_spooled']} readings wait, {status['spool_bytes']} bytes"),
        ("readings", _readings(status)),
        ("dead letters", ", ".join(f"{count} {reason}" for reason, count in dead.items()) or "none"),
        ("bad fields", _bad_fields(status)),
        ("unknown", _unknown(status)),
        *_shared_ids(status),
        *((("fields", terminal.printable("; ".join(silent))),) if (silent := status.get("fields_silent")) else ()),
        ("alerts", f"{status['alerts_open']} open, {status['alerts_sent_total']} notified"),
        ("units", _units(status)),
        ("channels", f"failing: {status['channels_failing']}" if status["channels_failing"] else "ok"),
        ("sessions lost", str(status["session_lost_total"])),
        *_timescaledb_jobs(status),
    ]
    return "\n".join(f"{name:<14}{value}" for name, value in rows)


def _taking(status: dict[str, Any]) -> str:
    if status["halted"]:
        return f"nothing: {status['halted']}; look at the dead letters, then reload"
    if status.get("clock_hold"):
        return (
            f"nothing: {status['clock_hold']}; {host_clock.ADVICE}; or, to continue with the clock as it is, reload"
            " (SIGHUP)"
        )
    return "yes"


def _clock(status: dict[str, Any]) -> str:
    if status.get("clock_hold"):
        return "wrong, see above"
    return f"{status['clock']}; if the host is wrong: {host_clock.ADVICE}" if status.get("clock") else "ok"


def _timescaledb_jobs(status: dict[str, Any]) -> list[tuple[str, str]]:
    """A row where this daemon looks at them: it leads, and the edition has such jobs."""
    failing = status.get("timescaledb_jobs_failing")
    if failing is None:
        return []
    return [("timescaledb", f'jobs failing: {", ".join(failing)}; see "voltd check"' if failing else "jobs ok")]


def _units(status: dict[str, Any]) -> str:
    """Devices whose values contradict each other by a factor between units, by open alerts."""
    count = status.get("units_in_doubt", 0)
    if not count:
        return "none in doubt"
    return f"of {count} device{'s' * (count != 1)} in doubt, such as {status['unit_in_doubt']}"


def _bad_fields(status: dict[str, Any]) -> str:
    """Fields that were left out; the rest of their readings is stored."""
    counted = status.get("fields_dead_lettered_total") or {}
    return ", ".join(f"{count} {name}" for name, count in counted.items()) or "none"


def _unknown(status: dict[str, Any]) -> str:
    """Fields that no reading has, by name; a daemon of an earlier version only counts them."""
    names = status.get("unknown_names") or {}
    if not names:
        return f"{status.get('unknown_fields_total', 0)} fields"
    shown = [f"{name}: did you mean {meant}?" if meant else name for name, meant in names.items()]
    return f"{status['unknown_fields_total']} fields: " + ", ".join(shown)


def _shared_ids(status: dict[str, Any]) -> list[tuple[str, str]]:
    """A row where two devices measure under one id."""
    shared = status.get("shared_ids") or {}
    if not shared:
        return []
    shown = [f"{name} is of {one} and of {other}" for name, (one, other) in list(shared.items())[:_MOST_SHARED]]
    more = status.get("shared_ids_total", 0) - len(shown)
    return [("ids", terminal.printable("; ".join(shown)) + (f"; and {more} more" if more > 0 else ""))]


def _readings(status: dict[str, Any]) -> str:
    counts = [(status.get(f"readings_{name}_total", 0), said) for name, said in _FATES]
    return ", ".join(f"{count} {said}" for count, said in counts)


_FATES = (("written", "stored"), ("filled", "filled in"), ("duplicate", "duplicates"))
